"""Invoices that are sent instead of charged: the calendar counts from the due date, nothing is charged."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dunning.case import BillingEvent, CaseRef, CaseState
from dunning.decide import decide
from dunning.decision import Send
from dunning.facts import Invoice
from dunning.forecast import forecast
from dunning.opening import open_case
from dunning.policy import Policy, PolicyError, parse_policy
from dunning.timeline import opened as first_line
from dunning.values import DeclineClass, Outcome, RecoveredVia, Stage, WaitingOn
from dunning.view import details, facets, waiting_on
from tests.dunning.cases import DAY0, NEW_CARD, STANDARD, Run, days, failure, invoice, opened

DUE = DAY0 + timedelta(days=30)
REF = CaseRef(case_id="acct/in_1/1", invoice_id="in_1")
SILENT = STANDARD.model_copy(update={"sent_invoices": None})


def sent(due: datetime | None = DUE, **changes: Any) -> Invoice:
    usual = {"collection_method": "send_invoice", "due_date": due, "failure": None, "auto_advance": True}
    return invoice(**(usual | {"subscription_status": "active"} | changes))


def case(due: datetime = DUE, policy: Policy = STANDARD, **changes: Any) -> CaseState:
    state = open_case(REF, sent(due, **changes), policy, DAY0)
    assert isinstance(state, CaseState), state
    return state


def run(due: datetime = DUE, **changes: Any) -> Run:
    return Run(case(due, **changes))


class TestTheCalendar:
    def test_of_an_invoice_that_nobody_pays(self) -> None:
        assert days(run().to_the_end()) == [
            (27, "email invoice_due_soon"),
            (31, "email invoice_overdue"),
            (37, "email invoice_overdue"),
            (37, "sms invoice_overdue"),
            (44, "email grace_started"),
            (48, "email grace_reminder"),
            (50, "email final_notice"),
            (51, "suspend"),
            (51, "email suspended"),
            (81, "mark_uncollectible"),
            (81, "cancel_subscription"),
            (81, "email survey"),
        ]

    def test_is_what_the_forecast_shows(self) -> None:
        steps = forecast(case(), STANDARD, DAY0)
        assert [((s.at - DAY0).days, s.what) for s in steps][:6] == [
            (27, "send/due_soon/email"),
            (31, "send/overdue/email"),
            (37, "send/overdue_again/email"),
            (37, "send/overdue_again/sms"),
            (44, "grace"),
            (44, "send/grace_started/email"),
        ]
        assert not any("charge" in step.what for step in steps)

    def test_names_the_due_day_in_every_message(self) -> None:
        told = [action for _, action in run().until(60).actions if isinstance(action, Send)]
        assert {send.due_on for send in told} == {date(2026, 4, 1)}
        assert {send.cls for send in told} == {None}

    def test_a_reminder_before_the_due_date_is_not_sent_right_after_the_invoice(self) -> None:
        assert days(run(DAY0 + timedelta(days=2)).until(4)) == [(3, "email invoice_overdue")]

    def test_a_case_that_opens_late_begins_with_its_last_reminder(self) -> None:
        assert days(run(DAY0 - timedelta(days=60)).until(14.9)) == [
            (0, "email invoice_overdue"),
            (0, "sms invoice_overdue"),
            (7, "email grace_started"),
            (11, "email grace_reminder"),
            (13, "email final_notice"),
            (14, "suspend"),
            (14, "email suspended"),
        ]

    def test_a_hold_moves_the_reminders_and_the_dates(self) -> None:
        held = run().until(30)
        assert held.lever("hold", {"reason": "asks for a copy", "by": "kim"})[0]
        held.until(35).lever("release", {"by": "kim"})
        assert [day for day, what in days(held.to_the_end()) if what == "email invoice_overdue"] == [36, 42]
        assert (56, "suspend") in days(held)

    def test_an_extension_moves_the_suspension(self) -> None:
        more = run().until(45)
        assert more.lever("grant_extension", {"days": 7, "reason": "asked kindly", "by": "kim"})[0]
        assert (58, "suspend") in days(more.to_the_end())


class TestPaid:
    def test_in_time_is_business_as_usual(self) -> None:
        paid = run().until(28).event(status="paid", amount_remaining=0)
        assert (paid.state.outcome, paid.state.recovered_via) == (Outcome.NOT_APPLICABLE, None)
        assert days(paid) == [(27, "email invoice_due_soon")]  # and no thank-you for what was no trouble

    def test_after_a_reminder_is_recovered(self) -> None:
        paid = run().until(33).event(status="paid", amount_remaining=0)
        assert (paid.state.outcome, paid.state.recovered_via) == (Outcome.RECOVERED, RecoveredVia.CUSTOMER)
        assert days(paid)[-1] == (33, "email recovered")

    def test_after_the_suspension_ends_it(self) -> None:
        paid = run().until(55).event(status="paid", amount_remaining=0)
        assert days(paid)[-2:] == [(55, "restore"), (55, "email restored")]

    def test_by_a_debit_on_its_way_stops_the_reminders(self) -> None:
        waits = run().until(30).event(processing=True).until(40)
        assert days(waits) == [(27, "email invoice_due_soon")]
        assert waiting_on(waits.state) is WaitingOn.BANK


class TestNothingIsCharged:
    def test_although_there_is_a_card_that_never_failed(self) -> None:
        assert days(run(method=NEW_CARD).to_the_end(), ["charge", "take_over"]) == []

    def test_and_a_person_who_asks_for_it_is_told_why(self) -> None:
        assert run().until(35).lever("retry_now", {"by": "kim"}) == (
            False, "retry_now: this invoice is sent, not charged: only its customer can pay it",
        )  # fmt: skip

    def test_and_what_the_customer_tried_on_the_invoice_s_page_is_no_decline_of_ours(self) -> None:
        tried = run().until(32).event(failure=failure("stolen_card", DAY0 + timedelta(days=32)))
        assert tried.state.verdict is None
        assert days(tried.to_the_end(), ["email suspended"]) == [(51, "email suspended")]

    def test_but_a_dispute_of_the_customer_still_freezes_it(self) -> None:
        frozen = run().until(32)
        report = BillingEvent(type="charge.dispute.created", report="du_1", at=frozen.now, invoice="in_1")
        frozen.inbox.append(report)
        frozen.run_to(frozen.now)
        assert frozen.state.human is not None
        assert frozen.state.verdict is not None
        assert frozen.state.verdict.cls is DeclineClass.REVIEW


class TestWhoCollectsItChanges:
    def test_to_the_customer_and_charging_ends(self) -> None:
        changed = Run(opened()).until(2)
        assert days(changed, ["charge"]) == [(1, "charge insufficient_funds")]
        changed.event(collection_method="send_invoice", due_date=DAY0 + timedelta(days=10))
        last_day = changed.state.plan.last_day
        assert changed.state.verdict is None
        changed.to_the_end()
        assert days(changed, ["charge"]) == [(1, "charge insufficient_funds")]
        assert (11, "email invoice_overdue") in days(changed)
        assert changed.state.plan.last_day == last_day  # what was promised stays
        assert (21, "suspend") in days(changed)

    def test_to_us_and_charging_begins_with_the_caution_of_an_unknown_failure(self) -> None:
        changed = run().until(31).event(collection_method="charge_automatically")
        assert changed.state.verdict is not None
        changed.outcomes = {1: "succeeded"}
        assert days(changed.to_the_end(), ["charge"]) != []
        assert changed.state.outcome is Outcome.RECOVERED


class TestOpening:
    def test_is_refused_by_a_policy_without_the_section(self) -> None:
        assert open_case(REF, sent(), SILENT, DAY0) == (
            "invoice in_1 is collected by sending it: this policy has no sent_invoices"
        )

    def test_takes_the_first_invoice_of_a_subscription_too(self) -> None:
        assert case(billing_reason="subscription_create").stage is Stage.RECOVERING

    def test_says_when_it_is_due(self) -> None:
        text = first_line(case(), "standard", "0").text
        assert text.startswith("opened: collected by sending, due Wed 01 Apr 2026; policy standard")

    def test_shows_an_operator_what_it_waits_for(self) -> None:
        state, now = case(), DAY0 + timedelta(days=1)
        decision = decide(state, STANDARD, now)
        assert facets(state, decision, STANDARD)["DunningWaitingOn"] == "customer"
        text = details(state, decision, STANDARD, [])
        assert "**Next:** Sun 29 Mar 2026 10:00 UTC, e-mail due soon" in text
        assert "**Tried:** sent, not charged, due Wed 01 Apr 2026, 0 messages" in text
        assert "retry_now" not in text


@pytest.mark.parametrize("owner", ["engine", "stripe", "shared"])
def test_whoever_owns_the_retries_the_reminders_are_ours(owner: str) -> None:
    retries = STANDARD.retries.model_copy(update={"owner": owner})
    policy = STANDARD.model_copy(update={"retries": retries})
    state = case(policy=policy)
    assert (51, "suspend") in days(Run(state, policy).to_the_end())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("before_due: 3d,", "", "write either before_due or after_due"),
        ("before_due: 3d,", "before_due: 3d, after_due: 1d,", "write either before_due or after_due"),
        ("step: overdue,", "step: final_notice,", "step final_notice stands twice"),
        ("step: overdue_again,", "step: overdue,", "step overdue stands twice"),
    ],
)
def test_a_mistake_in_the_section_is_refused(old: str, new: str, said: str) -> None:
    text = Path("dunning/policies/standard.yaml").read_text(encoding="utf-8")
    assert old in text
    with pytest.raises(PolicyError, match=said):
        parse_policy(text.replace(old, new, 1), "mine.yaml")
