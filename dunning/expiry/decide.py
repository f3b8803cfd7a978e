"""`decide` for a card: nothing while the networks' updater may help, then few words, then the end. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from dunning.calendar import Where, closing, decent, local_date
from dunning.decision import NextCharge, Send
from dunning.expiry.card import (
    CardDecision,
    CardFacts,
    CardOutcome,
    CardRef,
    CardState,
    CardTurn,
    ReadCard,
)
from dunning.expiry.timing import endangered, rescued
from dunning.policy import ExpiryMessage, Policy
from dunning.timeline import named, spoken
from dunning.values import Channel

_STRIPE_CHARGES_WITHIN = timedelta(hours=2)  # so long after its moment a renewal is surely made
_LOOK_AGAIN = timedelta(days=1)
_SEND_WITHIN = timedelta(hours=6)

Word = tuple[datetime, int, ExpiryMessage, Channel]


def open_card(ref: CardRef, card: CardFacts, policy: Policy, now: datetime) -> CardState | str:
    """The state of a new case, or one sentence that says why this card needs none now."""
    if policy.card_expiry is None:
        return f"the policy {policy.name} has no section card_expiry: nobody is reminded"
    if card.expiry is None:
        return f"{card.method} is no card that expires: there is nothing to say"
    if card.expiry != ref.expiry:
        return f"{card.method} expires in {card.expiry} now"
    dangers = endangered(card, ref.expiry, policy.timezone)
    if not dangers:
        return f"no charge falls after the last day of {card.method} ({card.expiry})"
    first = dangers[0]
    if rescued(first, policy.timezone):
        return f"the customer has another payment method ({first.backup}) that works on the day"
    if now < first.at - policy.card_expiry.watch:
        return f"the charge on {first.at:%d %b %Y} is too far away: a later scan opens the case"
    return CardState(ref=ref, card=card, opened_at=now, charge_at=first.at)


def decide(state: CardState, policy: Policy, now: datetime) -> CardDecision:
    """The next step of a card's case at `now`. Never names a message before its time, and none twice."""
    if state.outcome is not None:
        return CardDecision(reason=state.closed_reason)
    if state.stale:
        return _read(state, now, "reading the card again: Stripe reported a change", now)
    end = over(state, policy)
    if end is not None:
        outcome, reason = end
        turn = CardTurn(to="closed", at=now, outcome=outcome, reason=reason)
        return CardDecision(turn=turn, reason=reason)
    charged = state.charge_at + _STRIPE_CHARGES_WITHIN
    if now >= charged:
        return _read(state, now, "the charge was due: looking how it stands", charged)
    if state.card.dunned:
        look = min(max(state.card.read_at + _LOOK_AGAIN, state.opened_at), charged)
        return _read(state, now, "silent: the customer hears of a failed invoice at present", look)
    return _speak(state, policy, now, charged)


def over(state: CardState, policy: Policy) -> tuple[CardOutcome, str] | None:
    """Why the case ends, if it does, by what was last read."""
    card, expiry = state.card, state.ref.expiry
    running = [r for r in card.renewals if r.charges]
    if card.expiry is not None and card.expiry > expiry:
        return CardOutcome.UPDATED, f"the card was renewed: it expires in {card.expiry} now"
    others = sorted({r.method for r in running if r.method not in (None, card.method)})
    if card.expiry is None and others:
        return CardOutcome.REPLACED, f"the card is gone, {others[0]} is charged instead"
    if card.expiry is None:
        return CardOutcome.ENDED, "the card is gone"
    if not running:
        return CardOutcome.ENDED, "nothing is charged any more: canceled, ending or paused"
    dangers = endangered(card, expiry, policy.timezone)
    if not dangers and others:
        return CardOutcome.REPLACED, f"{others[0]} is charged instead"
    if dangers and all(rescued(r, policy.timezone) for r in dangers):
        return CardOutcome.REPLACED, f"the customer has another method ({dangers[0].backup}) that works"
    if card.read_at >= state.charge_at:
        return CardOutcome.EXPIRED, "the charge came before the card was renewed"
    if not dangers:
        return CardOutcome.ENDED, "no charge falls after the card's last day any more"
    return None


