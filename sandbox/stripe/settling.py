"""What makes an open invoice owe less: credit notes, and payments that were made for it elsewhere at Stripe.

Sources: docs.stripe.com/invoicing/integration/programmatic-credit-notes and /invoicing/partial-payments.
Not simulated: credit notes on paid invoices (refunds, balances), lines of credit notes.
"""

from __future__ import annotations

from sandbox.stripe import collection
from sandbox.stripe.errors import invalid_request, parameter_invalid
from sandbox.stripe.http import Call, Endpoint
from sandbox.stripe.store import Account, Obj, new_id


def create_credit_note(call: Call) -> Obj:
    """Credit a part of an open invoice, or all of it, which closes it as paid."""
    account, params = call.account, call.params
    invoice = account.get("invoice", params.required("invoice"), "invoice")
    amount = params.integer("amount") or 0
    _check_open(invoice)
    if not 0 < amount <= invoice["amount_remaining"]:
        raise parameter_invalid("amount", f"Credit between 1 and {invoice['amount_remaining']}.")
    note = account.add(
        {
            "id": new_id("cn"),
            "object": "credit_note",
            "amount": amount,
            "created": call.now,
            "currency": invoice["currency"],
            "customer": invoice["customer"],
            "invoice": invoice["id"],
            "livemode": False,
            "metadata": params.metadata(),
            "reason": params.text("reason"),
            "status": "issued",
            "type": "pre_payment",
        }
    )
    account.emit("credit_note.created", note, call.origin)
    with account.changing(invoice, "invoice.updated", call.origin):
        invoice["pre_payment_credit_notes_amount"] += amount
        invoice["amount_due"] -= amount
        _owe(account, invoice)
    _close_if_settled(call, invoice)
    return note


def attach_payment(call: Call) -> Obj:
    """Link a PaymentIntent that brought money to the invoice: it owes less by that."""
    account, invoice = call.account, call.target("invoice")
    _check_open(invoice)
    intent = account.get("payment_intent", call.params.required("payment_intent"), "payment_intent")
    if intent["status"] != "succeeded" or intent["amount_received"] > invoice["amount_remaining"]:
        raise invalid_request("The sandbox attaches succeeded payments of at most what the invoice owes.")
    amount = intent["amount_received"]
    payment = account.add(
        {
            "id": new_id("inpay"),
            "object": "invoice_payment",
            "amount_paid": amount,
            "amount_requested": amount,
            "created": call.now,
            "currency": invoice["currency"],
            "invoice": invoice["id"],
            "is_default": False,
            "livemode": False,
            "payment": {"payment_intent": intent["id"], "type": "payment_intent"},
            "status": "paid",
            "status_transitions": {"canceled_at": None, "paid_at": call.now},
        }
    )
    account.emit("invoice_payment.paid", payment, call.origin)
    with account.changing(invoice, "invoice.updated", call.origin):
        invoice["amount_paid"] += amount
        _owe(account, invoice)
    _close_if_settled(call, invoice)
    return invoice


def _check_open(invoice: Obj) -> None:
    if invoice["status"] != "open":
        raise invalid_request(f"Invoice {invoice['id']} is {invoice['status']}: it must be open.")


def _owe(account: Account, invoice: Obj) -> None:
    """What remains, which is also what the default payment asks for."""
    invoice["amount_remaining"] = remaining = invoice["amount_due"] - invoice["amount_paid"]
    default = next(row for row in account.payments_of(invoice) if row["is_default"])
    if remaining > 0:
        default["amount_requested"] = remaining
        account.get("payment_intent", default["payment"]["payment_intent"])["amount"] = remaining


def _close_if_settled(call: Call, invoice: Obj) -> None:
    if invoice["amount_remaining"] == 0:
        collection.cancel_payment(call.account, invoice, call.origin)
        collection.mark_paid(call.account, invoice, call.origin)


ENDPOINTS = [
    Endpoint("POST", "/v1/credit_notes", create_credit_note, "invoice amount reason metadata"),
    Endpoint("POST", "/v1/invoices/{id}/attach_payment", attach_payment, "payment_intent"),
]
