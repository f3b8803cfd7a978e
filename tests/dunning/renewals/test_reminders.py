"""Who is reminded of a renewal, when, and when there is nothing to remind of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dunning.case import Fate, MessageSent
from dunning.expiry.card import Renewal
from dunning.policy import Policy, PolicyError, parse_policy
from dunning.renewals.decide import (
    LATEST,
    OPENS,
    STEP,
    decide,
    needs_reminder,
    open_reminder,
    remind_nobody,
    unwanted,
)
from dunning.renewals.reminder import ReminderOutcome, ReminderRef, Upcoming, parse_reminder
from dunning.risk import LEVELS
from dunning.values import Channel

CHARGE = datetime(2031, 3, 12, 10, tzinfo=UTC)
DAY = timedelta(days=1)
BEFORE = 14 * DAY
REF = ReminderRef(case_id="renewal/acct/sub_1/2031-03-12T10:00", subscription="sub_1", charge_at=CHARGE)
STANDARD_YAML = (files("dunning") / "policies/standard.yaml").read_text(encoding="utf-8")


@cache
def policy(remind: str = "remind: [yearly]", channels: str = "[email]", *more: tuple[str, str]) -> Policy:
    text = STANDARD_YAML.replace("remind: [yearly]", remind).replace(
        "to cancel\n  channels: [email]", f"to cancel\n  channels: {channels}"
    )
    for old, new in more:
        assert old in text
        text = text.replace(old, new)
    return parse_policy(text, "standard.yaml")


def upcoming(
    now: datetime = CHARGE - BEFORE, *, renewal: dict[str, Any] | None = None, **more: Any
) -> Upcoming:
    charge = {"subscription": "sub_1", "at": CHARGE, "method": "pm_1", "currency": "eur", "yearly": True}
    known: dict[str, Any] = {"amount": 12000, "customer": "cus_1", "channels": (Channel.EMAIL,)}
    return Upcoming(
        subscription="sub_1",
        read_at=now,
        renewal=Renewal.model_validate(charge | (renewal or {})),
        **(known | more),
    )


def became(
    fate: Fate, at: datetime = CHARGE - BEFORE, channel: Channel = Channel.EMAIL, **more: Any
) -> MessageSent:
    return MessageSent(step=STEP, channel=channel, at=at, fate=fate, **more)


class TestWho:
    @pytest.mark.parametrize(
        ("remind", "facts", "wanted"),
        [
            ("remind: [always]", {"renewal": {"yearly": False}}, True),
            ("remind: [yearly]", {}, True),
            ("remind: [yearly]", {"renewal": {"yearly": False}}, False),
            ("remind: [amount]\n  amount_from: {eur: 12000}", {"renewal": {"yearly": False}}, True),
            ("remind: [amount]\n  amount_from: {eur: 12001}", {}, False),
            ("remind: [amount]\n  amount_from: {usd: 1}", {}, False),
            ("remind: [at_risk]", {"risk": "elevated"}, True),
            ("remind: [at_risk]", {"risk": "none"}, False),
            ("remind: [at_risk]\n  risk_from: high", {"risk": "elevated"}, False),
            ("remind: [yearly, at_risk]", {"renewal": {"yearly": False}, "risk": "high"}, True),
        ],
    )
    def test_the_policy_says(self, remind: str, facts: dict[str, Any], wanted: bool) -> None:
        assert (unwanted(upcoming(**facts), policy(remind)) == "") is wanted

    @pytest.mark.parametrize(
        ("facts", "why"),
        [
            ({"renewal": {"charges": False}}, "nothing will be charged"),
            ({"amount": 0}, "nothing will be charged"),
            ({"amount": None}, "nothing will be charged"),
            ({"dunned": True}, "hears of a failed invoice"),
            ({"renewal": {"expiry": "2031-02"}}, "its own case speaks of that"),
        ],
    )
    def test_nobody_hears_what_is_not_true_or_said_elsewhere(self, facts: dict[str, Any], why: str) -> None:
        assert why in unwanted(upcoming(**facts), policy())

    def test_a_policy_without_the_section_reminds_nobody(self) -> None:
        silent = policy().model_copy(update={"renewals": None})
        assert "no section renewals" in unwanted(upcoming(), silent)
        assert not needs_reminder(upcoming().renewal, "high", silent, CHARGE - BEFORE)  # type: ignore[arg-type]

    def test_stripe_need_not_be_asked_where_no_policy_has_the_section(self) -> None:
        silent = policy().model_copy(update={"renewals": None})
        assert "nobody is reminded" in remind_nobody([silent])
        assert remind_nobody([silent, policy()]) == ""

    def test_a_scan_opens_what_may_be_large_enough(self) -> None:
        """A list price is not what will be due: only the look at the reminder itself asks for that."""
        renewal = upcoming(renewal={"yearly": False}).renewal
        assert renewal is not None
        large = policy("remind: [amount]\n  amount_from: {eur: 999999}")
        assert needs_reminder(renewal, "none", large, CHARGE - BEFORE)
        assert "other renewals" in open_reminder(upcoming(renewal={"yearly": False}), large, CHARGE - BEFORE)


class TestWhen:
    @pytest.mark.parametrize(
        ("ahead", "by_scan", "at_all"),
        [
            (BEFORE + OPENS + timedelta(seconds=1), False, True),  # announced early, it waits
            (BEFORE + OPENS, True, True),
            (LATEST + timedelta(seconds=1), True, True),
            (LATEST, False, False),
            (-DAY, False, False),
        ],
    )
    def test_it_is_opened_in_time_or_not_at_all(self, ahead: timedelta, by_scan: bool, at_all: bool) -> None:
        renewal, now = upcoming().renewal, CHARGE - ahead
        assert renewal is not None
        assert needs_reminder(renewal, "none", policy(), now) is by_scan
        assert ("too near" in open_reminder(upcoming(), policy(), now)) is not at_all

    def test_it_waits_for_its_day_then_is_said_once(self) -> None:
        early = CHARGE - BEFORE - DAY
        assert decide(REF, upcoming(early), policy(), (), early).until == CHARGE - BEFORE
        due = decide(REF, upcoming(), policy(), (), CHARGE - BEFORE)
        assert due.send is not None
        assert (due.send.step, due.send.group, due.send.counts) == (STEP, "optional", True)
        assert due.send.charge is not None
        assert due.send.charge.subscription == "sub_1"
        after = decide(REF, upcoming(), policy(), (became("accepted"),), CHARGE - BEFORE)
        assert after.outcome is ReminderOutcome.REMINDED

    def test_a_text_waits_for_a_decent_hour_of_the_customer(self) -> None:
        facts = upcoming(zone="Asia/Tokyo", channels=(Channel.SMS,))
        at_night = CHARGE - BEFORE + timedelta(hours=8)  # 03:00 in Tokyo
        step = decide(REF, facts, policy(channels="[sms]"), (), at_night)
        assert step.until == CHARGE - BEFORE + timedelta(hours=14)  # 09:00

    def test_what_has_no_room_waits_and_is_dropped_when_it_is_too_late(self) -> None:
        later = CHARGE - 3 * DAY
        waits = became("postponed", retry_at=later, detail="3 contacts in 7 days")
        assert decide(REF, upcoming(), policy(), (waits,), CHARGE - BEFORE).until == later
        never = became("postponed", retry_at=CHARGE - timedelta(hours=3), detail="3 contacts in 7 days")
        dropped = decide(REF, upcoming(), policy(), (never,), CHARGE - BEFORE)
        assert (dropped.outcome, dropped.reason) == (
            ReminderOutcome.NOT_REMINDED,
            "no room within contact limits and quiet hours before the charge",
        )

    def test_a_provider_that_does_not_answer_is_asked_again_later(self) -> None:
        now = CHARGE - BEFORE
        step = decide(REF, upcoming(), policy(), (), now, failed_at=now)
        assert step.until == now + timedelta(hours=1)

    def test_nobody_to_write_to(self) -> None:
        step = decide(REF, upcoming(channels=()), policy(), (), CHARGE - BEFORE)
        assert (step.outcome, step.reason) == (ReminderOutcome.NOT_REMINDED, "no address or no consent")

    def test_canceled_by_an_operator_it_says_nothing_more(self) -> None:
        step = decide(REF, upcoming(), policy(), (), CHARGE - BEFORE, canceled=True)
        assert step.outcome is ReminderOutcome.STOPPED

    def test_another_day_of_the_charge_is_another_reminders(self) -> None:
        moved = upcoming(renewal={"at": CHARGE + 30 * DAY})
        assert decide(REF, moved, policy(), (), CHARGE - BEFORE).outcome is ReminderOutcome.NOT_NEEDED


fates = st.sampled_from(
    ["accepted", "unknown", "failed", "unreachable", "shadow", "postponed", "held", "too_late"]
)


@given(
    st.lists(
        st.tuples(fates, st.sampled_from([Channel.EMAIL, Channel.SMS]), st.integers(0, 20 * 24)), max_size=6
    ),
    st.integers(0, 17 * 24),
    st.sampled_from(LEVELS),
)
def test_nothing_is_said_twice_too_early_or_too_late(
    before: list[tuple[Fate, Channel, int]], hours: int, risk: Any
) -> None:
    now = CHARGE - timedelta(hours=hours)
    heard = [
        became(fate, now - timedelta(hours=ago), channel, retry_at=now if fate == "postponed" else None)
        for fate, channel, ago in before
    ]
    facts = upcoming(now, risk=risk, channels=(Channel.EMAIL, Channel.SMS))
    step = decide(REF, facts, policy(channels="[email, sms]"), heard, now)
    assert [step.send, step.until, step.outcome].count(None) == 2, "one thing follows"
    if step.send is not None:
        latest = {sent.channel: sent.fate for sent in heard}.get(step.send.channel)
        assert latest in (None, "postponed", "held")
        assert CHARGE - BEFORE <= now < CHARGE - LATEST
        assert step.not_after is not None
        assert now <= step.not_after <= CHARGE - LATEST
    if step.until is not None:
        assert now < step.until < CHARGE - LATEST


class TestTheDoor:
    @pytest.mark.parametrize(
        ("section", "sentence"),
        [
            ("remind: [amount]", "go together"),
            ("remind: [yearly]\n  amount_from: {eur: 1}", "go together"),
            ("remind: [at_risk]\n  risk_from: none", "write `remind: \\[always\\]`"),
            ("remind: []", "at least 1"),
            ("remind: [monthly]", "renewals.remind.0"),
        ],
    )
    def test_a_section_that_cannot_be_meant_is_refused(self, section: str, sentence: str) -> None:
        with pytest.raises(PolicyError, match=sentence):
            policy(section)

    def test_a_reminder_without_time_to_act_is_refused(self) -> None:
        with pytest.raises(PolicyError, match="write 2d or more"):
            policy(
                "remind: [yearly]",
                "[email]",
                ("  before: 14d                 # a year", "  before: 1d # a year"),
            )

    @pytest.mark.parametrize(
        "args", [[], [{}], [{"subscription_id": "in_1"}], [{"subscription_id": "sub_1", "x": 1}]]
    )
    def test_an_input_that_names_no_subscription_is_refused(self, args: list[Any]) -> None:
        with pytest.raises(ValueError, match=r"^(input|subscription_id|x):? "):
            parse_reminder(args)
