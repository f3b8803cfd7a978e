"""Few: how often a customer may be written to, and what becomes of a message that finds no room."""

from __future__ import annotations

from datetime import timedelta

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dunning.case import BillingEvent, Event, MessageSent
from dunning.contacts import DAY, TEXTS, Contact, slot
from dunning.decision import Action, Question
from dunning.forecast import forecast
from dunning.policy import ContactLimits, PolicyError, parse_policy
from dunning.step import answer
from dunning.values import Channel, Stage
from tests.dunning.cases import DAY0, STANDARD, Run, days, opened

EMAIL, SMS, WHATSAPP = Channel.EMAIL, Channel.SMS, Channel.WHATSAPP
LIMITS = ContactLimits(sms_per_day=1, sms_per_7_days=2, contacts_per_7_days=3)


def said(channel: Channel, days_ago: float) -> Contact:
    return Contact(at=DAY0 - timedelta(days=days_ago), channel=channel)


def wanted(channel: Channel = EMAIL, *, extra: bool = False) -> Contact:
    return Contact(at=DAY0, channel=channel, extra=extra)


@pytest.mark.parametrize(
    ("want", "past", "rule", "days"),
    [
        (wanted(), [], "", 0),
        (wanted(), [said(EMAIL, 6), said(EMAIL, 2)], "", 0),
        (wanted(), [said(EMAIL, 6), said(SMS, 3), said(EMAIL, 1)], "contacts_per_7_days", 1),
        (wanted(), [said(EMAIL, 7), said(SMS, 3), said(EMAIL, 1)], "", 0),
        (wanted(SMS), [said(SMS, 0.5)], "sms_per_day", 0.5),
        (wanted(SMS), [said(WHATSAPP, 0.5)], "sms_per_day", 0.5),
        (wanted(WHATSAPP), [said(SMS, 6), said(SMS, 2)], "sms_per_7_days", 1),
        (wanted(EMAIL), [said(SMS, 6), said(SMS, 0.1)], "", 0),
        (wanted(SMS), [said(SMS, 0.5), said(EMAIL, 1), said(EMAIL, 2)], "contacts_per_7_days", 5),
        (wanted(SMS, extra=True), [said(EMAIL, 5), said(EMAIL, 0)], "contacts_per_7_days", 2),
        (wanted(SMS, extra=True), [said(EMAIL, 0)], "", 0),
    ],
)
def test_what_the_limits_say(want: Contact, past: list[Contact], rule: str, days: float) -> None:
    room = slot(want, past, LIMITS)
    assert (room.rule, room.until) == (rule, DAY0 + timedelta(days=days))
    assert room.granted == (rule == "")


HOURS = st.integers(0, 40 * 24)
WANTED = st.lists(st.tuples(HOURS, st.sampled_from(Channel), st.booleans()), max_size=40)


@settings(max_examples=100, deadline=None)
@given(script=WANTED, caps=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5)))
def test_no_window_ever_holds_more_than_its_limit(
    script: list[tuple[int, Channel, bool]], caps: tuple[int, int, int]
) -> None:
    """In whatever order the cases ask: their clocks may differ."""
    limits = ContactLimits(sms_per_day=caps[0], sms_per_7_days=caps[1], contacts_per_7_days=caps[2])
    made: list[Contact] = []
    for hour, channel, extra in script:
        want = Contact(at=DAY0 + timedelta(hours=hour), channel=channel, extra=extra)
        room = slot(want, made, limits)
        if room.granted:
            made.append(want)
            continue
        assert room.until is not None
        assert slot(want.model_copy(update={"at": room.until}), made, limits).granted
        assert room.until > want.at
    texts = [contact for contact in made if contact.channel in TEXTS]
    for contacts, cap, window in ((texts, caps[0], DAY), (texts, caps[1], 7 * DAY), (made, caps[2], 7 * DAY)):
        for first in contacts:
            assert sum(first.at <= c.at < first.at + window for c in contacts) <= cap


