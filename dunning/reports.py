"""What is told about a payment after it was made: refunds, disputes, early warnings of fraud.

While the invoice is owed, a dispute or a warning freezes the case; after the case ended it is a line of its
timeline, with the amount, so that whoever counts recovered money can subtract it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from dunning.case import BillingEvent, Entry
from dunning.money import Money
from dunning.values import Value


class Report(NamedTuple):
    """How an event is called in a timeline: after `recovery.` or `payment.`, and in words."""

    name: str
    words: str


#: Events that report on a payment (Stripe API reference: Event types).
REPORTS: Mapping[str, Report] = {
    "refund.created": Report("refunded", "a payment was refunded"),
    "refund.failed": Report("refund_failed", "a refund failed: the money is back"),
    "charge.dispute.created": Report("disputed", "the customer disputes a payment"),
    "charge.dispute.closed": Report("dispute_closed", "a dispute was closed"),
    "radar.early_fraud_warning.created": Report("fraud_warning", "the card's issuer warns of fraud"),
}

#: Those that take money back, or give it back once more.
_MONEY: Mapping[str, Literal["refund", "dispute"]] = {
    "refund.created": "refund",
    "refund.failed": "refund",
    "charge.dispute.created": "dispute",
    "charge.dispute.closed": "dispute",
}
#: Refunds and disputes that took nothing, or gave it back (Stripe API reference: Refund.status,
#: Dispute.status; an inquiry, `warning_…`, moves no money).
_TOOK_NOTHING = frozenset(
    {"failed", "canceled", "won", "prevented", "warning_needs_response", "warning_under_review",
     "warning_closed"}
)  # fmt: skip

#: Those that freeze an open case, and the code that says why.
FREEZING: Mapping[str, str] = {
    "charge.dispute.created": "dispute",
    "radar.early_fraud_warning.created": "early_fraud_warning",
}


class UnknownPayment(Value):
    """A report on a payment that the ledger never saw, such as a renewal that was paid last month.

    `event` is Stripe's, cut down to what routing needs. Nothing in it is personal.
    """

    account: str = ""
    charge: str
    event: dict[str, Any]


class Reversal(Value):
    """A refund or a dispute of a payment, as Stripe last told of it. `amount` in minor units."""

    id: str
    kind: Literal["refund", "dispute"]
    charge: str = ""
    amount: int
    currency: str
    status: str = ""

    @property
    def counts(self) -> bool:
        """Whether the money is gone: of a dispute, until it is won."""
        return self.status not in _TOOK_NOTHING


def reversal(event: BillingEvent) -> Reversal | None:
    """The refund or dispute that an event tells of; None for every other event."""
    kind = _MONEY.get(event.type)
    if kind is None or event.amount is None or not event.report or not event.currency:
        return None
    return Reversal(
        id=event.report,
        kind=kind,
        charge=event.charge,
        amount=event.amount,
        currency=event.currency.lower(),
        status="failed" if event.type == "refund.failed" else event.status,
    )


def line(event: BillingEvent, *, recovered: bool) -> Entry | None:
    """The line of a report; None for every other event. `recovered`: the payment ended a case."""
    report = REPORTS.get(event.type)
    if report is None:
        return None
    told = {"id": event.report, "status": event.status, "charge": event.charge, "invoice": event.invoice}
    data: dict[str, Any] = {name: value for name, value in told.items() if value}
    text = report.words
    if event.amount is not None and event.currency:
        data |= {"amount": event.amount, "currency": event.currency}
        money = Money(amount=event.amount, currency=event.currency)
        text = f"{text}: {money.decimal:,} {money.currency}"
    if event.status:
        text = f"{text} ({event.status.replace('_', ' ')})"
    kind = "recovery" if recovered else "payment"
    return Entry(
        at=event.created or event.at, what=f"{kind}.{report.name}", text=text, by="stripe", data=data
    )
