"""The pause and resume calls of a subscription (not `pause_collection`, which leaves its status alone).

Source: Stripe API reference, "Pause a subscription" and "Resume a subscription", since 2026-09-30.
"""

from __future__ import annotations

from sandbox.stripe import collection
from sandbox.stripe.drafting import open_invoice
from sandbox.stripe.errors import invalid_request
from sandbox.stripe.http import Call, Endpoint
from sandbox.stripe.lifecycle import bill_period, pause_now, start_period
from sandbox.stripe.store import Obj

_PAUSABLE = ("active", "past_due", "unpaid", "trialing")


def pause(call: Call) -> Obj:
    """Pause for real (flexible billing mode, automatic collection); unused time is never credited here."""
    account, params, subscription = call.account, call.params, call.target("subscription")
    params.choice("type", ("subscription",))
    if subscription["status"] not in _PAUSABLE or subscription["collection_method"] == "send_invoice":
        raise invalid_request(
            f"A subscription that is {subscription['status']} ({subscription['collection_method']}) "
            "cannot be paused."
        )
    if subscription["billing_mode"]["type"] != "flexible":
        raise invalid_request("Only subscriptions with billing_mode[type]=flexible can be paused.")
    with account.changing(subscription, "customer.subscription.updated", call.origin):
        pause_now(account, subscription, "pause_requested", call.origin)
    return subscription


def resume(call: Call) -> Obj:
    """Resume: a new period from now with its invoice, or the old period unchanged and nothing to pay."""
    account, params, subscription = call.account, call.params, call.target("subscription")
    if subscription["status"] != "paused":
        raise invalid_request(f"Subscription {subscription['id']} is not paused.")
    behaviors = ("resume_on_payment_attempt", "resume_on_payment_success")
    behavior = params.choice("payment_behavior", behaviors, behaviors[0])
    anchor = params.child("billing_cycle_anchor", "type")
    kind = "now" if anchor is None else anchor.choice("type", ("now", "unchanged"), "now")
    with account.changing(subscription, "customer.subscription.updated", call.origin):
        if kind == "unchanged":
            subscription |= {"status": "active", "status_details": None}
        else:
            subscription["billing_cycle_anchor"] = call.now
            start_period(subscription, call.now)
            if behavior == "resume_on_payment_attempt":
                subscription |= {"status": "active", "status_details": None}
    if subscription["status"] == "active":
        account.emit("customer.subscription.resumed", subscription, call.origin)
    if kind == "now":
        invoice = bill_period(account, subscription, "subscription_update", call.origin, auto_advance=False)
        open_invoice(account, invoice, call.origin)
        method = collection.method_to_charge(account, invoice)
        if method is None:
            collection.fail_without_method(account, invoice, call.origin)
        else:
            collection.collect(account, invoice, method, call.origin)
    return subscription


ENDPOINTS = [
    Endpoint(
        "POST",
        "/v1/subscriptions/{id}/pause",
        pause,
        "type bill_for invoicing_behavior",
    ),
    Endpoint(
        "POST",
        "/v1/subscriptions/{id}/resume",
        resume,
        "billing_cycle_anchor payment_behavior proration_behavior",
        charges=True,
    ),
]
