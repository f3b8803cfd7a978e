"""What providers tell about a message later: in any order, twice, maybe before the sender's answer."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import get_args

import pytest

from dunning.case import BillingEvent, MessageSent
from dunning.decision import Action, Send
from dunning.deliveries import HINTS, WORDS, Delivery, hint, matters, replaces
from dunning.evolve import evolve
from dunning.start import parse_hint
from dunning.values import Channel
from tests.dunning.cases import DAY0, STANDARD, Run, opened

STEP, EMAIL = "first_notice", Channel.EMAIL
SOON = DAY0 + timedelta(minutes=20)


def told(matter: str, *, step: str = STEP, channel: str = "email") -> BillingEvent:
    what = hint(matter, dispatch_id="dsp_1", step=step, channel=EMAIL, at=SOON, why="")  # type: ignore[arg-type]
    return parse_hint([what | {"channel": channel}], SOON)


def sent(fate: str, step: str = STEP) -> MessageSent:
    return MessageSent(step=step, channel=EMAIL, at=DAY0, fate=fate)  # type: ignore[arg-type]


def merged(by: str = "dsp_1") -> MessageSent:
    return sent("merged").model_copy(update={"said_by": by, "said_at": DAY0 - timedelta(minutes=5)})


def told_elsewhere(action: Action, run: Run, by: str = "dsp_1") -> MessageSent | None:
    """The messages of another case say it all."""
    if not isinstance(action, Send):
        return None
    return MessageSent(
        step=action.step,
        channel=action.channel,
        at=run.now,
        fate="merged",
        said_at=run.now,
        said_by=by,
        named_day=action.last_day if action.names_last_day else None,
    )


class TestOrder:
    @pytest.mark.parametrize("channel", list(Channel))
    def test_every_order_of_a_delivery_ends_at_delivered(self, channel: Channel) -> None:
        words: tuple[Delivery, ...] = ("taken", "deferred", "sent", "delivered")
        for order in itertools.permutations(words):
            known: Delivery | None = None
            for word in order:
                known = word if replaces(channel, known, word) else known
            assert known == "delivered"

    def test_a_delivered_mail_may_bounce_and_a_text_may_not(self) -> None:
        assert replaces(Channel.EMAIL, "delivered", "undelivered")
        assert not replaces(Channel.SMS, "delivered", "undelivered")
        assert not replaces(Channel.WHATSAPP, "read", "undelivered")

    def test_what_did_not_arrive_stays_so(self) -> None:
        words: tuple[Delivery, ...] = get_args(Delivery)
        assert not any(replaces(channel, "undelivered", word) for channel in Channel for word in words)

    def test_every_word_can_be_shown(self) -> None:
        assert set(WORDS) == set(get_args(Delivery))


class TestWhatMatters:
    def test_a_delivery_that_was_expected_wakes_nobody(self) -> None:
        assert matters("accepted", EMAIL, "taken", "delivered") is None

    def test_any_word_of_a_message_of_unknown_outcome(self) -> None:
        assert matters("unknown", EMAIL, None, "taken") == "accepted"
        assert matters(None, EMAIL, None, "taken") is None  # who sends it finds this in the ledger

    def test_a_bounce_once(self) -> None:
        assert matters("accepted", EMAIL, "delivered", "undelivered") == "undelivered"
        assert matters("accepted", EMAIL, "undelivered", "undelivered") is None


class TestCase:
    def test_an_unknown_message_that_was_taken_is_a_notice_from_then_on(self) -> None:
        state = evolve(opened(), sent("unknown"), STANDARD)

        after = evolve(state, told("accepted"), STANDARD)

        assert [(s.fate, s.at) for s in after.sent] == [("accepted", SOON)]
        assert evolve(after, told("accepted"), STANDARD) == after

    def test_what_bounced_was_no_notice_and_the_invoice_is_read_again(self) -> None:
        state = evolve(opened(), sent("accepted"), STANDARD)

        after = evolve(state, told("undelivered"), STANDARD)

        assert (after.sent[0].fate, after.stale) == ("undelivered", True)

    def test_a_bounce_that_is_faster_than_the_sender_is_remembered(self) -> None:
        early = evolve(opened(), told("undelivered"), STANDARD)

        after = evolve(early, sent("accepted"), STANDARD)

        assert (after.sent[0].fate, after.undelivered) == ("undelivered", ())

    def test_a_word_that_it_was_taken_may_be_faster_than_the_sender_who_does_not_know(self) -> None:
        early = evolve(opened(), told("accepted"), STANDARD)
        assert evolve(early, told("accepted"), STANDARD) == early

        after = evolve(early, sent("unknown"), STANDARD)

        assert [(s.fate, s.at) for s in after.sent] == [("accepted", DAY0)]
        assert after.taken == ()
        assert evolve(early, sent("failed"), STANDARD).sent[0].fate == "failed"
        bounced = evolve(early, told("undelivered"), STANDARD)
        assert evolve(bounced, sent("unknown"), STANDARD).sent[0].fate == "undelivered"

    def test_what_only_another_message_said_that_bounced_is_due_again(self) -> None:
        run = Run(opened("stolen_card"), intercept=told_elsewhere)
        run.until(1)
        assert [(s.step, s.fate) for s in run.state.sent] == [(STEP, "merged")]
        run.intercept = None
        run.inbox.append(told("undelivered", step=""))

        run.run_to(run.now)

        assert [(s.step, s.fate) for s in run.state.sent] == [(STEP, "accepted")]
        (_, first), (_, read), (_, second) = run.actions
        assert isinstance(first, Send)
        assert isinstance(second, Send)
        assert (read.kind, first.unsaid, second.unsaid) == ("read_invoice", (), ("dsp_1",))
        assert run.until(4).state.sent[1:] == ()

    def test_a_bounce_that_is_faster_than_the_merging_is_remembered(self) -> None:
        early = evolve(opened(), told("undelivered", step=""), STANDARD)
        assert not early.stale
        assert evolve(early, merged(), STANDARD).sent == ()
        assert evolve(early, merged("dsp_2"), STANDARD).sent != ()

    def test_a_notice_of_the_last_day_that_bounced_was_no_notice_for_anybody(self) -> None:
        run = Run(opened("stolen_card"), intercept=told_elsewhere)
        run.until(20.5)
        day = run.state.plan.last_day
        assert any(s.named_day == day for s in run.state.sent)
        run.intercept = lambda action, run: told_elsewhere(action, run, "dsp_2")
        run.inbox.append(told("undelivered", step=""))

        assert run.until(21.9).state.suspended_at is None
        assert run.state.plan.last_day > day

    def test_after_a_firmer_word_nobody_begins_anew(self) -> None:
        state = evolve(evolve(opened(), merged(), STANDARD), sent("accepted", "second_notice"), STANDARD)

        after = evolve(state, told("undelivered", step=""), STANDARD)

        assert {s.step: s.fate for s in after.sent} == {
            "first_notice": "superseded",
            "second_notice": "accepted",
        }

    @pytest.mark.parametrize(("matter", "id"), [("accepted", "dsp_1"), ("undelivered", "dsp_2")])
    def test_news_of_another_message_change_nothing_that_was_said(self, matter: str, id: str) -> None:
        state = evolve(opened(), merged(), STANDARD)
        news = told(matter, step="").model_copy(update={"id": id})
        assert evolve(state, news, STANDARD).sent == state.sent

    def test_a_refused_message_is_not_made_one_that_was_taken(self) -> None:
        state = evolve(opened(), sent("failed"), STANDARD)

        assert evolve(state, told("accepted"), STANDARD).sent == state.sent

    @pytest.mark.parametrize("kind", list(HINTS))
    @pytest.mark.parametrize("channel", ["", "pigeon", "email"])
    def test_a_hint_made_by_hand_harms_nothing(self, kind: str, channel: str) -> None:
        run = Run(opened()).until(4)
        run.inbox.append(parse_hint([{"type": kind, "channel": channel, "step": "nonsense"}], run.now))

        run.until(5)

        assert [s.fate for s in run.state.sent] == ["accepted"]

    def test_nobody_is_suspended_on_notices_that_bounced(self) -> None:
        run = Run(opened("stolen_card"))
        for day in range(30):
            run.until(day)
            for one in run.state.sent:
                run.inbox.append(told("undelivered", step=one.step, channel=one.channel.value))
            run.run_to(run.now)

        assert run.until(60).state.suspended_at is None
        assert run.state.human or run.state.outcome == "stopped"
