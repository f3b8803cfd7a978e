"""What the business's own systems are told of a case, and in which order."""

from __future__ import annotations

import json
import re
from datetime import timedelta

from dunning.announcements import EVENTS, body, reconciliation_finished, risk_raised
from dunning.case import BillingEvent, EffectFailed, Event
from dunning.decision import Action, Question
from dunning.reconciliation import Counts, Kind, Tally, Tour
from dunning.risk import Assessment, Flag, Level
from dunning.step import answer
from tests.dunning.cases import DAY0, STANDARD, Run, opened


def told(run: Run) -> list[tuple[int, str]]:
    """The calendar of the events, without those of messages."""
    events = [event for event in run.announced if event.type != "message.sent"]
    return [((event.at - DAY0).days, event.type) for event in events]


def data(run: Run, type: str) -> list[dict[str, object]]:
    """What the events of a type say beyond what every event says."""
    common = {"case_id", "account", "invoice", "customer", "subscription", "livemode", "stage", "access"}
    common |= {"amount_remaining", "currency", "last_day"}
    events = [event.data for event in run.announced if event.type == type]
    assert all(common <= event.keys() for event in events)
    return [{name: value for name, value in event.items() if name not in common} for event in events]


def test_a_case_that_nobody_pays() -> None:
    run = Run(opened("expired_card")).to_the_end()
    assert told(run) == [(14, "grace.started"), (21, "suspended"), (21, "access.changed"), (51, "closed")]
    assert data(run, "closed") == [{"outcome": "written_off"}]
    messages = [f"{message['channel']} {message['step']}" for message in data(run, "message.sent")]
    accepted = [f"{sent.channel} {sent.step}" for sent in run.state.sent if sent.fate == "accepted"]
    assert messages == accepted
    assert messages[0] == "email first_notice"


def test_a_customer_who_pays_after_the_suspension_gets_the_service_back() -> None:
    run = Run(opened("expired_card")).until(25)
    run.event(status="paid", amount_remaining=0)
    assert told(run)[-4:] == [(25, type) for type in ("recovered", "restored", "access.changed", "closed")]
    assert data(run, "access.changed") == [{"before": "full"}, {"before": "none"}]
    assert run.announced[-2].data["access"] == "full"
    assert data(run, "recovered") == [{"via": "customer"}]
    assert data(run, "closed") == [{"outcome": "recovered", "via": "customer"}]
    assert [event.data["amount_remaining"] for event in run.announced[-3:]] == [0, 0, 0]


def test_attempts_that_fail_and_the_one_that_does_not() -> None:
    run = Run(opened(), outcomes={2: "do_not_honor", 3: "succeeded"}).to_the_end()
    assert data(run, "attempt.failed") == [
        {"attempt": 1, "result": "declined", "decline_code": "insufficient_funds"},
        {"attempt": 2, "result": "declined", "decline_code": "do_not_honor"},
    ]
    assert data(run, "recovered") == [{"via": "engine"}]


def test_more_time_asked_for_granted_and_denied() -> None:
    run = Run(opened("expired_card")).until(15)
    run.lever("request_extension", {"days": 7, "by": "customer"})
    assert data(run, "extension.granted") == [{"days": 7, "by_customer": True}]
    assert run.announced[-2].data["last_day"] == "2026-03-30"

    run.lever("request_extension", {"days": 20, "by": "customer"})
    assert [type for _, type in told(run)[-2:]] == ["extension.requested", "human.needed"]
    run.lever("deny_extension", {"reason": "enough", "by": "maria"})
    assert data(run, "extension.denied") == [{"days": 20}]

    run.lever("request_extension", {"days": 20, "by": "customer"})
    run.lever("grant_extension", {"days": 9, "reason": "salary", "by": "maria"})
    assert data(run, "extension.granted")[1:] == [{"days": 9, "by_customer": False}]
    assert len(data(run, "extension.denied")) == 1


def test_a_person_is_called_once_for_one_question() -> None:
    run = Run(opened("fraudulent")).until(10)
    assert [type for _, type in told(run)] == ["human.needed"]
    assert data(run, "human.needed")[0]["why"] == "decision"


def test_a_person_is_called_to_read_what_the_customer_wrote() -> None:
    run = Run(opened()).until(2)
    run.inbox.append(BillingEvent(type="reply.waiting", at=run.now))
    run.run_to(run.now)
    assert [called["why"] for called in data(run, "human.needed")] == ["reply"]


def test_the_doors_follow_the_ladder_of_the_policy() -> None:
    ladder = STANDARD.access.model_copy(update={"grace": "limited"})
    run = Run(opened("expired_card"), policy=STANDARD.model_copy(update={"access": ladder})).until(25)
    changes = [event for event in run.announced if event.type == "access.changed"]
    levels = [((event.at - DAY0).days, event.data["access"]) for event in changes]
    assert levels == [(14, "limited"), (21, "none")]


