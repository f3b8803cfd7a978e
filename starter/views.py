"""How cases and timelines look as JSON, in the HTTP API and on the command line alike."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from dunning.case import Entry
from dunning.forecast import Expected
from ledger.records import CaseRecord, EntryRecord

_CASE_FIELDS = (
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


def expected_json(step: Expected) -> dict[str, Any]:
    """A step to come."""
    return {"at": plain(step.at), "what": step.what, "reason": step.reason}


def plain(value: Any) -> Any:
    """Dates as ISO 8601, names as text, everything else as it is."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value) if isinstance(value, str) else value
