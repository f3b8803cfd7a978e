"""What a person may do at once: suspend, restore, extend, set another policy, note; and every odd value."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from dunning.calendar import end_of_day
from dunning.case import BillingEvent, Lever
from dunning.decision import Question
from dunning.forecast import difference, preview
from dunning.levers import command
from dunning.policy import Policy
from dunning.step import answer
from dunning.values import Outcome, Stage
from tests.dunning.cases import DAY0, STANDARD, Run, days, opened

BY = {"reason": "agreed by phone", "by": "ann"}


def varied(section: str, **changes: Any) -> Policy:
    part = getattr(STANDARD, section).model_copy(update=changes)
    return STANDARD.model_copy(update={section: part})


def longer_grace() -> Policy:
    return varied("grace", length=timedelta(days=10)).model_copy(update={"name": "patient"})


AFTER_SUSPENSION = varied(
    "grace", extensions=STANDARD.grace.extensions.model_copy(update={"after_suspension": "restore"})
)


# --- suspend_now ------------------------------------------------------------------------------------------


class TestSuspendNow:
    def test_is_refused_while_no_message_named_a_date(self) -> None:
        run = Run(opened("fraudulent")).until(2)
        accepted, text = run.lever("suspend_now", BY)
        assert not accepted
        assert "no message has named Mon 23 Mar to the customer" in text

    def test_is_refused_before_the_promised_day_is_over(self) -> None:
        run = Run(opened("expired_card")).until(19)
        accepted, text = run.lever("suspend_now", BY)
        assert not accepted
        assert "promised access to the end of Mon 23 Mar 2026" in text

    def test_ends_a_hold_after_that_day_and_says_which_notice_was_given(self) -> None:
        run = Run(opened("expired_card")).until(21.2)
        run.lever("hold", {"reason": "on the phone", "by": "ann"})
        run.until(23)
        accepted, text = run.lever("suspend_now", BY)
        assert accepted
        assert "named Mon 23 Mar to the customer" in text
        assert days(run, ["suspend"]) == [(23, "suspend")]
        assert run.state.hold is None

    def test_an_unannounced_one_needs_a_policy_that_allows_it(self) -> None:
        policy = varied("suspension", by_hand="unannounced")
        run = Run(opened("fraudulent", policy=policy), policy=policy).until(2)
        accepted, text = run.lever("suspend_now", BY)
        assert accepted
        assert "no message named a date" in text
        assert (2, "suspend") in run.log

    def test_is_refused_while_money_is_on_its_way_or_a_day_is_agreed(self) -> None:
        run = Run(opened("expired_card")).until(20)
        run.lever("promise_to_pay", {"on": "2026-03-30", "by": "ann"})
        run.until(24)
        assert "as agreed" in run.lever("suspend_now", BY)[1]
        run.event(processing=True)
        assert "money is on its way" in run.lever("suspend_now", BY)[1]

    def test_money_that_is_on_its_way_meanwhile_is_waited_for(self) -> None:
        run = Run(opened("expired_card")).until(21.2)
        run.lever("hold", {"reason": "on the phone", "by": "ann"})
        run.until(23)
        run.world = run.state.invoice.model_copy(update={"processing": True})
        run.inbox += [
            Lever(name="suspend_now", args=(BY,), at=run.now),
            BillingEvent(type="invoice.updated", created=run.now, at=run.now),
        ]
        run.run_to(run.now)
        assert days(run, ["suspend"]) == []

    def test_an_extension_that_comes_before_it_is_done_takes_it_back(self) -> None:
        run = Run(opened("expired_card")).until(21.2)
        run.lever("hold", {"reason": "on the phone", "by": "ann"})
        run.until(23)
        suspend = Lever(name="suspend_now", args=(BY,), at=run.now)
        extend = Lever(name="grant_extension", args=({"days": 3, **BY},), at=run.now)
        run.inbox += [suspend, extend]
        run.run_to(run.now)
        assert days(run, ["suspend"]) == []
        assert run.state.plan.last_day == date(2026, 3, 28)


# --- restore_now ------------------------------------------------------------------------------------------


class TestRestoreNow:
    def test_gives_access_back_and_grace_begins_anew_with_an_announced_day(self) -> None:
        run = Run(opened("expired_card")).until(25)
        before = len(run.log)
        accepted, text = run.lever("restore_now", BY)
        assert accepted
        assert "without a payment" in text
        assert "Fri 03 Apr 2026" in text
        assert run.state.stage is Stage.GRACE
        run.to_the_end()
        assert run.log[before:] == [
            (25, "restore"),
            (25, "email restored"),
            (29, "email grace_reminder"),
            (31, "email final_notice"),
            (32, "suspend"),
            (32, "email suspended"),
            (62, "mark_uncollectible"),
            (62, "cancel_subscription"),
            (62, "email survey"),
        ]

    def test_a_payment_afterwards_finds_nothing_to_restore(self) -> None:
        run = Run(opened("expired_card")).until(25)
        run.lever("restore_now", BY)
        run.until(27).event(status="paid", amount_remaining=0)
        assert [what for _, what in run.log].count("restore") == 1
        assert run.log[-1] == (27, "email recovered")

    def test_is_refused_where_nothing_is_suspended(self) -> None:
        assert "is not suspended" in Run(opened()).until(3).lever("restore_now", BY)[1]


# --- extensions -------------------------------------------------------------------------------------------


class TestExtensions:
    def test_after_the_suspension_one_is_refused_by_the_standard_policy(self) -> None:
        run = Run(opened("expired_card")).until(25)
        accepted, text = run.lever("grant_extension", {"days": 7, **BY})
        assert not accepted
        assert "promise_to_pay" in text

    def test_after_the_suspension_one_restores_if_the_policy_says_so(self) -> None:
        run = Run(opened("expired_card", policy=AFTER_SUSPENSION), policy=AFTER_SUSPENSION).until(25)
        accepted, text = run.lever("grant_extension", {"days": 7, **BY})
        assert accepted
        assert text == "granted: the new last day is Fri 03 Apr 2026; access comes back now"
        assert run.log[-3:] == [(25, "restore"), (25, "email extension_granted"), (25, "email restored")]
        run.to_the_end()
        assert [day for day, what in run.log if what == "suspend"] == [21, 32]

    @pytest.mark.parametrize(
        ("days", "why"),
        [
            (-3, "days: write at least 1"),
            (0, "days: write at least 1"),
            (10**9, "days: write at most 365"),
            (200, "200 days are too many: the policy allows 30 in all, 30 are left"),
            (2.5, "days: write a whole number, such as 7"),
            (7.0, "days: write a whole number, such as 7"),
            ("7", "days: write a whole number, such as 7"),
            ("a week", "days: write a whole number, such as 7"),
            (True, "days: write a whole number, such as 7"),
        ],
    )
    def test_an_odd_number_of_days_is_refused_with_what_to_write(self, days: object, why: str) -> None:
        run = Run(opened()).until(3)
        for lever in ("grant_extension", "request_extension"):
            accepted, text = run.lever(lever, {"days": days, **BY})
            if lever == "request_extension" and days == 200:
                assert accepted  # a person answers
            else:
                assert not accepted
                assert why in text

    @pytest.mark.parametrize(
        ("until", "why"),
        [
            ("2026-03-01", "is not after the last day 2026-03-23"),
            ("2026-03-23", "is not after the last day 2026-03-23"),
            ("2026-12-24", "276 days are too many"),
            ("2026-03-30T00:00:00+09:00", "write a calendar day"),
            ("2026-03-30T00:00:00Z", "write a calendar day"),
            (20260330, "write a calendar day"),
        ],
    )
    def test_an_odd_date_is_refused_with_what_to_write(self, until: object, why: str) -> None:
        accepted, text = Run(opened()).until(3).lever("grant_extension", {"until": until, **BY})
        assert not accepted
        assert why in text

    def test_two_supporters_at_once_are_both_counted_and_both_told(self) -> None:
        run = Run(opened("expired_card")).until(16)
        levers = [
            Lever(
                name="grant_extension",
                args=({"days": 20, "reason": "x", "by": name},),
                at=run.now,
                ticket=name,
            )
            for name in ("ann", "bob")
        ]
        run.inbox += levers
        run.run_to(run.now)
        assert [accepted for accepted, _ in run.answers] == [True, False]
        assert "10 are left" in run.answers[1][1]
        assert run.state.plan.last_day == date(2026, 4, 12)

    def test_in_the_last_second_of_grace_one_still_counts(self) -> None:
        run = Run(opened("expired_card"))
        ends = end_of_day(run.state.plan.last_day, "UTC")
        run.run_to(ends - timedelta(seconds=1))
        assert run.lever("grant_extension", {"days": 3, **BY})[0]
        run.until(23)
        assert run.state.stage is Stage.GRACE

    def test_one_that_arrives_together_with_the_end_of_grace_wins(self) -> None:
        run = Run(opened("expired_card"))
        ends = end_of_day(run.state.plan.last_day, "UTC")
        run.run_to(ends - timedelta(seconds=1))
        run.now = ends
        assert run.lever("grant_extension", {"days": 3, **BY})[0]
        assert days(run, ["suspend"]) == []


# --- set_policy, add_note ---------------------------------------------------------------------------------


def test_another_policy_is_adopted_and_recorded_with_the_step() -> None:
    run = Run(opened("expired_card")).until(16)
    lever = Lever(name="set_policy", args=({"name": "patient", "by": "ann"},), at=run.now, ticket="t")
    question = Question(state=run.state, inbox=(lever,), policy=STANDARD, now=run.now, seq=1)
    step = answer(question, {"patient": longer_grace()})
    assert step.policy == longer_grace()
    assert step.answers[0].text.endswith("the last day of grace is Thu 26 Mar")
    assert step.facets is not None
    assert step.facets["DunningPolicy"] == "patient"


def test_a_shorter_grace_takes_nothing_back() -> None:
    short = varied("grace", length=timedelta(days=3))
    run = Run(opened("expired_card")).until(16)
    lever = Lever(name="set_policy", args=({"name": "short", "by": "ann"},), at=run.now)
    done = command(run.state, lever, STANDARD, {"short": short})
    assert done.state.plan == run.state.plan
    assert done.policy is short


@pytest.mark.parametrize(
    ("new", "why"),
    [
        ("name: There is no policy called 'x'", "There is no policy called 'x'"),
        (varied("retries", owner="stripe"), "retries.owner"),
        (STANDARD.model_copy(update={"shadow": True}), "shadow"),
    ],
)
def test_a_policy_that_the_case_cannot_take_is_refused(new: Policy | str, why: str) -> None:
    lever = Lever(name="set_policy", args=({"name": "x", "by": "ann"},), at=DAY0)
    done = command(opened(), lever, STANDARD, {"x": new})
    assert not done.accepted
    assert why in done.text
    assert done.policy is None


def test_a_dry_run_shows_the_steps_that_differ_and_changes_nothing() -> None:
    run = Run(opened("expired_card")).until(16)
    found = difference(run.state, STANDARD, longer_grace(), run.now)
    assert [e.at.date() for e in found.gone if e.what == "suspend"] == [date(2026, 3, 24)]
    assert [e.at.date() for e in found.new if e.what == "suspend"] == [date(2026, 3, 27)]
    assert difference(run.state, STANDARD, STANDARD, run.now).gone == ()


def test_what_is_no_policy_gets_a_sentence_instead_of_a_difference() -> None:
    assert "this is no whole policy" in str(preview(opened(), STANDARD, [{"name": "x"}], DAY0))
    assert "this is no whole policy" in str(preview(opened(), STANDARD, [], DAY0))
    stripes = varied("retries", owner="stripe").model_dump(mode="json")
    assert "retries.owner" in str(preview(opened(), STANDARD, [stripes], DAY0))


def test_a_note_stands_in_the_timeline_and_changes_nothing_else() -> None:
    state = opened()
    lever = Lever(name="add_note", args=({"text": "called twice, no answer", "by": "ann"},), at=DAY0)
    step = answer(Question(state=state, inbox=(lever,), policy=STANDARD, now=DAY0, seq=1))
    assert step.changes == {}
    assert [(e.what, e.text, e.by) for e in step.entries] == [
        ("lever.add_note", "noted: called twice, no answer", "ann")
    ]
    too_long = Lever(name="add_note", args=({"text": "x" * 501, "by": "ann"},), at=DAY0)
    assert not command(state, too_long, STANDARD).accepted


@pytest.mark.parametrize("name", ["promise_to_pay", "restore_now", "grant_extension", "add_note"])
def test_a_repeat_under_the_same_request_id_changes_nothing(name: str) -> None:
    payload: dict[str, Any] = {
        "promise_to_pay": {"on": "2026-04-02", "by": "ann"},
        "restore_now": BY,
        "grant_extension": {"days": 3, **BY},
        "add_note": {"text": "x", "by": "ann"},
    }[name]
    run = Run(opened("expired_card", policy=AFTER_SUSPENSION), policy=AFTER_SUSPENSION).until(25)
    assert run.lever(name, payload | {"request_id": "once"})[0]
    before = run.state
    accepted, text = run.lever(name, payload | {"request_id": "once"})
    assert accepted
    assert "already answered" in text
    assert run.state == before


def test_the_stage_after_a_stop_is_closed_whatever_was_asked() -> None:
    run = Run(opened("expired_card")).until(25)
    run.inbox += [
        Lever(name="restore_now", args=(BY,), at=run.now),
        Lever(name="stop", args=(BY,), at=run.now),
    ]
    run.run_to(run.now)
    assert run.state.outcome is Outcome.STOPPED
