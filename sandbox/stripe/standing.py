"""The status of a subscription, as its latest invoice decides it.

Only the latest finalised invoice moves a subscription; a void one makes Stripe look at the one before
(docs.stripe.com/billing/subscriptions/overview, "Subscription statuses").
"""

from __future__ import annotations

from sandbox.stripe.store import Account, Obj, Origin, subscription_of

FINISHED = ("canceled", "incomplete_expired")


def subscription_for(account: Account, invoice: Obj) -> Obj | None:
    """The subscription that an invoice bills, if any."""
    identifier = subscription_of(invoice)
    return None if identifier is None else account.get("subscription", identifier)


def latest_billed(account: Account, subscription: Obj) -> Obj | None:
    """The newest invoice of a subscription that is neither draft nor void."""
    invoices = account.invoices_of(subscription)
    return next((row for row in invoices if row["status"] not in ("draft", "void")), None)


def settle_standing(account: Account, invoice: Obj, origin: Origin) -> None:
    """Move the subscription of an invoice to the status that its latest invoice asks for."""
    subscription = subscription_for(account, invoice)
    if subscription is None or subscription["status"] in FINISHED:
        return
    before = subscription["status"]
    with account.changing(subscription, "customer.subscription.updated", origin):
        subscription["status"] = _status(account, subscription, invoice)
        if subscription["status"] == "active":
            subscription["status_details"] = None
    if before == "paused" and subscription["status"] == "active":
        account.emit("customer.subscription.resumed", subscription, origin)
    if subscription["status"] == "active":
        _remember_method(account, subscription, invoice, origin)


def _status(account: Account, subscription: Obj, changed: Obj) -> str:
    status = str(subscription["status"])
    latest = latest_billed(account, subscription)
    if status == "incomplete":
        return _first(latest)
    if status == "paused":
        # Only the invoice of the resumption itself brings a paused subscription back.
        resumed = changed["billing_reason"] == "subscription_update"
        return "active" if resumed and changed["status"] in ("paid", "uncollectible") else status
    if status == "trialing":
        return status
    if latest is None or latest["status"] in ("paid", "uncollectible"):
        return "active"
    overdue = latest["due_date"] is not None and latest["due_date"] <= account.now
    if status == "active" and (latest["attempted"] or overdue):
        return "active" if _in_process(account, latest) else "past_due"
    return status


def _first(first: Obj | None) -> str:
    if first is None:
        return "incomplete_expired"
    return "active" if first["status"] in ("paid", "uncollectible") else "incomplete"


def _in_process(account: Account, invoice: Obj) -> bool:
    intents = (row["payment"]["payment_intent"] for row in account.payments_of(invoice))
    return any(account.get("payment_intent", intent)["status"] == "processing" for intent in intents)


def _remember_method(account: Account, subscription: Obj, invoice: Obj, origin: Origin) -> None:
    """`save_default_payment_method=on_subscription`: the method that paid becomes the subscription's."""
    if (subscription["payment_settings"] or {}).get("save_default_payment_method") != "on_subscription":
        return
    paid = next((row for row in account.payments_of(invoice) if row["status"] == "paid"), None)
    if paid is None:
        return
    method_id = account.get("payment_intent", paid["payment"]["payment_intent"])["payment_method"]
    method = account.get("payment_method", method_id)
    if method["customer"] == subscription["customer"]:
        with account.changing(subscription, "customer.subscription.updated", origin):
            subscription["default_payment_method"] = method_id
