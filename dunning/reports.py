"""What is told about a payment after it was made: refunds, disputes, early warnings of fraud.

While the invoice is owed, a dispute or a warning freezes the case; after the case ended it is a line of its
timeline, with the amount, so that whoever counts recovered money can subtract it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

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
