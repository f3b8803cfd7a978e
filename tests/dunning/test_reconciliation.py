"""What a reconciliation finds, and what it leaves alone: the rules alone."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dunning.case import CaseRef, CaseState
from dunning.decision import Send, Suspend
from dunning.grace import grace_ends_at
from dunning.opening import open_case
from dunning.policy import Imports, Policy
from dunning.reconciliation import (
    Kind,
    Known,
    Listed,
    Remedy,
    Suspect,
    Tour,
    judge,
    left_alone,
    may_lack_a_case,
    parse_wish,
    steps_of,
)
from dunning.values import Outcome
from tests.dunning.cases import DAY0, STANDARD, Run, invoice

DAY = timedelta(days=1)
TOUR = Tour(run="r", started=DAY0, events_since=DAY0 - 30 * DAY)
FAILED = Listed(id="in_1", created=DAY0 - DAY, attempted=True, amount_remaining=1900)
IMPORTS = Imports()


def lacks(listed: Listed, known: Known | None = None, policy: Policy = STANDARD) -> bool:
    return may_lack_a_case(listed, known, policy, DAY0)


def suspect(kind: Kind = Kind.INVOICE_WITHOUT_CASE) -> Suspect:
    return Suspect(kind=kind, invoice_id="in_1", subject="in_1", workflow_id="invoice-dunning/in_1")


class TestOpenInvoices:
    def test_a_failed_one_without_a_case_lacks_it(self) -> None:
        assert lacks(FAILED)

    @pytest.mark.parametrize(
        "change",
        [
            {"attempted": False},
            {"amount_remaining": 0},
            {"collection_method": "send_invoice"},
            {"collection_method": "send_invoice", "due_date": DAY0 + DAY},
            {"billing_reason": "subscription_create"},
        ],
    )
    def test_one_that_is_not_dunned_lacks_nothing(self, change: dict[str, object]) -> None:
        assert not lacks(FAILED.model_copy(update=change))

    def test_one_that_was_sent_lacks_a_case_once_it_is_overdue(self) -> None:
        sent = {"attempted": False, "collection_method": "send_invoice", "due_date": DAY0 - DAY}
        overdue = FAILED.model_copy(update=sent)
        assert lacks(overdue)
        assert not lacks(overdue, policy=STANDARD.model_copy(update={"sent_invoices": None}))

    @pytest.mark.parametrize("outcome", [None, *Outcome])
    def test_one_whose_case_ended_is_taken_up_only_if_the_books_contradict(
        self, outcome: Outcome | None
    ) -> None:
        known = Known(open=outcome is None, outcome=outcome)
        assert lacks(FAILED, known) == (outcome in (Outcome.RECOVERED, Outcome.VOIDED))

    def test_too_old_is_listed_and_not_opened(self) -> None:
        old = FAILED.model_copy(update={"created": DAY0 - 61 * DAY})
        finding = left_alone(old, TOUR, IMPORTS)
        assert finding is not None
        assert finding.words == "made 31 Dec 2025, not opened: older than imports.too_old (60 days)"
        assert (finding.remedy, finding.needs_person) == (Remedy.NONE, False)

    def test_older_than_the_engine_waits_for_the_import(self) -> None:
        tour = TOUR.model_copy(update={"known_since": DAY0 - 2 * DAY})
        old = FAILED.model_copy(update={"created": DAY0 - 3 * DAY})
        assert left_alone(FAILED, tour, IMPORTS) is None
        assert left_alone(old, tour, IMPORTS) is not None
        assert left_alone(old, tour.model_copy(update={"importing": True}), IMPORTS) is None


class TestJudging:
    def test_a_failed_payment_without_a_case_gets_one(self) -> None:
        finding = judge(suspect(), invoice())
        assert finding is not None
        assert finding.remedy is Remedy.START
        assert finding.words == "a payment failed (insufficient_funds), and no case is open"

    @pytest.mark.parametrize("change", [{"status": "paid"}, {"processing": True}, {"amount_remaining": 0}])
    def test_money_that_came_or_comes_is_no_reason(self, change: dict[str, object]) -> None:
        assert judge(suspect(), invoice(**change)) is None

    @pytest.mark.parametrize("status", ["paid", "void", "uncollectible", "gone"])
    def test_a_case_of_a_settled_invoice_is_woken(self, status: str) -> None:
        finding = judge(suspect(Kind.CASE_OF_SETTLED_INVOICE), invoice(status=status))
        assert finding is not None
        assert finding.remedy is Remedy.WAKE

    def test_a_case_of_an_open_invoice_is_right_to_go_on(self) -> None:
        assert judge(suspect(Kind.CASE_OF_SETTLED_INVOICE), invoice()) is None

    @pytest.mark.parametrize(("status", "restored"), [("paid", True), ("void", True), ("open", False)])
    def test_who_owes_nothing_is_restored(self, status: str, restored: bool) -> None:
        finding = judge(suspect(Kind.SUSPENDED_WITHOUT_DEBT), invoice(status=status))
        assert (finding is not None) == restored

    @pytest.mark.parametrize("kind", [Kind.ATTEMPT_UNKNOWN, Kind.MESSAGE_UNKNOWN])
    def test_what_nobody_knows_is_for_a_person(self, kind: Kind) -> None:
        finding = judge(suspect(kind), invoice())
        assert finding is not None
        assert finding.needs_person


class TestTheWish:
    def test_nothing_is_enough(self) -> None:
        assert parse_wish([]) == parse_wish([None]) == parse_wish([{}])

    @pytest.mark.parametrize(
        "wrong",
        [
            ["now"],
            [{"dry": True}],
            [{"since": "2026-01-01"}],
            [{"since": 1767225600}],
            [{"since": "7"}],
            [{}, {}],
        ],
    )
    def test_what_cannot_be_used_is_refused_in_one_line(self, wrong: list[object]) -> None:
        with pytest.raises(ValueError, match=r"^\w+: .*$"):
            parse_wish(wrong)

    def test_an_import_looks_at_invoices_only(self) -> None:
        tour = TOUR.model_copy(update={"importing": True, "accounts": ("", "acct_1")})
        assert steps_of(tour) == (("invoices", ""), ("invoices", "acct_1"))


@settings(max_examples=60, deadline=None)
@given(
    age=st.integers(0, 400),
    code=st.sampled_from(["insufficient_funds", "do_not_honor", "expired_card", "processing_error"]),
    hour=st.integers(0, 23),
)
def test_an_old_debt_begins_at_the_beginning_and_gets_the_whole_grace(age: int, code: str, hour: int) -> None:
    now = DAY0 + timedelta(hours=hour)
    facts = invoice(code, at=now - age * DAY)
    state = open_case(CaseRef(case_id="c", invoice_id="in_1"), facts, STANDARD, now)
    assert isinstance(state, CaseState)

    run = Run(state, now=now).run_to(now + 60 * DAY)

    sent = [(at, action) for at, action in run.actions if isinstance(action, Send)]
    spoken = [(at, action) for at, action in sent if action.to_debtor]
    assert spoken[0][1].step == "first_notice"
    moments = {(at, action.step) for at, action in spoken}
    assert len({at for at, _ in moments}) == len(moments)  # never two steps in one moment
    (suspended,) = [at for at, action in run.actions if isinstance(action, Suspend)]
    assert suspended >= now + STANDARD.grace.starts + STANDARD.grace.length
    assert suspended >= grace_ends_at(state)
    announced = [at for at, action in spoken if action.names_last_day and action.last_day is not None]
    assert min(announced) <= suspended - STANDARD.suspension.notice