def test_a_provider_that_does_not_answer_is_told_once_and_without_its_words() -> None:
    def stripe_is_down(action: Action, run: Run) -> Event | None:
        if action.kind != "charge" or run.now > DAY0 + timedelta(days=2):
            return None
        return EffectFailed(effect=action.key, at=run.now, error="ada@customer.example was refused")

    run = Run(opened(), intercept=stripe_is_down).until(2)
    assert data(run, "human.needed") == [{"why": "fault", "text": "charge does not work"}]


def test_a_policy_in_shadow_tells_nobody() -> None:
    run = Run(opened("expired_card"), policy=STANDARD.model_copy(update={"shadow": True})).to_the_end()
    assert run.announced == []


def test_the_first_step_tells_of_the_opening() -> None:
    step = answer(Question(state=opened(), policy=STANDARD, now=DAY0))
    (event,) = step.announcements
    assert (event.type, event.at) == ("case.opened", DAY0)
    assert event.data["decline_code"] == "insufficient_funds"


def test_a_step_that_is_repeated_with_more_in_its_inbox_says_the_same_under_the_same_ids() -> None:
    first, again = (Run(opened("expired_card")).until(25) for _ in range(2))
    again.lever("add_note", {"text": "?", "by": "maria"})
    known = {event.id for event in first.announced}
    assert [event.id for event in again.announced if event.id not in known] == []
    assert len(known) == len(first.announced)


def test_announcements_stay_out_of_the_history() -> None:
    step = answer(Question(state=opened(), policy=STANDARD, now=DAY0))
    assert "announcements" not in step.model_dump(mode="json")


def test_events_are_small_and_named_as_the_standard_wants() -> None:
    run = Run(opened("expired_card")).until(25)
    run.event(status="paid", amount_remaining=0)
    for event in run.announced:
        assert event.type in EVENTS
        assert re.fullmatch(r"evt_[0-9a-f]{24}", event.id)
        assert len(body(event)) < 2_000
        assert json.loads(body(event)).keys() == {"type", "timestamp", "data"}
    assert all(re.fullmatch(r"[a-zA-Z0-9_]+(\.[a-zA-Z0-9_]+)*", name) for name in EVENTS)


AT_RISK = Assessment(
    level="high",
    score=5,
    flags=(
        Flag(name="disputed", weight=3, text="disputed a payment", facts=("signals/disputed/evt_1",)),
        Flag(name="backend", weight=2, text="mood: Ada cried", facts=("signals/backend/mood",)),
    ),
)


def risk_told(before: Level | None, *, shadow: bool = False) -> list[dict[str, object]]:
    """What is told of a customer who is at risk now."""
    policy = STANDARD.model_copy(update={"shadow": shadow})
    told = risk_raised("", "cus_1", before, AT_RISK, policy, DAY0)
    assert all(event.type in EVENTS for event in told)
    return [event.data for event in told]


def test_a_level_that_rose_is_told_with_its_reasons_but_not_in_the_words_of_a_person() -> None:
    [data] = risk_told(None)
    assert data == {
        "customer": "cus_1",
        "account": None,
        "level": "high",
        "before": "none",
        "flags": [
            {"name": "disputed", "text": "disputed a payment", "facts": ["signals/disputed/evt_1"]},
            {
                "name": "backend",
                "text": "a flag of the business's own",
                "facts": ["signals/backend/mood"],
            },
        ],
    }
    assert [data["before"] for data in risk_told("elevated")] == ["elevated"]


def test_a_level_that_stayed_or_a_policy_in_shadow_tells_nobody_of_a_risk() -> None:
    assert risk_told("high") == []
    assert risk_told(None, shadow=True) == []


def test_a_reconciliation_tells_what_it_found_and_what_is_left() -> None:
    tour = Tour(run="r1", started=DAY0, events_since=DAY0)
    found = {Kind.LOST_EVENT: Tally(found=3, fixed=3), Kind.ATTEMPT_UNKNOWN: Tally(found=2)}
    [told] = reconciliation_finished(tour, Counts(looked_at=40, failed=1), found, STANDARD, DAY0)
    [again] = reconciliation_finished(tour, Counts(), {}, STANDARD, DAY0 + timedelta(minutes=1))
    assert told.id == again.id
    assert told.data == {
        "run": "r1",
        "dry_run": False,
        "importing": False,
        "looked_at": 40,
        "failed": 1,
        "findings": {
            "lost_event": {"found": 3, "fixed": 3, "reported": 0},
            "attempt_unknown": {"found": 2, "fixed": 0, "reported": 2},
        },
    }
    shadow = STANDARD.model_copy(update={"shadow": True})
    assert reconciliation_finished(tour, Counts(), {}, shadow, DAY0) == ()
