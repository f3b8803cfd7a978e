"""One attempt to charge a card: the bank's answer, the Charge, the PaymentIntent, the refusal."""

from __future__ import annotations

from typing import Any

from sandbox.stripe.cards import BLOCKS, Outcome, next_outcome
from sandbox.stripe.errors import StripeError, card_error
from sandbox.stripe.store import Account, Obj, Origin, new_id, plain_copy

REQUIRES_ACTION = (
    "This payment requires additional user action before it can be completed successfully. Payment can be "
    "completed using the PaymentIntent associated with the invoice. For more details see: "
    "https://stripe.com/docs/billing/subscriptions/overview#requires-action"
)
_AUTHENTICATE = Outcome("declined", "authentication_required")


def new_intent(
    account: Account,
    *,
    amount: int,
    currency: str,
    customer: str | None,
    description: str | None = None,
    metadata: dict[str, str] | None = None,
) -> Obj:
    """A PaymentIntent that waits for a payment method."""
    identifier = new_id("pi")
    return account.add(
        {
            "id": identifier,
            "object": "payment_intent",
            "amount": amount,
            "amount_capturable": 0,
            "amount_details": {"tip": {}},
            "amount_received": 0,
            "application": None,
            "application_fee_amount": None,
            "automatic_payment_methods": None,
            "canceled_at": None,
            "cancellation_reason": None,
            "capture_method": "automatic",
            "client_secret": f"{identifier}_secret_{new_id('s')[2:]}",
            "confirmation_method": "automatic",
            "created": account.now,
            "currency": currency,
            "customer": customer,
            "customer_account": None,
            "description": description,
            "excluded_payment_method_types": None,
            "last_payment_error": None,
            "latest_charge": None,
            "livemode": False,
            "metadata": metadata or {},
            "next_action": None,
            "on_behalf_of": None,
            "payment_method": None,
            "payment_method_configuration_details": None,
            "payment_method_options": {
                "card": {"installments": None, "mandate_options": None, "network": None}
                | {"request_three_d_secure": "automatic"}
            },
            "payment_method_types": ["card"],
            "processing": None,
            "receipt_email": None,
            "review": None,
            "setup_future_usage": "off_session" if customer else None,
            "shipping": None,
            "source": None,
            "statement_descriptor": None,
            "statement_descriptor_suffix": None,
            "status": "requires_payment_method",
            "transfer_data": None,
            "transfer_group": None,
        }
    )


def attempt(
    account: Account,
    intent: Obj,
    method: Obj,
    origin: Origin,
    *,
    invoice: Obj | None = None,
    outcome: Outcome | None = None,
    off_session_refusal: bool = False,
) -> Outcome:
    """Try once to charge `method` for `intent`, and write everything down.

    `outcome` overrides what the card would answer. `off_session_refusal`: a card that wants authentication is
    declined for want of it, as for a plain off-session PaymentIntent; an invoice's waits for the customer.
    """
    answer = outcome or next_outcome(account, method)
    if answer.kind == "authentication_required" and off_session_refusal:
        answer = _AUTHENTICATE
    intent["last_payment_error"] = None
    intent["next_action"] = None
    intent["payment_method"] = method["id"]
    charge = None
    if answer.kind == "authentication_required":
        _wait_for_customer(account, intent, origin)
    else:
        charge = account.add(_charge(account, intent, method, answer))
        intent["latest_charge"] = charge["id"]
        _conclude(account, intent, charge, answer, origin)
    account.attempts.append(
        {
            "time": account.now,
            "invoice": None if invoice is None else invoice["id"],
            "payment_intent": intent["id"],
            "charge": None if charge is None else charge["id"],
            "amount": intent["amount"],
            "currency": intent["currency"],
            "customer": intent["customer"],
            "payment_method": method["id"],
            "fingerprint": method["card"]["fingerprint"],
            "outcome": answer.kind,
            "code": answer.code,
            "initiator": origin.initiator,
            "request_id": origin.request_id,
            "idempotency_key": origin.idempotency_key,
        }
    )
    return answer


def _wait_for_customer(account: Account, intent: Obj, origin: Origin) -> None:
    intent["status"] = "requires_action"
    intent["next_action"] = {
        "type": "use_stripe_sdk",
        "use_stripe_sdk": {"type": "three_d_secure_redirect", "source": new_id("src")},
    }
    account.emit("payment_intent.requires_action", intent, origin)


def _conclude(account: Account, intent: Obj, charge: Obj, answer: Outcome, origin: Origin) -> None:
    method = account.get("payment_method", charge["payment_method"])
    if answer.kind == "processing":
        intent["status"] = "processing"
        account.emit("charge.pending", charge, origin)
        account.emit("payment_intent.processing", intent, origin)
    elif answer.kind == "succeeded":
        intent["status"] = "succeeded"
        intent["amount_received"] = intent["amount"]
        account.emit("charge.succeeded", charge, origin)
        account.emit("payment_intent.succeeded", intent, origin)
    else:
        intent["status"] = "requires_payment_method"
        intent["payment_method"] = None
        intent["last_payment_error"] = last_error(charge, method, answer)
        account.emit("charge.failed", charge, origin)
        account.emit("payment_intent.payment_failed", intent, origin)


