"""Payment intents, charges and refunds."""

from __future__ import annotations

from sandbox.stripe.charging import attempt, new_intent, refused
from sandbox.stripe.errors import invalid_request, parameter_invalid, parameter_missing
from sandbox.stripe.http import Call, Endpoint
from sandbox.stripe.methods import attach_to, method_for
from sandbox.stripe.ownership import living
from sandbox.stripe.store import Account, Obj, new_id
from sandbox.stripe.wire import PAGE, created_within, matching, page

_CREATE = (
    "amount currency customer payment_method confirm off_session description metadata payment_method_types "
    "automatic_payment_methods setup_future_usage return_url receipt_email confirmation_method"
)
_CONFIRMABLE = ("requires_payment_method", "requires_confirmation", "requires_action")


def create(call: Call) -> Obj:
    """A new PaymentIntent; `confirm=true` charges at once."""
    account, params = call.account, call.params
    amount = params.integer("amount")
    if amount is None:
        raise parameter_missing("amount")
    if amount < 1:
        raise parameter_invalid("amount", "This value must be greater than or equal to 1.")
    currency, customer = params.required("currency").lower(), params.text("customer")
    if customer is not None:
        living(account, customer)
    wanted = params.text("payment_method")
    method = None if wanted is None else method_for(account, wanted)
    intent = new_intent(
        account,
        amount=amount,
        currency=currency,
        customer=customer,
        description=params.text("description"),
        metadata=params.metadata(),
    )
    intent["receipt_email"] = params.text("receipt_email")
    intent["setup_future_usage"] = params.text("setup_future_usage")
    if method is not None:
        intent |= {"payment_method": method["id"], "status": "requires_confirmation"}
    account.emit("payment_intent.created", intent, call.origin)
    return _confirm(call, intent, method) if params.boolean("confirm") else intent


def confirm(call: Call) -> Obj:
    """Charge a PaymentIntent with its payment method or the one given."""
    intent = call.target("payment_intent")
    _refuse_invoice_payment(call.account, intent)
    wanted = call.params.text("payment_method") or intent["payment_method"]
    return _confirm(call, intent, None if wanted is None else method_for(call.account, wanted))


def _confirm(call: Call, intent: Obj, method: Obj | None) -> Obj:
    if intent["status"] not in _CONFIRMABLE:
        raise _unexpected(intent, "confirm")
    if method is None:
        raise invalid_request(
            "You cannot confirm this PaymentIntent because it's missing a payment method.",
            code="payment_intent_unexpected_state",
        )
    off_session = call.params.boolean("off_session")
    answer = attempt(call.account, intent, method, call.origin, off_session_refusal=off_session)
    if answer.kind in ("declined", "blocked"):
        raise refused(intent)
    saved = intent["setup_future_usage"] and intent["customer"] and answer.kind == "succeeded"
    if saved and method["customer"] is None:
        attach_to(call.account, method, living(call.account, intent["customer"]), call.origin)
    return intent


def update(call: Call) -> Obj:
    """Change a PaymentIntent that is not an invoice's; its last error is forgotten, as at Stripe."""
    account, params, intent = call.account, call.params, call.target("payment_intent")
    _refuse_invoice_payment(account, intent)
    if intent["status"] not in _CONFIRMABLE:
        raise _unexpected(intent, "update")
    wanted = params.text("payment_method")
    method = None if wanted is None else method_for(account, wanted)
    intent["last_payment_error"] = None
    intent["amount"] = params.integer("amount") or intent["amount"]
    intent["metadata"] = params.metadata(intent["metadata"])
    if params.has("description"):
        intent["description"] = params.text("description")
    if method is not None:
        intent |= {"payment_method": method["id"], "status": "requires_confirmation"}
    return intent


def cancel(call: Call) -> Obj:
    """Cancel a PaymentIntent that has not succeeded."""
    intent = call.target("payment_intent")
    _refuse_invoice_payment(call.account, intent)
    if intent["status"] not in _CONFIRMABLE:
        raise _unexpected(intent, "cancel")
    intent |= {
        "status": "canceled",
        "canceled_at": call.now,
        "cancellation_reason": call.params.text("cancellation_reason"),
        "next_action": None,
    }
    call.account.emit("payment_intent.canceled", intent, call.origin)
    return intent


def _unexpected(intent: Obj, action: str) -> Exception:
    return invalid_request(
        f"You cannot {action} this PaymentIntent because it has a status of {intent['status']}.",
        code="payment_intent_unexpected_state",
    )


