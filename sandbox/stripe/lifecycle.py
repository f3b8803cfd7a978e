"""A subscription through time: periods, renewals, pauses, cancellation, and what the clock brings by itself.

Sources: docs.stripe.com/billing/subscriptions/overview, docs.stripe.com/billing/subscriptions/pause-payment.
Not simulated: renewals do not happen by themselves (a control call makes them), no proration, no usage.
"""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta

from sandbox.stripe import collection
from sandbox.stripe.drafting import FINALIZES_AFTER, new_invoice, open_invoice, subscription_line
from sandbox.stripe.errors import invalid_request
from sandbox.stripe.standing import FINISHED, settle_standing
from sandbox.stripe.store import STRIPE, Account, Obj, Origin, StripeBooks

INCOMPLETE_LIFE = 23 * 3600
"""Seconds after which an unpaid first invoice lets its subscription expire."""


def period_end(start: int, recurring: Obj) -> int:
    """The end of a billing period that starts at `start`; shorter months end it on their last day."""
    moment = datetime.fromtimestamp(start, UTC)
    interval, count = recurring["interval"], recurring["interval_count"]
    if interval in ("day", "week"):
        return int((moment + timedelta(days=count * (7 if interval == "week" else 1))).timestamp())
    months = moment.month - 1 + count * (12 if interval == "year" else 1)
    year, month = moment.year + months // 12, months % 12 + 1
    day = min(moment.day, calendar.monthrange(year, month)[1])
    return int(moment.replace(year=year, month=month, day=day).timestamp())


def start_period(subscription: Obj, start: int) -> None:
    """Let the next period of every item start at `start`."""
    for item in subscription["items"]["data"]:
        item["current_period_start"] = start
        item["current_period_end"] = period_end(start, item["price"]["recurring"])


def bill_period(
    account: Account,
    subscription: Obj,
    reason: str,
    origin: Origin,
    *,
    auto_advance: bool,
    free: bool = False,
) -> Obj:
    """A draft for the current period; `free` bills nothing (trials)."""
    items = subscription["items"]["data"]
    customer = account.get("customer", subscription["customer"])
    invoice = new_invoice(
        account,
        customer,
        currency=subscription["currency"],
        billing_reason=reason,
        subscription=subscription,
        collection_method=subscription["collection_method"],
        days_until_due=subscription["days_until_due"],
        auto_advance=auto_advance,
        period=(items[0]["current_period_start"], items[0]["current_period_end"]),
    )
    for item in [] if free else items:
        subscription_line(invoice, item, account.get("product", item["price"]["product"]))
    if invoice["due_date"] is not None:
        account.books.wake(invoice["due_date"])
    subscription["latest_invoice"] = invoice["id"]
    account.emit("invoice.created", invoice, origin)
    return invoice


def renew(account: Account, subscription: Obj, retries: list[int]) -> Obj:
    """The next period begins: its invoice is made, finalised at once and charged, as Stripe does by itself.

    `retries`: Unix times at which Stripe will try again by itself if this fails (none: others do).
    An unpaid subscription's invoice stays a draft; `pause_collection` decides as its behavior says.
    Raises StripeError 400 for a subscription that makes no invoices any more.
    """
    status = subscription["status"]
    if status in (*FINISHED, "incomplete", "paused"):
        raise invalid_request(f"Subscription {subscription['id']} is {status}: it makes no new invoices.")
    ended = subscription["items"]["data"][0]["current_period_end"]
    with account.changing(subscription, "customer.subscription.updated", STRIPE):
        start_period(subscription, min(ended, account.now))
        pause = subscription["pause_collection"]
        kept = status == "unpaid" or (pause is not None and pause["behavior"] == "keep_as_draft")
        invoice = bill_period(account, subscription, "subscription_cycle", STRIPE, auto_advance=not kept)
        if status == "trialing":
            subscription["status"] = "active"
    if kept:
        return invoice
    account.retry_schedule[invoice["id"]] = sorted(retries)
    for due in retries:
        account.books.wake(due)
    open_invoice(account, invoice, STRIPE)
    if invoice["amount_due"] == 0:
        collection.mark_paid(account, invoice, STRIPE)
    elif pause is not None and pause["behavior"] == "void":
        collection.void(account, invoice, STRIPE)
    elif pause is not None:
        collection.mark_uncollectible(account, invoice, STRIPE, "subscription_paused")
    elif invoice["collection_method"] == "charge_automatically":
        collection.retry_automatically(account, invoice)
    return invoice


def next_invoice(account: Account, subscription: Obj) -> Obj:
    """What the next renewal will cost: an invoice that nobody keeps.

    Raises StripeError 400 `invoice_upcoming_none` for a subscription that will not be billed.
    """
    if subscription["status"] in (*FINISHED, "incomplete", "paused") or subscription["cancel_at_period_end"]:
        raise invalid_request(
            f"No upcoming invoices for subscription: {subscription['id']}", code="invoice_upcoming_none"
        )
    starts = subscription["items"]["data"][0]["current_period_end"]
    invoice = new_invoice(
        account,
        account.get("customer", subscription["customer"]),
        currency=subscription["currency"],
        billing_reason="upcoming",
        subscription=subscription,
        collection_method=subscription["collection_method"],
        period=(subscription["items"]["data"][0]["current_period_start"], starts),
    )
    account.remove(invoice)
    for item in subscription["items"]["data"]:
        subscription_line(invoice, item, account.get("product", item["price"]["product"]))
    invoice["next_payment_attempt"] = starts + FINALIZES_AFTER
    return invoice


