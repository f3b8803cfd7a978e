"""The tables of money: attempts, the charges that Stripe made of them, and what was taken back."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
)
from sqlmodel import Field

from ledger.tables.base import Row, where
from ledger.types import Json, UtcDateTime


class AttemptRow(Row, table=True):
    """A charge that the engine asked for: reserved before the provider is called, completed after."""

    __tablename__ = "attempts"
    __table_args__ = (
        Index("ix_attempts_fingerprint", "account", "fingerprint", "reserved_at"),
        Index("ix_attempts_case_id", "case_id"),
        Index("ix_attempts_charge_id", "account", "charge_id"),
        Index("ix_attempts_pending", "account", "customer", **where("completed_at IS NULL")),
    )

    account: str = Field(primary_key=True)
    invoice_id: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    case_id: str = Field(foreign_key="cases.id")
    customer: str | None = None
    params: dict[str, Any] = Field(sa_column=Column(Json, nullable=False))
    amount: int = Field(sa_type=BigInteger)
    currency: str
    scheme: str | None = None  # Stripe's type of the payment method
    fingerprint: str | None = None
    expiry: str | None = None  # "2029-04"
    brand: str | None = None
    funding: str | None = None
    country: str | None = None
    customer_present: bool | None = None
    reserved_at: datetime = Field(sa_type=UtcDateTime)
    result: dict[str, Any] | None = Field(default=None, sa_column=Column(Json))
    outcome: str | None = None
    decline_class: str | None = None
    charge_id: str | None = None
    charged_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # by Stripe's clock
    reached_network: bool | None = None  # None: not known yet, counts as reached
    lock: str | None = None  # dunning.budget.Lock
    completed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class ChargeRow(Row, table=True):
    """A charge that somebody else asked for: Stripe itself, or the customer on the hosted invoice page."""

    __tablename__ = "charges"
    __table_args__ = (
        Index("ix_charges_fingerprint", "account", "fingerprint", "at"),
        Index("ix_charges_invoice", "account", "invoice_id"),
    )

    account: str = Field(primary_key=True)
    charge_id: str = Field(primary_key=True)
    invoice_id: str
    at: datetime = Field(sa_type=UtcDateTime)
    status: str  # Stripe's: succeeded, pending, failed
    amount: int = Field(sa_type=BigInteger)
    currency: str
    scheme: str
    fingerprint: str | None = None
    expiry: str | None = None
    brand: str | None = None
    funding: str | None = None
    country: str | None = None
    decline_class: str | None = None
    reached_network: bool
    lock: str | None = None


class ReversalRow(Row, table=True):
    """A refund or a dispute of a payment of an invoice that has a case, as Stripe last told of it."""

    __tablename__ = "reversals"
    __table_args__ = (Index("ix_reversals_invoice", "account", "invoice_id"),)

    account: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    kind: str  # refund, dispute
    invoice_id: str
    charge: str
    amount: int = Field(sa_type=BigInteger)
    currency: str
    status: str  # Stripe's
    told_at: datetime = Field(sa_type=UtcDateTime)
