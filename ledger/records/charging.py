"""Attempts to charge, charges, reversals."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from dunning.budget import Lock, Slot

AttemptState = Literal["new", "reserved", "done", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptClaim:
    """The answer to a reservation. `params` are those stored first: a repeat sends exactly them.

    `refused`: nothing was reserved; `refusal` says by which rule and until when.
    """

    state: AttemptState
    params: dict[str, Any]
    reserved_at: datetime
    result: dict[str, Any] | None = None
    refusal: Slot | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """A charge attempt."""

    account: str
    invoice_id: str
    number: int
    case_id: str
    customer: str | None
    params: dict[str, Any]
    amount: int
    currency: str
    scheme: str | None
    fingerprint: str | None
    expiry: str | None
    brand: str | None
    funding: str | None
    country: str | None
    customer_present: bool | None
    reserved_at: datetime
    result: dict[str, Any] | None
    outcome: str | None
    decline_class: str | None
    charge_id: str | None
    charged_at: datetime | None
    reached_network: bool | None
    lock: Lock | None
    completed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeRecord:
    """A charge that Stripe or the customer began, not the engine. `at` by Stripe's clock."""

    account: str
    charge_id: str
    invoice_id: str
    at: datetime
    status: str  # Stripe's: succeeded, pending, failed
    amount: int
    currency: str
    scheme: str
    fingerprint: str | None
    expiry: str | None
    brand: str | None
    funding: str | None
    country: str | None
    decline_class: str | None
    reached_network: bool
    lock: Lock | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReversalRecord:
    """A refund or a dispute of a payment, as Stripe last told of it."""

    account: str
    id: str
    kind: str
    invoice_id: str
    charge: str
    amount: int
    currency: str
    status: str
    told_at: datetime