def _refuse_invoice_payment(account: Account, intent: Obj) -> None:
    for payment in account.rows("invoice_payment"):
        if payment["payment"]["payment_intent"] == intent["id"]:
            raise invalid_request(
                f"This PaymentIntent is the default payment of invoice {payment['invoice']} and cannot be "
                "changed directly; pay or void the invoice.",
                code="payment_intent_unexpected_state",
            )


def list_intents(call: Call) -> Obj:
    """PaymentIntents by customer and creation."""
    rows = matching(call.account.rows("payment_intent"), call.params, "customer")
    return page(created_within(rows, call.params), call.params, call.path)


def list_charges(call: Call) -> Obj:
    """Charges by customer, PaymentIntent and creation."""
    rows = matching(call.account.rows("charge"), call.params, "customer", "payment_intent")
    return page(created_within(rows, call.params), call.params, call.path)


def update_charge(call: Call) -> Obj:
    """Change the description or metadata of a charge."""
    charge, params = call.target("charge"), call.params
    metadata = params.metadata(charge["metadata"])
    with call.account.changing(charge, "charge.updated", call.origin):
        if params.has("description"):
            charge["description"] = params.text("description")
        charge["metadata"] = metadata
    return charge


def refund(call: Call) -> Obj:
    """Give back all or a part of a charge. Amount in minor units, default all that is left."""
    account, params = call.account, call.params
    charge = _refundable(call)
    left = charge["amount_captured"] - charge["amount_refunded"]
    amount = params.integer("amount")
    amount = left if amount is None else amount
    if left == 0:
        raise invalid_request(
            f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded"
        )
    if not 0 < amount <= left:
        raise parameter_invalid("amount", f"Refund amount ({amount}) must be between 1 and {left}.")
    refunded = account.add(
        {
            "id": new_id("re"),
            "object": "refund",
            "amount": amount,
            "balance_transaction": new_id("txn"),
            "charge": charge["id"],
            "created": call.now,
            "currency": charge["currency"],
            "destination_details": {"card": {"type": "refund"}, "type": "card"},
            "metadata": params.metadata(),
            "payment_intent": charge["payment_intent"],
            "reason": params.text("reason"),
            "receipt_number": None,
            "source_transfer_reversal": None,
            "status": "succeeded",
            "transfer_reversal": None,
        }
    )
    account.emit("refund.created", refunded, call.origin)
    with account.changing(charge, "charge.refunded", call.origin):
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    return refunded


def _refundable(call: Call) -> Obj:
    wanted, intent_id = call.params.text("charge"), call.params.text("payment_intent")
    if wanted is None and intent_id is None:
        raise parameter_missing("charge")
    if wanted is None:
        intent = call.account.get("payment_intent", intent_id or "", "payment_intent")
        wanted = intent["latest_charge"]
    if wanted is None:
        raise invalid_request(f"PaymentIntent {intent_id} has no successful charge to refund.")
    charge = call.account.get("charge", wanted, "charge")
    if charge["status"] != "succeeded":
        raise invalid_request(f"Charge {charge['id']} did not succeed: there is nothing to refund.")
    return charge


def list_refunds(call: Call) -> Obj:
    """Refunds by charge and PaymentIntent."""
    rows = matching(call.account.rows("refund"), call.params, "charge", "payment_intent")
    return page(created_within(rows, call.params), call.params, call.path)


ENDPOINTS = [
    Endpoint("POST", "/v1/payment_intents", create, _CREATE, charges=True),
    Endpoint("GET", "/v1/payment_intents", list_intents, f"{PAGE} customer created"),
    Endpoint("GET", "/v1/payment_intents/{id}", lambda call: call.target("payment_intent"), "client_secret"),
    Endpoint("POST", "/v1/payment_intents/{id}", update, "amount description metadata payment_method"),
    Endpoint(
        "POST",
        "/v1/payment_intents/{id}/confirm",
        confirm,
        "payment_method off_session return_url",
        charges=True,
    ),
    Endpoint("POST", "/v1/payment_intents/{id}/cancel", cancel, "cancellation_reason"),
    Endpoint("GET", "/v1/charges", list_charges, f"{PAGE} customer payment_intent created"),
    Endpoint("GET", "/v1/charges/{id}", lambda call: call.target("charge")),
    Endpoint("POST", "/v1/charges/{id}", update_charge, "description metadata"),
    Endpoint("POST", "/v1/refunds", refund, "charge payment_intent amount reason metadata"),
    Endpoint("GET", "/v1/refunds", list_refunds, f"{PAGE} charge payment_intent created"),
    Endpoint("GET", "/v1/refunds/{id}", lambda call: call.target("refund")),
]
