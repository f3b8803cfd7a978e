"""What was read of the outside world, reduced to what decisions need. No personal data, no card numbers."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from dunning.values import Channel, Value

InvoiceStatus = Literal["draft", "open", "paid", "uncollectible", "void", "gone"]


class Method(Value):
    """A payment method, by what tells it from another: Stripe's id, the card's fingerprint and expiry."""

    id: str
    type: str = "card"
    fingerprint: str | None = None
    brand: str | None = None
    funding: str | None = None
    country: str | None = None
    exp_month: int | None = None
    exp_year: int | None = None

    @property
    def identity(self) -> str:
        """Changes when the card or its expiry changes, also under an unchanged Stripe id (card updater)."""
        return f"{self.fingerprint or self.id}/{self.exp_year or 0:04d}-{self.exp_month or 0:02d}"


class Failure(Value):
    """One failed attempt in the words of Stripe and the networks (Stripe API reference: Charge.outcome)."""

    at: datetime
    charge: str | None = None
    code: str | None = None
    decline_code: str | None = None
    advice_code: str | None = None
    network_advice_code: str | None = None
    network_decline_code: str | None = None
    outcome_type: str | None = None
    outcome_reason: str | None = None
    network_status: str | None = None
    method: Method | None = None


class Invoice(Value):
    """An invoice as Stripe showed it at `read_at`. Amounts in minor units of `currency`."""

    id: str
    read_at: datetime
    status: InvoiceStatus
    currency: str = "usd"
    amount_remaining: int = 0
    customer: str = ""
    subscription: str | None = None
    subscription_status: str | None = None
    billing_reason: str | None = None
    collection_method: str = "charge_automatically"
    due_date: datetime | None = None  # of an invoice that is sent
    next_payment_attempt: datetime | None = None
    processing: bool = False
    paid_out_of_band: bool = False
    credited: bool = False  # paid by credit notes alone: no money came
    paying_method: Method | None = None  # what paid it, when it is paid
    method: Method | None = None  # what Stripe would charge now
    method_set_on: Literal["invoice", "subscription", "customer"] | None = None
    customer_method: Method | None = None  # the customer's default, when something else comes before it
    backup_consent: bool = False  # the customer agreed that another attached card is charged
    method_lock: str | None = None  # the ledger knows that this method must not be charged, and why
    auto_advance: bool | None = None  # whether Stripe acts on the invoice by itself
    failure: Failure | None = None
    channels: tuple[Channel, ...] = ()  # an address is known and nobody opted out
    zone: str | None = None
    zones: tuple[str, ...] = ()  # those in which the customer may live, when no single one is known for sure
    place: str = ""  # whose holidays count: ISO 3166, "US-TX", "DE"
    livemode: bool = False

    @property
    def sent(self) -> bool:
        """Collected by sending it: the customer pays it by its due date, and nobody may charge it."""
        return self.collection_method == "send_invoice"

    @property
    def chargeable(self) -> bool:
        """Whether the engine may charge it now: something is owed, and no money is on its way."""
        owed = self.status == "open" and self.amount_remaining > 0
        return owed and not self.sent and not self.processing