def planned(state: CardState, policy: Policy) -> list[Word]:
    """The messages that have not gone out, in the order of their moments."""
    found = [w for w in _sequence(state, policy) if not state.was_sent(w[2].step, w[3])]
    return sorted(found, key=lambda w: (w[0], w[1], w[3]))


def _sequence(state: CardState, policy: Policy) -> Iterator[Word]:
    assert policy.card_expiry is not None
    where, hours = where_of(state, policy), policy.messages.quiet_hours
    for order, message in enumerate(policy.card_expiry.messages):
        at = max(state.charge_at - message.before_charge, state.opened_at)
        for channel in message.channels:
            waits = (w.until for w in state.waiting if (w.step, w.channel) == (message.step, channel))
            free = max([at, *waits])
            yield (decent(free, where, hours) if channel in hours.channels else free), order, message, channel


def where_of(state: CardState, policy: Policy) -> Where:
    """Where the customer may be: what quiet hours and holidays go by."""
    return Where(state.card.zones or (zone_of(state, policy),), state.card.place)


def zone_of(state: CardState, policy: Policy) -> str:
    """The customer's time zone, or the policy's."""
    return state.card.zone or policy.timezone


def _speak(state: CardState, policy: Policy, now: datetime, charged: datetime) -> CardDecision:
    words = planned(state, policy)
    due = [word for word in words if word[0] <= now]
    newest = max((order for _, order, _, _ in due), default=0)
    old = tuple((m.step, c) for _, order, m, c in due if order < newest)
    if old:
        turn = CardTurn(to="superseded", at=now, steps=old, reason="a later message is due")
        return CardDecision(turn=turn, reason="a later message is due: earlier ones are dropped")
    late = tuple((m.step, c) for at, _, m, c in words if at >= state.charge_at)
    if late:
        why = "no room within contact limits and quiet hours before the charge"
        return CardDecision(turn=CardTurn(to="superseded", at=now, steps=late, reason=why), reason=why)
    lost = tuple((m.step, c) for _, _, m, c in due if c not in state.card.channels)
    if lost:
        turn = CardTurn(to="unreachable", at=now, steps=lost, reason="no address or no consent")
        return CardDecision(turn=turn, reason="no address or no consent")
    if not words:
        return _read(state, now, "everything was said: looking once more after the charge", charged)
    at, _, message, channel = words[0]
    reason = f"{spoken(channel)} {named(message.step)}: charged on {state.charge_at:%a %d %b}"
    at, reason = _patient(state, at, reason, acts=True)
    if at > now:
        return CardDecision(until=at, reason=reason)
    return CardDecision(
        action=_send(state, policy, message, channel),
        not_after=_latest(state, policy, channel, now),
        reason=reason,
    )


def _send(state: CardState, policy: Policy, message: ExpiryMessage, channel: Channel) -> Send:
    charge = NextCharge(
        at=state.charge_at,
        on=local_date(state.charge_at, zone_of(state, policy)),
        method=state.ref.method,
        expiry=state.ref.expiry,
        zone=policy.timezone,
    )
    return Send(
        step=message.step,
        template=message.template,
        channel=channel,
        limits=policy.messages.limits,
        charge=charge,
    )


def _latest(state: CardState, policy: Policy, channel: Channel, now: datetime) -> datetime:
    hours = policy.messages.quiet_hours
    limit = min(now + _SEND_WITHIN, state.charge_at)
    quiet = channel in hours.channels
    return min(limit, closing(now, where_of(state, policy), hours)) if quiet else limit


def _read(state: CardState, now: datetime, reason: str, at: datetime) -> CardDecision:
    at, reason = _patient(state, at, reason, acts=False)
    if at > now:
        return CardDecision(until=at, reason=reason)
    return CardDecision(action=ReadCard(), reason=reason)


def _patient(state: CardState, at: datetime, reason: str, *, acts: bool) -> tuple[datetime, str]:
    """What a halt or a provider that does not answer makes of a moment."""
    if acts and state.halted_until is not None and state.halted_until > at:
        at, reason = state.halted_until, "the engine is halted"
    fault = state.fault
    if fault is not None and fault.what == ("send" if acts else "read_card") and fault.retry_at > at:
        at, reason = fault.retry_at, f"{fault.what} fails since {fault.since:%d %b %H:%M}: {fault.error}"
    return at, reason
