"""`evolve` for a card: what an event does to the state. Pure; it decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from dunning.case import BillingEvent, EffectFailed, Fault, Lever, MessageSent, Sent, Waiting
from dunning.evolve import CLOCK_SKEW, LOOK_AGAIN_AFTER_HALT
from dunning.expiry.card import CardEvent, CardOutcome, CardRead, CardStart, CardState, CardTurn
from dunning.expiry.timing import endangered
from dunning.lever_payloads import Line, Payload
from dunning.policy import Policy
from dunning.start import parse_input
from dunning.words import LIFE_OF_A_MESSAGE

_FIRST_PAUSE = timedelta(minutes=15)
_LONGEST_PAUSE = timedelta(hours=6)
#: Cards of before payment methods have ids of their own; Stripe reads them as payment methods, too.
_CARDS = ("pm_", "card_", "src_")


class StopCard(Payload):
    """End the case by a person's decision."""

    reason: Line


@dataclass(frozen=True)
class Stopped:
    """What became of a lever."""

    accepted: bool
    text: str
    by: str = "somebody"


def evolve(state: CardState, event: CardEvent, policy: Policy) -> CardState:
    """The state after the event; a closed case stays as it is."""
    if state.outcome is not None:
        return state
    match event:
        case CardRead():
            return _read(state, event, policy)
        case MessageSent():
            return _message(state, event)
        case EffectFailed():
            return _failed(state, event)
        case BillingEvent():
            if event.type == "halt_lifted":
                return _with(state, halted_until=None)
            known = event.created is not None and event.created + CLOCK_SKEW < state.card.read_at
            return state if known else _with(state, stale=True)
        case Lever():
            stop = read_stop(state, event)
            if not stop.accepted:
                return state
            return _closed(state, CardOutcome.ENDED, stop.text, event.at, stopped=True)
        case CardTurn():
            return _turned(state, event)


def read_stop(state: CardState, lever: Lever) -> Stopped:
    """Check a lever. `stop` is the only one: everything else about a card is the customer's to do."""
    if lever.name != "stop":
        return Stopped(False, f"there is no lever {lever.name!r} for a card: the lever is stop")
    if state.outcome is not None:
        return Stopped(False, f"the case is closed ({state.outcome})")
    given = lever.args[0] if len(lever.args) == 1 else None
    if not isinstance(given, dict):
        return Stopped(False, 'stop: give one JSON object such as {"reason": "…", "by": "you"}')
    try:
        payload = StopCard.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        return Stopped(False, f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
    return Stopped(True, f"stopped: {payload.reason}", payload.by)


def parse_start(args: Sequence[Any]) -> CardStart:
    """The input of `CardExpiry`. Raises ValueError with one sentence that says what to change."""
    given = parse_input(args, "payment_method_id", "a card at Stripe", _CARDS)
    return CardStart(
        payment_method_id=given["payment_method_id"],
        policy=given.get("policy"),
        account=given.get("account") or "",
    )


def _with(state: CardState, **changes: Any) -> CardState:
    return state.model_copy(update=changes)


def _read(state: CardState, event: CardRead, policy: Policy) -> CardState:
    """Take over what was read. The date moves with the subscription until the charge has come."""
    card = event.card
    if card.read_at < state.card.read_at:
        return state
    dangers = endangered(card, state.ref.expiry, policy.timezone)
    came = card.read_at >= state.charge_at
    moved = state.charge_at if came or not dangers else dangers[0].at
    return _with(state, card=card, stale=False, charge_at=moved, fault=_healed(state, "read_card"))


def _message(state: CardState, event: MessageSent) -> CardState:
    if event.fate == "held":
        return _with(state, halted_until=event.at + LOOK_AGAIN_AFTER_HALT)
    state = _with(state, fault=_healed(state, "send"), halted_until=None)
    message = (event.step, event.channel)
    left = tuple(w for w in state.waiting if (w.step, w.channel) != message)
    if event.fate == "postponed":
        until = event.retry_at or event.at + LOOK_AGAIN_AFTER_HALT
        waits = Waiting(step=event.step, channel=event.channel, until=until, why=event.detail)
        return _with(state, waiting=(*left, waits))
    if event.fate == "not_needed":
        return _with(state, stale=True)  # the sender saw what the case does not know yet
    if event.fate == "too_late" or state.was_sent(event.step, event.channel):
        return state
    sent = Sent(step=event.step, channel=event.channel, at=event.at, fate=event.fate)
    return _with(state, sent=(*state.sent, sent), waiting=left)


def _failed(state: CardState, event: EffectFailed) -> CardState:
    what = event.effect.split("/")[0]
    known = state.fault if state.fault is not None and state.fault.what == what else None
    since, count = (known.since, known.count + 1) if known else (event.at, 1)
    if what == "send" and event.at - since >= LIFE_OF_A_MESSAGE:
        _, step, channel = event.effect.split("/")
        gone = Sent.model_validate({"step": step, "channel": channel, "at": event.at, "fate": "failed"})
        return _with(state, sent=(*state.sent, gone), fault=None)
    pause = min(_FIRST_PAUSE * 2 ** min(count - 1, 8), _LONGEST_PAUSE)
    fault = Fault(what=what, error=event.error, since=since, count=count, retry_at=event.at + pause)
    return _with(state, fault=fault)


def _healed(state: CardState, what: str) -> Fault | None:
    return None if state.fault is not None and state.fault.what == what else state.fault


def _turned(state: CardState, turn: CardTurn) -> CardState:
    if turn.to == "closed":
        assert turn.outcome is not None
        return _closed(state, turn.outcome, turn.reason, turn.at)
    gone = [Sent(step=step, channel=channel, at=turn.at, fate=turn.to) for step, channel in turn.steps]
    return _with(state, sent=(*state.sent, *gone))


def _closed(
    state: CardState, outcome: CardOutcome, reason: str, at: datetime, *, stopped: bool = False
) -> CardState:
    return _with(state, outcome=outcome, closed_reason=reason, closed_at=at, stopped=stopped)
