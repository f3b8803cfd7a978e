"""How cases and timelines look as JSON, in the HTTP API and on the command line alike."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from dunning.case import Entry
from dunning.deliveries import WORDS
from dunning.forecast import Difference, Expected
from dunning.timeline import named, spoken
from ledger import Ledger
from ledger.records import CaseRecord, ConsentRecord, DispatchRecord, EntryRecord, ReplyRecord

_CASE_FIELDS = (
    "access", "asks", "asks_whom", "asks_until",
    "invoice_id", "account", "episode", "workflow_id", "stage", "waiting_on", "outcome", "recovered_via",
    "customer", "subscription", "amount", "amount_remaining", "currency", "policy_name", "policy_version",
    "decline_code", "decline_class", "needs_human", "halted", "opened_at", "next_at", "next_what",
    "grace_starts_at", "last_day", "zone", "closed_at", "closed_reason",
)  # fmt: skip


def case_json(case: CaseRecord) -> dict[str, Any]:
    """A case as the ledger shows it. Amounts in minor units of `currency`, times in UTC."""
    return {name: plain(getattr(case, name)) for name in _CASE_FIELDS}


def entry_json(entry: Entry | EntryRecord) -> dict[str, Any]:
    """A line of the timeline."""
    return {
        "at": plain(entry.at),
        "what": entry.what,
        "text": entry.text,
        "by": entry.by,
        "data": entry.data,
    }


def message_json(message: DispatchRecord) -> dict[str, Any]:
    """A message with its fate: the furthest that the provider told, else what the sender recorded."""
    told = message.delivery not in (None, "taken")
    return {
        "step": message.step,
        "channel": str(message.channel),
        "at": plain(message.claimed_at),
        "fate": message.delivery if told else message.fate or "sending",
        "heard_at": plain(message.delivery_at),
        "detail": message.delivery_detail if told else message.detail,
    }


def with_deliveries(
    entries: Sequence[Entry | EntryRecord], messages: Sequence[DispatchRecord]
) -> list[dict[str, Any]]:
    """The timeline with what providers told of its messages, each after the last line that is not later.

    A case is told of little of it, so that it is not woken for nothing; the rest is known to the ledger.
    """
    lines: list[Entry | EntryRecord] = list(entries)
    known = {(line.what, line.data.get("id")) for line in lines}
    for told in filter(None, map(_delivery, messages)):
        if (told.what, told.data["id"]) not in known:
            lines.insert(max((i + 1 for i, line in enumerate(lines) if line.at <= told.at), default=0), told)
    return [entry_json(line) for line in lines]


def _delivery(message: DispatchRecord) -> Entry | None:
    if message.delivery is None or message.delivery == "taken" or message.delivery_at is None:
        return None
    text = f"{spoken(message.channel)} {named(message.step)}: {WORDS[message.delivery]}"
    why = f" ({message.delivery_detail})" if message.delivery_detail else ""
    return Entry(
        at=message.delivery_at,
        what=f"message.{message.delivery}",
        text=text + why,
        by="provider",
        data={"id": message.id},
    )


def statement_json(said: ConsentRecord) -> dict[str, Any]:
    """A statement about a channel."""
    names = ("channel", "group", "state", "source", "at", "by", "text")
    return {name: plain(getattr(said, name)) for name in names}


def reply_json(reply: ReplyRecord) -> dict[str, Any]:
    """What a customer wrote back."""
    names = ("id", "at", "channel", "customer", "case_id", "kind", "text", "state", "by")
    return {name: plain(getattr(reply, name)) for name in names}


def expected_json(step: Expected) -> dict[str, Any]:
    """A step to come."""
    return {"at": plain(step.at), "what": step.what, "reason": step.reason}


def difference_json(found: Difference) -> dict[str, Any]:
    """What another policy would change."""
    return {
        "policy": found.policy,
        "gone": [expected_json(step) for step in found.gone],
        "new": [expected_json(step) for step in found.new],
    }


def plain(value: Any) -> Any:
    """Dates as ISO 8601, names as text, everything else as it is."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value) if isinstance(value, str) else value


async def consents_json(ledger: Ledger, account: str, customer: str) -> dict[str, Any]:
    """What counts, and what was said."""
    history = await ledger.consents.history(account, customer)
    dead = await ledger.addresses.dead_of(account, customer)
    return {
        "customer": customer,
        "account": account,
        "channels": {said.channel.value: said.state for said in history if not said.group},
        "reminders": await ledger.consents.wants_reminders(account, customer),
        "dead": {channel.value: why for channel, why in dead.items()},
        "history": [statement_json(said) for said in history],
    }
