"""Workflow ids, each made by one function, with its inverse."""

from __future__ import annotations

_INVOICE = "invoice-dunning/"
_CARD = "card-expiry/"
_RENEWAL = "renewal-reminder/"


def invoice_dunning_id(invoice_id: str) -> str:
    """The id of the workflow that duns an invoice. Stripe's invoice ids are unique over all accounts."""
    return f"{_INVOICE}{invoice_id}"


def invoice_of(workflow_id: str) -> str | None:
    """The invoice of an `invoice-dunning/…` workflow id, or None for any other id."""
    return workflow_id.removeprefix(_INVOICE) if workflow_id.startswith(_INVOICE) else None


def payment_report_id(event_id: str) -> str:
    """The id of the workflow that finds out whose payment an event reports on."""
    return f"payment-report/{event_id}"


#: Reconciliations that people start; those of the schedule get ids of its own.
RECONCILIATION_BY_HAND = "reconciliation/by-hand"
IMPORT = "reconciliation/import"


def event_delivery_id(event_id: str, endpoint: str) -> str:
    """The id of the workflow that carries an event to an endpoint."""
    return f"event-delivery/{event_id}/{endpoint}"


def card_expiry_id(method: str, expiry: str) -> str:
    """The id of the workflow of a card: Stripe's payment method and the expiry ("2031-09")."""
    return f"{_CARD}{method}/{expiry}"


def card_scan_id(account: str) -> str:
    """The id of the workflow that scans the subscriptions of a connected account."""
    return f"expiring-card-scan/{account}"


def renewal_reminder_id(subscription: str) -> str:
    """The id of the workflow that reminds of a subscription's next renewal."""
    return f"{_RENEWAL}{subscription}"


def card_of(workflow_id: str) -> tuple[str, str] | None:
    """Payment method and expiry of a `card-expiry/…` workflow id, or None for any other id."""
    method, _, expiry = workflow_id.removeprefix(_CARD).partition("/")
    return (method, expiry) if workflow_id.startswith(_CARD) and method and expiry else None