class TestACase:
    def test_waits_for_room_and_says_until_when_and_why(self) -> None:
        run = Run(opened("expired_card"), contacts=[said(EMAIL, d) for d in (5, 3, 1)])
        step = answer(Question(state=run.state, policy=STANDARD, now=DAY0, seq=1))
        assert step.decision.action is not None
        run.run_to(DAY0)
        assert run.log == []

        told = answer(Question(state=run.state, policy=STANDARD, now=DAY0, seq=1)).decision
        assert told.until == DAY0 + timedelta(days=2)
        assert told.reason == "e-mail first notice (postponed: at most 3 contacts in 7 days)"
        assert run.until(3).log == [(2, "email payment_failed")]

    def test_timeline_tells_of_the_postponement(self) -> None:
        state = opened("expired_card")
        event = MessageSent(
            step="first_notice", channel=EMAIL, at=DAY0, fate="postponed",
            retry_at=DAY0 + DAY, detail="at most 3 contacts in 7 days",
        )  # fmt: skip
        (entry,) = answer(Question(state=state, inbox=(event,), policy=STANDARD, now=DAY0, seq=1)).entries
        assert entry.what == "message.postponed"
        assert (
            entry.text == "e-mail first notice: postponed to Tue 03 Mar 10:00: at most 3 contacts in 7 days"
        )

    def test_what_became_pointless_is_dropped_with_a_reason(self) -> None:
        """A customer who hears of other things: the first notice is overtaken by the reminder."""
        run = Run(opened("expired_card"), contacts=[said(EMAIL, d) for d in (0.3, 0.2, 0.1)])
        run.until(8)
        assert run.log == [(6, "email reminder"), (6, "sms reminder")]
        fates = {(s.step, s.channel): s.fate for s in run.state.sent}
        assert fates["first_notice", EMAIL] == "superseded"

    def test_who_paid_is_not_told_any_more_what_waited(self) -> None:
        run = Run(opened("expired_card"), contacts=[said(EMAIL, d) for d in (0.3, 0.2, 0.1)]).until(1)
        run.event(status="paid", amount_remaining=0).to_the_end()
        assert run.log == [(1, "email recovered")]
        assert [(s.step, s.fate) for s in run.state.sent] == [
            ("recovered", "accepted"),
            ("first_notice", "superseded"),
        ]

    def test_is_never_suspended_unheard_the_date_moves(self) -> None:
        """Another case takes every slot from day 5 to day 22."""
        run = Run(opened("expired_card"))
        run.until(4)
        run.contacts += [said(EMAIL, -d) for d in (5, 5, 5, 12, 12, 12, 19, 19, 19)]
        run.to_the_end()
        assert days(run, ["email payment_failed", "email impact"]) == [(0, "email payment_failed")]
        [(day, _)] = days(run, ["suspend"])
        assert day > 21
        notice = min(
            s.at for s in run.state.sent if s.named_day == run.state.plan.last_day and s.fate == "accepted"
        )
        assert run.state.suspended_at is not None
        assert run.state.suspended_at - notice >= 2 * DAY

    def test_answers_to_what_the_customer_did_find_room_always(self) -> None:
        run = Run(opened("expired_card")).until(15)
        run.contacts += [said(EMAIL, -15)] * 3
        run.lever("request_extension", {"days": 7, "reason": "x", "by": "customer"})
        run.until(15)
        assert (15, "email extension_granted") in run.log

    def test_an_sms_goes_out_where_the_email_did_not(self) -> None:
        """The last notice by SMS is no repetition for who cannot be reached by e-mail."""

        def bounced(action: Action, run: Run) -> Event | None:
            if action.kind == "send" and action.channel is EMAIL and run.now > DAY0 + timedelta(days=19):
                return MessageSent(step=action.step, channel=EMAIL, at=run.now, fate="failed")
            return None

        run = Run(opened("expired_card"), intercept=bounced).to_the_end()
        assert (20, "sms final_notice") in run.log

    def test_the_forecast_keeps_the_limits(self) -> None:
        state = opened("expired_card")
        coming = [step.what for step in forecast(state, STANDARD, DAY0) if step.what.startswith("send/")]
        run = Run(state).to_the_end()
        sent = [f"send/{s.step}/{s.channel}" for s in run.state.sent if s.fate == "accepted"]
        assert [w for w in sent if w in coming] == sent

    def test_a_policy_of_before_knows_no_limit(self) -> None:
        free = STANDARD.model_copy(update={"messages": STANDARD.messages.model_copy(update={"limits": None})})
        run = Run(opened("expired_card", policy=free), policy=free).to_the_end()
        assert (20, "sms final_notice") in run.log
        assert run.state.stage is Stage.CLOSED


