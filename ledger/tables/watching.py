"""The tables of who watches: signals and risks of customers, reconciliations and their findings."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    Index,
)
from sqlmodel import Field

from dunning.reconciliation import Kind, Remedy
from ledger.tables.base import Row
from ledger.types import Json, Name, UtcDateTime, Words


class SignalRow(Row, table=True):
    """What was told of a customer and stands nowhere else: a pause, a downgrade, a flag of the backend's."""

    __tablename__ = "signals"

    account: str = Field(primary_key=True)
    customer: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)  # dunning.risk.SignalKind
    key: str = Field(primary_key=True)  # Stripe's event, or the backend's own name
    at: datetime = Field(sa_type=UtcDateTime)
    until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    by: str = Field(sa_type=Words)
    text: str = Field(default="", sa_type=Words)


class RiskRow(Row, table=True):
    """A customer's risk as last assessed."""

    __tablename__ = "risks"
    __table_args__ = (Index("ix_risks_level", "level", "score"),)

    account: str = Field(primary_key=True)
    customer: str = Field(primary_key=True)
    level: str  # dunning.risk.Level
    score: int
    flags: list[dict[str, Any]] = Field(sa_column=Column(Json, nullable=False))
    assessed_at: datetime = Field(sa_type=UtcDateTime)


class ReconciliationRow(Row, table=True):
    """A comparison of Stripe with the engine."""

    __tablename__ = "reconciliations"
    __table_args__ = (Index("ix_reconciliations_started_at", "started_at"),)

    run: str = Field(primary_key=True)
    started_at: datetime = Field(sa_type=UtcDateTime)
    dry_run: bool
    importing: bool
    counts: dict[str, Any] = Field(sa_column=Column(Json, nullable=False))
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class FindingRow(Row, table=True):
    """What a comparison found, and what was done about it."""

    __tablename__ = "findings"
    __table_args__ = (Index("ix_findings_subject", "kind", "subject"),)

    run: str = Field(primary_key=True, foreign_key="reconciliations.run")
    kind: Kind = Field(sa_column=Column(Name(Kind), primary_key=True))
    account: str = Field(primary_key=True)
    subject: str = Field(primary_key=True)
    invoice_id: str
    case_id: str
    workflow_id: str
    words: str = Field(sa_type=Words)
    remedy: Remedy = Field(sa_column=Column(Name(Remedy), nullable=False))
    found_at: datetime = Field(sa_type=UtcDateTime)
    fixed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
