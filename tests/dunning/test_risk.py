"""Early warning: flags, the facts behind them, and what they add up to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dunning.risk import (
    LEVELS,
    Assessment,
    Flag,
    FlagName,
    History,
    PastAttempt,
    PastCase,
    RiskRules,
    Said,
    Signal,
    assess,
    level_of,
    rises,
)

NOW = datetime(2026, 6, 1, 9, tzinfo=UTC)
DAY = timedelta(days=1)
RULES = RiskRules()


def attempt(days_ago: int = 1, number: int = 1, **given: object) -> PastAttempt:
    facts = {"outcome": "declined", "decline_class": "soft", "funding": "credit", **given}
    return PastAttempt.model_validate(
        {"fact": f"attempts/in_1/{number}", "case": "cases/1", "at": NOW - days_ago * DAY, **facts}
    )


def case(days_ago: int, *, recovered: bool = True) -> PastCase:
    return PastCase(fact="cases/1", opened_at=NOW - days_ago * DAY, recovered=recovered)


def said(what: str, days_ago: int = 1) -> Said:
    return Said(fact=f"said/{what}", what=what, at=NOW - days_ago * DAY)


def signal(kind: str, days_ago: int = 1, **given: object) -> Signal:
    at = NOW - days_ago * DAY
    return Signal.model_validate({"fact": f"signals/{kind}", "kind": kind, "at": at, **given})


@pytest.mark.parametrize(
    ("history", "flags"),
    [
        (History(), []),
        (History(attempts=(attempt(expires_at=NOW + 45 * DAY),)), ["card_expiring"]),
        (History(attempts=(attempt(expires_at=NOW + 46 * DAY),)), []),
        (History(attempts=(attempt(expires_at=NOW - DAY),)), ["card_expiring"]),
        (History(attempts=(attempt(funding="prepaid"),)), ["prepaid_card"]),
        (History(attempts=(attempt(1, 2), attempt(2, 1, funding="prepaid"))), []),  # a card of the past
        (History(attempts=tuple(attempt(days) for days in (1, 3, 180))), ["soft_declines"]),
        (History(attempts=tuple(attempt(days) for days in (1, 3, 181))), []),
        (History(cases=(case(60, recovered=False),)), ["failed_recently"]),
        (History(cases=(case(61, recovered=False),)), []),
        (
            History(
                cases=(case(100),),
                attempts=tuple(attempt(90, number, decline_class="technical") for number in (3, 2, 1)),
            ),
            ["hard_to_recover"],
        ),
        (History(broken_promises=(said("promise"),)), ["broken_promise"]),
        (History(dead_channels=(said("email", 900),)), ["unreachable"]),
        (History(signals=(signal("paused"), signal("downgraded"))), ["paused", "downgraded"]),
        (History(signals=(signal("disputed", 181),)), []),
        (History(signals=(signal("backend", 900, text="uses half", until=NOW + DAY),)), ["backend"]),
        (History(signals=(signal("backend", 1, until=NOW - DAY),)), []),
    ],
)
def test_each_fact_raises_its_flag_for_as_long_as_it_counts(history: History, flags: list[str]) -> None:
    found = assess(history, RULES, NOW)
    assert [flag.name for flag in found.flags] == flags
    assert all(flag.facts and flag.text for flag in found.flags)


def test_flags_add_up_to_a_level() -> None:
    signals = (signal("paused"), signal("downgraded"), signal("disputed"))
    levels = [assess(History(signals=signals[:count]), RULES, NOW).level for count in range(4)]
    assert levels == ["none", "none", "elevated", "high"]


def test_a_weight_of_nothing_turns_a_flag_off() -> None:
    rules = RiskRules.model_validate({"weights": {"disputed": 0}})
    assert assess(History(signals=(signal("disputed"),)), rules, NOW) == Assessment()


NAMES = list(FlagName.__args__)  # type: ignore[attr-defined]
FLAGS = st.builds(
    Flag,
    name=st.sampled_from(NAMES),
    weight=st.integers(0, 9),
    text=st.just("because"),
    facts=st.just(("attempts/in_1/1",)),
)
MOMENTS = st.integers(0, 400).map(lambda days: NOW - days * DAY)
ATTEMPTS = st.builds(
    PastAttempt,
    fact=st.just("a"),
    case=st.just("cases/1"),
    at=MOMENTS,
    decline_class=st.sampled_from(["soft", "technical", None]),
    funding=st.sampled_from(["credit", "prepaid", None]),
    expires_at=st.none() | MOMENTS,
)
SAID = st.builds(Said, fact=st.just("s"), at=MOMENTS)
SIGNALS = st.builds(
    Signal, fact=st.just("s"), at=MOMENTS, kind=st.sampled_from(["paused", "downgraded", "disputed"])
)
HISTORIES = st.builds(
    History,
    attempts=st.lists(ATTEMPTS, max_size=6).map(tuple),
    cases=st.lists(st.builds(PastCase, fact=st.just("cases/1"), opened_at=MOMENTS), max_size=3).map(tuple),
    signals=st.lists(SIGNALS, max_size=4).map(tuple),
    broken_promises=st.lists(SAID, max_size=2).map(tuple),
)


@given(st.lists(FLAGS, max_size=8).map(tuple), FLAGS)
def test_one_more_flag_never_lowers_the_level(flags: tuple[Flag, ...], more: Flag) -> None:
    before, after = level_of(flags, RULES), level_of((*flags, more), RULES)
    assert LEVELS.index(after) >= LEVELS.index(before)
    assert rises(before, after) is (before != after)


@given(HISTORIES, SIGNALS)
def test_one_more_thing_told_never_lowers_the_level(history: History, more: Signal) -> None:
    told = history.model_copy(update={"signals": (*history.signals, more)})
    before, after = assess(history, RULES, NOW).level, assess(told, RULES, NOW).level
    assert LEVELS.index(after) >= LEVELS.index(before)


@given(HISTORIES)
def test_every_flag_leads_to_facts_and_the_level_follows_from_the_flags(history: History) -> None:
    found = assess(history, RULES, NOW)
    assert all(flag.facts for flag in found.flags)
    assert found.level == level_of(found.flags, RULES)
    assert found.score == sum(flag.weight for flag in found.flags)
