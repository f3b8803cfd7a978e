"""What customers tell of themselves: whether they want to be written to, and what they write back.

A case hears that something was said, never the words: those stand in the ledger alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dunning.case import BillingEvent, CaseState, Entry

#: The hints of this kind to a case, and their lines.
HINTS: Mapping[str, str] = {
    "consent.revoked": "no more messages by {channel} are wanted",
    "consent.granted": "messages by {channel} are wanted",
    "reply.paid": "the customer writes that it is paid: the invoice is read again",
    "reply.waiting": "the customer wrote something that a person must read: `dunning show` has the words",
    "reply.answered": "somebody dealt with what the customer wrote",
}


def hint(kind: str, *, channel: str = "", why: str = "", id: str = "") -> dict[str, Any]:
    """The hint as a case is told it."""
    return {"type": kind, "channel": channel, "why": why, "id": id}


def take_in(state: CaseState, event: BillingEvent) -> CaseState:
    """Read the invoice again, for what may be said and where may have changed; note that a reply waits."""
    if event.type in ("reply.waiting", "reply.answered"):
        return state.model_copy(update={"reply_waits": event.type == "reply.waiting"})
    over = state.invoice.status in ("paid", "void", "gone")
    return state if over else state.model_copy(update={"stale": True})


def line(event: BillingEvent, channel: str) -> Entry:
    """The line of such a hint. `channel` is named in an operator's words."""
    text = HINTS[event.type].format(channel=channel or "any channel")
    text += f" ({event.why})" if event.why else ""
    return Entry(at=event.at, what=event.type, text=text, by="customer", data={"id": event.id})