class TestADeadChannel:
    def test_a_step_that_reached_nobody_is_said_on_another_channel_once(self) -> None:
        run = Run(opened("expired_card", channels=(SMS,))).until(6)
        assert run.log == [(0, "sms payment_failed"), (5, "sms reminder")]
        assert [(s.step, s.channel, s.fate) for s in run.state.sent][:2] == [
            ("first_notice", EMAIL, "unreachable"),
            ("first_notice", SMS, "accepted"),
        ]

    def test_a_bounce_that_is_told_later_makes_the_step_go_out_on_another_channel(self) -> None:
        run = Run(opened("expired_card")).until(0)
        run.inbox.append(
            BillingEvent(
                type="message.undelivered",
                id="dsp_1",
                at=run.now,
                step="first_notice",
                channel="email",
                why="bounced",
            )
        )
        run.until(1)
        assert run.log == [(0, "email payment_failed"), (0, "sms payment_failed")]

    def test_a_channel_that_reached_the_customer_is_enough(self) -> None:
        run = Run(opened("expired_card", channels=(EMAIL,))).until(6)
        assert run.log == [(0, "email payment_failed"), (5, "email reminder")]

    def test_who_unsubscribed_from_reminders_is_not_reminded_elsewhere(self) -> None:
        def unwanted(action: Action, run: Run) -> Event | None:
            if action.kind != "send" or action.channel is not EMAIL:
                return None
            return MessageSent(step=action.step, channel=EMAIL, at=run.now, fate="unreachable")

        run = Run(opened("expired_card"), intercept=unwanted).until(4)
        assert run.log == []

    def test_the_other_channel_is_tried_once(self) -> None:
        def dead(action: Action, run: Run) -> Event | None:
            if action.kind != "send":
                return None
            return MessageSent(step=action.step, channel=action.channel, at=run.now, fate="unreachable")

        run = Run(opened("expired_card", channels=(SMS,)), intercept=dead).until(4)
        assert [(s.step, s.channel) for s in run.state.sent] == [
            ("first_notice", EMAIL),
            ("first_notice", SMS),
        ]

    def test_a_text_that_was_held_up_into_the_night_waits_for_the_morning(self) -> None:
        run = Run(opened("expired_card", channels=(SMS,), zones=("Europe/Berlin",)))
        run.run_to(DAY0.replace(hour=2) + DAY)  # nothing could be sent until now
        texts = [at for at, action in run.actions if action.kind == "send"]
        assert all(8 <= at.hour < 19 for at in texts)


def test_whatsapp_without_an_approved_template_is_refused_by_the_check() -> None:
    messages = STANDARD.messages.model_dump(mode="json")
    messages["grace"][2]["channels"] = ["email", "whatsapp"]
    written = STANDARD.model_dump(mode="json") | {"messages": messages}
    with pytest.raises(PolicyError, match="final_notice goes out by WhatsApp, which takes approved"):
        parse_policy(yaml.safe_dump(written), "own.yaml")
    messages["whatsapp"] = {"final_notice": {"en": "HX" + "0" * 32}}
    policy = parse_policy(yaml.safe_dump(written), "own.yaml")
    run = Run(opened("expired_card", policy=policy, channels=(EMAIL, WHATSAPP)), policy=policy).to_the_end()
    assert [a.content for _, a in run.actions if a.kind == "send" and a.channel is WHATSAPP] == [
        {"en": "HX" + "0" * 32}
    ]