def settle(account: Account, intent: Obj, answer: Outcome, origin: Origin) -> None:
    """The bank's late word on a payment that was `processing`."""
    charge = account.get("charge", intent["latest_charge"])
    verdict = _verdict(answer)
    charge |= verdict | {"outcome": _charge_outcome(answer)}
    _conclude(account, intent, charge, answer, origin)


def last_error(charge: Obj, method: Obj, answer: Outcome) -> Obj:
    """The PaymentIntent's `last_payment_error`: a card error with the bank's codes."""
    error: Obj = {
        "charge": charge["id"],
        "code": answer.error_code,
        "decline_code": answer.code if answer.kind == "declined" else "generic_decline",
        "doc_url": f"https://stripe.com/docs/error-codes/{answer.error_code.replace('_', '-')}",
        "message": answer.message,
        "payment_method": plain_copy(method),
        "type": "card_error",
    }
    optional = {
        "advice_code": answer.advice,
        "network_advice_code": answer.network_advice,
        "network_decline_code": answer.network_decline,
    }
    return error | {name: value for name, value in optional.items() if value is not None}


def refused(intent: Obj) -> StripeError:
    """The 402 after a decline: the PaymentIntent's last error, with the PaymentIntent itself."""
    error = plain_copy(intent["last_payment_error"])
    return card_error(error, payment_intent=plain_copy(intent))


def needs_action(intent: Obj, method: Obj) -> StripeError:
    """The 402 after an invoice's payment came to wait for the customer's authentication."""
    code = "invoice_payment_intent_requires_action"
    error = {
        "code": code,
        "doc_url": f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}",
        "message": REQUIRES_ACTION,
        "payment_method": plain_copy(method),
    }
    return card_error(error, payment_intent=plain_copy(intent))


def _verdict(answer: Outcome) -> Obj:
    paid = answer.kind == "succeeded"
    failed = answer.kind in ("declined", "blocked")
    return {
        "captured": paid,
        "failure_code": answer.error_code if failed else None,
        "failure_message": answer.message if failed else None,
        "paid": paid,
        "status": "succeeded" if paid else "failed" if failed else "pending",
    }


def _charge_outcome(answer: Outcome) -> Obj | None:
    if answer.kind == "processing":
        return None
    risk: dict[str, Any] = {"risk_level": "normal", "risk_score": 12}
    none = {"advice_code": None, "network_advice_code": None, "network_decline_code": None, "reason": None}
    if answer.kind == "blocked":
        level = BLOCKS[answer.code]["risk_level"]
        return none | {
            "advice_code": answer.advice,
            "network_status": "not_sent_to_network",
            "reason": answer.code,
            "risk_level": level,
            "risk_score": 87 if level == "highest" else 66 if level == "elevated" else 12,
            "seller_message": "Stripe blocked this payment.",
            "type": "blocked",
        }
    if answer.kind == "declined":
        return risk | {
            "advice_code": answer.advice,
            "network_advice_code": answer.network_advice,
            "network_decline_code": answer.network_decline,
            "network_status": "declined_by_network",
            "reason": answer.code,
            "seller_message": f"The bank declined the payment: {answer.code.replace('_', ' ')}.",
            "type": "issuer_declined",
        }
    sent = "approved_by_network"
    return none | risk | {"network_status": sent, "seller_message": "Payment complete.", "type": "authorized"}


def _charge(account: Account, intent: Obj, method: Obj, answer: Outcome) -> Obj:
    card = method["card"]
    paid = answer.kind == "succeeded"
    return {
        "id": new_id("ch"),
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": intent["amount"] if paid else 0,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": new_id("txn") if paid else None,
        "billing_details": plain_copy(method["billing_details"]),
        "calculated_statement_descriptor": "SANDBOX",
        "created": account.now,
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_balance_transaction": None,
        "fraud_details": {},
        "livemode": False,
        "metadata": dict(intent["metadata"]),
        "on_behalf_of": None,
        "outcome": _charge_outcome(answer),
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": {
            "type": "card",
            "card": {
                "amount_authorized": intent["amount"] if paid else None,
                "authorization_code": None,
                "brand": card["brand"],
                "checks": plain_copy(card["checks"]),
                "country": card["country"],
                "exp_month": card["exp_month"],
                "exp_year": card["exp_year"],
                "fingerprint": card["fingerprint"],
                "funding": card["funding"],
                "installments": None,
                "last4": card["last4"],
                "mandate": None,
                "network": card["brand"],
                "network_token": {"used": False},
                "network_transaction_id": new_id("ntx", 12)[4:] if answer.kind != "blocked" else None,
                "three_d_secure": None,
                "wallet": None,
            },
        },
        "radar_options": {},
        "receipt_email": None,
        "receipt_number": None,
        "receipt_url": None,
        "refunded": False,
        "review": None,
        "shipping": None,
        "source": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "transfer_data": None,
        "transfer_group": None,
    } | _verdict(answer)
