"""Promises to pay: a day that the customer named, kept or broken, in every stage of a case."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from dunning.calendar import end_of_day
from dunning.case import CaseState, Turn
from dunning.decision import Send
from dunning.evolve import evolve
from dunning.grace import release_hold
from dunning.values import Outcome, Stage, WaitingOn
from dunning.view import waiting_on
from tests.dunning.cases import DAY0, NEW_CARD, STANDARD, Run, days, is_closed, opened


def day(number: int) -> str:
    return (DAY0 + timedelta(days=number)).date().isoformat()


def promised(run: Run, number: int) -> str:
    accepted, text = run.lever("promise_to_pay", {"on": day(number), "by": "ann"})
    assert accepted, text
    return text


def states(run: Run) -> list[str]:
    return [promise.state for promise in run.state.promises]


# --- kept -------------------------------------------------------------------------------------------------


def test_a_promise_while_retrying_is_charged_that_morning_and_kept() -> None:
    run = Run(opened(), outcomes={3: "succeeded"}).until(4)
    before = len(run.log)
    text = promised(run, 10)
    assert (
        text == "promised: Thu 12 Mar 2026 in UTC, charged from 09:00 on; nothing is said or suspended before"
    )
    assert waiting_on(run.state) is WaitingOn.DATE
    run.to_the_end()
    assert run.log[before:] == [(4, "email promise_made"), (9, "charge succeeded"), (9, "email recovered")]
    assert run.actions[-2][0] == datetime(2026, 3, 12, 9, tzinfo=DAY0.tzinfo)  # day 10 begins at 10 o'clock
    assert states(run) == ["kept"]
    assert run.state.outcome is Outcome.RECOVERED


def test_the_confirmation_says_the_day_and_that_it_is_charged_then() -> None:
    run = Run(opened()).until(4)
    promised(run, 10)
    said = next(
        action for _, action in run.actions if isinstance(action, Send) and action.template == "promise_made"
    )
    assert (said.day, said.next_attempt_on) == (date(2026, 3, 12), date(2026, 3, 12))


def test_a_customer_who_pays_early_kept_the_promise() -> None:
    run = Run(opened("expired_card")).until(16)
    promised(run, 25)
    run.until(18).event(status="paid", amount_remaining=0)
    assert states(run) == ["kept"]
    assert is_closed(run)


def test_a_new_card_is_charged_at_once_although_a_day_was_promised() -> None:
    run = Run(opened("expired_card"), outcomes={1: "succeeded"}).until(16)
    promised(run, 25)
    run.until(17).event(method=NEW_CARD)
    assert days(run, ["charge"]) == [(17, "charge succeeded")]
    assert states(run) == ["kept"]


def test_a_technical_failure_breaks_no_promise() -> None:
    run = Run(
        opened("processing_error"), outcomes={1: "processing_error", 2: "processing_error", 3: "succeeded"}
    )
    promised(run, 2)
    run.to_the_end()
    assert [what for _, what in days(run, ["charge"])] == ["charge processing_error"] * 2 + [
        "charge succeeded"
    ]
    assert states(run) == ["kept"]


# --- broken -----------------------------------------------------------------------------------------------


def test_a_broken_promise_in_grace_leaves_two_announced_days() -> None:
    run = Run(opened()).until(19)
    promised(run, 30)
    before = len(run.log)
    run.to_the_end()
    assert states(run) == ["broken"]
    assert [entry for entry in run.log[before:] if "sms" not in entry[1]][:5] == [
        (29, "charge insufficient_funds"),  # 1 April, nine in the morning
        (29, "email promise_broken"),
        (31, "email final_notice"),
        (32, "suspend"),
        (32, "email suspended"),
    ]
    named = [s for s in run.state.sent if s.named_day == run.state.plan.last_day]
    assert run.state.plan.last_day == date(2026, 4, 3)
    assert run.state.suspended_at == end_of_day(date(2026, 4, 3), "UTC")
    assert min(s.at for s in named) <= run.state.suspended_at - timedelta(hours=48)


def test_a_broken_promise_while_retrying_returns_there_and_keeps_the_dates() -> None:
    run = Run(opened()).until(4)
    last_day = run.state.plan.last_day
    promised(run, 6)
    run.until(6.5)
    assert states(run) == ["broken"]
    assert run.state.stage is Stage.RECOVERING
    assert run.state.plan.last_day == last_day
    run.to_the_end()
    assert (7, "email reminder") in run.log
    assert days(run, ["suspend"]) == [(21, "suspend")]


def test_nothing_can_be_charged_the_day_itself_is_waited_for() -> None:
    run = Run(opened("expired_card")).until(16)
    assert "the customer pays by the end of that day" in promised(run, 20)
    run.run_to(end_of_day(date.fromisoformat(day(20)), "UTC") - timedelta(seconds=1))
    assert states(run) == ["open"]
    assert days(run, ["charge"]) == []
    run.run_to(run.now + timedelta(seconds=1))
    assert states(run) == ["broken"]


def test_no_message_repeats_what_the_broken_promise_said() -> None:
    run = Run(opened("expired_card")).until(13)
    promised(run, 26)  # grace would have started meanwhile
    run.to_the_end()
    after = [what for number, what in run.log if number >= 26 and what.startswith(("email", "sms"))]
    assert after[0] == "email promise_broken"
    assert "email grace_started" not in after
    assert "email impact" not in after


# --- in the other stages ----------------------------------------------------------------------------------


def test_an_agreed_day_after_the_suspension_is_charged_and_restores() -> None:
    run = Run(opened(), outcomes={9: "succeeded"}).until(30)
    assert run.state.stage is Stage.SUSPENDED
    before = len(run.log)
    assert "the final action waits" in promised(run, 35)
    run.to_the_end()
    assert run.log[before:] == [
        (30, "email promise_made"), (34, "charge succeeded"), (34, "restore"), (34, "email restored"),
    ]  # fmt: skip
    assert states(run) == ["kept"]


def test_an_agreed_day_holds_the_final_action() -> None:
    run = Run(opened("expired_card")).until(45)
    promised(run, 58)
    run.until(52)
    assert days(run, ["mark_uncollectible"]) == []
    run.to_the_end()
    assert states(run) == ["broken"]
    assert "email promise_broken" not in [what for _, what in run.log]  # access is paused already
    assert days(run, ["mark_uncollectible"]) == [(58, "mark_uncollectible")]


def test_during_a_hold_only_a_day_after_it_is_taken() -> None:
    run = Run(opened()).until(4)
    run.lever("hold", {"reason": "outage", "by": "ops", "until": day(8)})
    accepted, text = run.lever("promise_to_pay", {"on": day(6), "by": "ann"})
    assert not accepted
    assert "on hold to" in text
    promised(run, 12)
    run.lever("release", {"by": "ops"})
    assert run.state.promise is not None
    assert run.state.promise.on == date.fromisoformat(day(12))


def test_a_promised_day_that_passes_in_a_hold_becomes_the_day_of_the_release() -> None:
    run = Run(opened()).until(4)
    promised(run, 6)
    run.lever("hold", {"reason": "outage", "by": "ops", "until": day(9)})
    run.until(12)
    assert run.state.promises[0].on == date(2026, 3, 12)  # the hold ended with the 11th
    assert (9, "charge insufficient_funds") in run.log


# --- the bounds -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on", "why"),
    [
        ("2026-03-05", "has passed where the customer lives"),
        ("2026-03-21", "the policy takes promises for 14 days, to 2026-03-20"),
        ("9999-12-31", "too far ahead"),
        ("tomorrow", "write a calendar day"),
        ("2026-03-10T09:00:00+09:00", "write a calendar day"),
        ("2026-02-30", "write a calendar day"),
        (1773100800, "write a calendar day"),
        (None, "write a calendar day"),
    ],
)
def test_a_day_that_cannot_be_promised_is_refused_with_the_reason(on: object, why: str) -> None:
    run = Run(opened()).until(4)
    accepted, text = run.lever("promise_to_pay", {"on": on, "by": "ann"})
    assert not accepted
    assert why in text


def test_today_is_the_customers_today() -> None:
    run = Run(opened(zone="Pacific/Auckland")).run_to(datetime(2026, 3, 6, 12, tzinfo=DAY0.tzinfo))
    assert not run.lever("promise_to_pay", {"on": "2026-03-06", "by": "ann"})[0]  # it is the 7th there
    assert run.lever("promise_to_pay", {"on": "2026-03-07", "by": "ann"})[0]


def test_two_promises_a_case_and_one_at_a_time() -> None:
    run = Run(opened("expired_card")).until(4)
    promised(run, 6)
    assert "still open" in run.lever("promise_to_pay", {"on": day(8), "by": "ann"})[1]
    run.until(8)
    promised(run, 9)
    run.until(11)
    assert states(run) == ["broken", "broken"]
    assert "2 promises a case" in run.lever("promise_to_pay", {"on": day(12), "by": "ann"})[1]


def test_a_frozen_case_takes_no_promise() -> None:
    run = Run(opened("fraudulent")).until(1)
    assert "a person must decide first" in run.lever("promise_to_pay", {"on": day(3), "by": "ann"})[1]


def test_time_that_was_held_moves_what_people_were_given() -> None:
    run = Run(opened()).until(4)
    run.lever("request_extension", {"days": 20, "by": "customer"})
    asked = run.state.request
    assert asked is not None
    run.lever("hold", {"reason": "outage", "by": "ops"})
    held: CaseState = release_hold(run.state, run.now + timedelta(days=2))
    assert held.request is not None
    assert held.request.answer_by == asked.answer_by + timedelta(days=2)


def test_a_promise_of_a_case_that_ends_otherwise_is_neither_kept_nor_broken() -> None:
    run = Run(opened()).until(4)
    promised(run, 10)
    run.lever("stop", {"reason": "settled by phone", "by": "ann"})
    assert states(run) == ["ended"]


def test_a_turn_that_finds_no_promise_changes_nothing() -> None:
    state = opened()
    assert evolve(state, Turn(to="promise_broken", at=DAY0), STANDARD) == state