def announce(account: Account, subscription: Obj) -> Obj:
    """Tell of the renewal to come, as Stripe does some days ahead (`invoice.upcoming`: without an id).

    Source: docs.stripe.com/api/events/types#event_types-invoice.upcoming.
    """
    invoice = next_invoice(account, subscription)
    del invoice["id"]
    account.emit("invoice.upcoming", invoice, STRIPE)
    return invoice


def set_pause_collection(account: Account, subscription: Obj, pause: Obj | None) -> None:
    """Set or unset `pause_collection`; the status stays as it is."""
    subscription["pause_collection"] = pause
    if pause is not None and pause["resumes_at"] is not None:
        account.books.wake(pause["resumes_at"])


def pause_now(account: Account, subscription: Obj, reason: str, origin: Origin) -> None:
    """Status `paused`: no invoices until it is resumed."""
    subscription["status"] = "paused"
    subscription["status_details"] = {
        "paused": {
            "subscription": {"type": reason},
            "transitioned_at": account.now,
            "type": "subscription",
        }
    }
    account.emit("customer.subscription.paused", subscription, origin)


def cancel_now(
    account: Account,
    subscription: Obj,
    origin: Origin,
    *,
    reason: str = "cancellation_requested",
    comment: str | None = None,
    feedback: str | None = None,
) -> None:
    """Cancel for good; its open invoices are no longer collected automatically, but may still be paid."""
    subscription["status"] = "canceled"
    subscription["canceled_at"] = subscription["canceled_at"] or account.now
    subscription["ended_at"] = account.now
    subscription["status_details"] = None
    subscription["cancellation_details"] = {"comment": comment, "feedback": feedback, "reason": reason}
    for invoice in account.invoices_of(subscription):
        if invoice["status"] in ("draft", "open"):
            with account.changing(invoice, "invoice.updated", origin):
                invoice["auto_advance"] = False
                invoice["next_payment_attempt"] = None
    account.emit("customer.subscription.deleted", subscription, origin)


def exhaust(account: Account, subscription: Obj, action: str) -> None:
    """The end of Stripe's own retries, by the account setting `action`: unpaid, cancel, past_due or pause."""
    if action == "cancel":
        cancel_now(account, subscription, STRIPE, reason="payment_failed")
        return
    with account.changing(subscription, "customer.subscription.updated", STRIPE):
        if action == "pause":
            pause_now(account, subscription, "final_payment_failure", STRIPE)
        else:
            subscription["status"] = action


def run_due(books: StripeBooks, at: int) -> None:
    """Do what fell due by Unix time `at`: drafts finalise, retries run, pauses end, first invoices expire."""
    with books.lock:
        for account in list(books.accounts.values()):
            for invoice in list(reversed(account.rows("invoice"))):
                _advance_invoice(account, invoice, at)
            for subscription in list(reversed(account.rows("subscription"))):
                _advance_subscription(account, subscription, at)


def _advance_invoice(account: Account, invoice: Obj, at: int) -> None:
    finalizes = invoice["automatically_finalizes_at"]
    automatic = invoice["collection_method"] == "charge_automatically"
    if invoice["status"] == "draft" and invoice["auto_advance"] and finalizes and finalizes <= at:
        open_invoice(account, invoice, STRIPE)
        if invoice["amount_due"] == 0:
            collection.mark_paid(account, invoice, STRIPE)
        elif automatic:
            collection.retry_automatically(account, invoice)
    elif invoice["status"] == "open" and (invoice["next_payment_attempt"] or at + 1) <= at:
        collection.retry_automatically(account, invoice)
    elif invoice["status"] == "open" and not automatic and (invoice["due_date"] or at + 1) <= at:
        settle_standing(account, invoice, STRIPE)


def _advance_subscription(account: Account, subscription: Obj, at: int) -> None:
    status, pause = subscription["status"], subscription["pause_collection"]
    if status in FINISHED:
        return
    if pause is not None and pause["resumes_at"] is not None and pause["resumes_at"] <= at:
        with account.changing(subscription, "customer.subscription.updated", STRIPE):
            subscription["pause_collection"] = None
    if status == "incomplete" and subscription["created"] + INCOMPLETE_LIFE <= at:
        _expire(account, subscription)
    elif status == "trialing" and (subscription["trial_end"] or at + 1) <= at:
        _end_trial(account, subscription)
    elif subscription["cancel_at"] is not None and subscription["cancel_at"] <= at:
        cancel_now(account, subscription, STRIPE)


def _end_trial(account: Account, subscription: Obj) -> None:
    """Bill the first period, or do what `trial_settings` says when there is no method to bill it to."""
    settings = account.get("customer", subscription["customer"])["invoice_settings"]
    can_pay = subscription["default_payment_method"] or settings["default_payment_method"]
    behavior = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
    if can_pay or behavior == "create_invoice":
        renew(account, subscription, [])
    elif behavior == "cancel":
        cancel_now(account, subscription, STRIPE, reason="payment_failed")
    else:
        with account.changing(subscription, "customer.subscription.updated", STRIPE):
            pause_now(account, subscription, "trial_end_without_payment_method", STRIPE)


def _expire(account: Account, subscription: Obj) -> None:
    with account.changing(subscription, "customer.subscription.updated", STRIPE):
        subscription["status"] = "incomplete_expired"
        subscription["ended_at"] = account.now
    for invoice in account.invoices_of(subscription):
        if invoice["status"] == "open":
            collection.void(account, invoice, STRIPE)
