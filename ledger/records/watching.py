"""What is watched: risks, reconciliations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dunning.reconciliation import Kind, Remedy
from dunning.risk import Flag, Level


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciliationRecord:
    """A comparison of Stripe with the engine; `counts` as `dunning.reconciliation.Counts`."""

    run: str
    started_at: datetime
    dry_run: bool
    importing: bool
    counts: dict[str, int]
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingRecord:
    """What a comparison found. `fixed_at`: when its remedy was carried out."""

    run: str
    kind: Kind
    account: str
    subject: str
    invoice_id: str
    case_id: str
    workflow_id: str
    words: str
    remedy: Remedy
    found_at: datetime
    fixed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskRecord:
    """A customer's risk as last assessed."""

    account: str
    customer: str
    level: Level
    score: int
    flags: tuple[Flag, ...]
    assessed_at: datetime
