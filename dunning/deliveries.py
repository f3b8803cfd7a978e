"""What providers tell about a message after they took it, and what a case makes of it.

Such news come twice, late and out of order. Most of it only stands in the ledger. A case hears of two things:
that a message of unknown outcome did go out, and that one did not arrive. Whose invoice was only listed in a
message of another case that did not arrive was told nothing, and is told anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from dunning.case import BillingEvent, CaseState, Entry, Sent
from dunning.consents import Effect
from dunning.values import Channel, Value

Delivery = Literal["taken", "deferred", "sent", "delivered", "read", "undelivered"]
Matter = Literal["accepted", "undelivered"]
_Message = tuple[str, Channel]  # the step, and how it was sent

#: A word of a higher rank replaces one of a lower rank, never the other way round.
_RANKS: Mapping[Delivery, int] = {
    "taken": 0,
    "deferred": 1,
    "sent": 2,
    "delivered": 3,
    "read": 4,
    "undelivered": 5,
}
_ARRIVED = frozenset({"delivered", "read"})
_MAY_CHANGE = frozenset({"accepted", "unknown"})
_SAID = _MAY_CHANGE | {"merged", "shadow"}
_REMEMBERED = 20
#: Where a case keeps what was told of messages.
KNOWN = ("sent", "undelivered", "taken", "unsaid")
#: The hints of this kind to a case, and what they say.
HINTS: Mapping[str, str] = {
    "message.accepted": "the provider took it after all",
    "message.undelivered": "not delivered",
}
WORDS: Mapping[Delivery, str] = {
    "taken": "on its way",
    "deferred": "the receiving server asks to wait",
    "sent": "handed to the carrier",
    "delivered": "delivered",
    "read": "read",
    "undelivered": "not delivered",
}


class Heard(Value):
    """What a provider told about one message. `detail` holds nothing personal."""

    provider: Literal["sendgrid", "twilio"]
    event: str  # the provider's own word
    key: str  # the same for the same news, however often and under whatever id it is delivered
    at: datetime
    delivery: Delivery
    provider_id: str | None = None  # of the message, where it is told
    detail: str = ""
    effect: Effect | None = None  # on the customer's consent, or on the address


def replaces(channel: Channel, known: Delivery | None, told: Delivery) -> bool:
    """Whether what is told goes beyond what is known.

    A mail that was delivered may still bounce (SendGrid, "Asynchronous bounce"); a text that arrived does not
    become undelivered (Twilio, "Outbound message status": both are final).
    """
    if known is None:
        return True
    if told == "undelivered" and known in _ARRIVED and channel is not Channel.EMAIL:
        return False
    return _RANKS[told] > _RANKS[known]


def matters(fate: str | None, channel: Channel, known: Delivery | None, told: Delivery) -> Matter | None:
    """What the case must hear of. `fate` is what the sender recorded; None: it will tell the case itself."""
    if told == "undelivered" and replaces(channel, known, told):
        return "undelivered"
    return "accepted" if fate == "unknown" else None


def hint(
    matter: Matter, *, dispatch_id: str, step: str, channel: Channel, at: datetime, why: str
) -> dict[str, Any]:
    """The hint as a case is told it: small, and without anything personal.

    Without a `step` it is about a message of another case that spoke of this one.
    """
    told = {"type": f"message.{matter}", "id": dispatch_id, "created": at.isoformat(), "step": step}
    return told | {"channel": channel.value, "why": why}


def take_in(state: CaseState, event: BillingEvent) -> CaseState:
    """A message went out after all, or did not arrive: then it was no notice, and the channel may be dead.

    The news may be faster than the sender's own answer; then it waits for that (`retold`).
    """
    if event.channel not in tuple(Channel):
        return state
    if not event.step:
        return _unsaid(state, event)
    about = (event.step, Channel(event.channel))
    sent = tuple(_retold(one, event) if (one.step, one.channel) == about else one for one in state.sent)
    changes: dict[str, Any] = {"sent": sent}
    if not state.was_sent(*about):
        early = "undelivered" if event.type == "message.undelivered" else "taken"
        changes[early] = (*_without(about, getattr(state, early)), about)[-_REMEMBERED:]
    elif sent == state.sent:
        return state
    if event.type == "message.undelivered" and state.invoice.status not in ("paid", "void", "gone"):
        changes["stale"] = True
    return state.model_copy(update=changes)


def remembered(state: CaseState, sent: Sent) -> CaseState:
    """The case with a message that was just handed over, of which more may be known already."""
    if sent.said_by in state.unsaid:
        return state
    about = (sent.step, sent.channel)
    if about in state.undelivered and sent.fate in _MAY_CHANGE:
        sent = sent.model_copy(update={"fate": "undelivered"})
    elif about in state.taken and sent.fate == "unknown":
        sent = sent.model_copy(update={"fate": "accepted"})
    rest = {early: _without(about, getattr(state, early)) for early in ("undelivered", "taken")}
    return state.model_copy(update={"sent": (*state.sent, sent), **rest})


def _without(about: _Message, messages: Sequence[_Message]) -> tuple[_Message, ...]:
    return tuple(known for known in messages if known != about)


def _unsaid(state: CaseState, event: BillingEvent) -> CaseState:
    """A message of another case did not arrive: what it said of this one was not said, and is due as before.

    Unless more was said since: after a firmer word nobody begins anew.
    """
    if event.type != "message.undelivered" or not event.id or event.id in state.unsaid:
        return state
    unsaid = [sent for sent in state.sent if sent.said_by == event.id]
    said = [sent.at for sent in state.sent if sent.fate in _SAID and sent not in unsaid]
    left = [sent for sent in state.sent if sent not in unsaid]
    left += [
        one.model_copy(update={"fate": "superseded"}) for one in unsaid if max(said, default=one.at) > one.at
    ]
    changes: dict[str, Any] = {"sent": tuple(left), "unsaid": (*state.unsaid, event.id)[-_REMEMBERED:]}
    if unsaid and state.invoice.status not in ("paid", "void", "gone"):
        changes["stale"] = True
    return state.model_copy(update=changes)


def _retold(sent: Sent, event: BillingEvent) -> Sent:
    if event.type == "message.undelivered" and sent.fate in _MAY_CHANGE:
        return sent.model_copy(update={"fate": "undelivered"})
    if event.type == "message.accepted" and sent.fate == "unknown":
        # Known to be taken since then, and no earlier: a notice must have been accepted long enough ago.
        return sent.model_copy(update={"fate": "accepted", "at": max(sent.at, event.created or event.at)})
    return sent


def line(event: BillingEvent, message: str) -> Entry:
    """The line of such a hint. `message` names channel and step in an operator's words."""
    text = f"{message}: {HINTS[event.type]}" + (f" ({event.why})" if event.why else "")
    return Entry(at=event.at, what=event.type, text=text, by="provider", data={"id": event.id})
