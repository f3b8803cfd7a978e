"""Invoices and money: which method is charged, what an attempt changes, and the ways an invoice ends.

Sources: docs.stripe.com/invoicing/integration/workflow-transitions; Stripe API reference, "Invoices".
"""

from __future__ import annotations

from sandbox.stripe.cards import HARD, Outcome
from sandbox.stripe.charging import attempt, settle
from sandbox.stripe.errors import StripeError, invalid_request
from sandbox.stripe.ownership import set_delinquent
from sandbox.stripe.standing import settle_standing, subscription_for
from sandbox.stripe.store import STRIPE, Account, Obj, Origin


def method_to_charge(account: Account, invoice: Obj) -> Obj | None:
    """The invoice's own default, else the subscription's, else the customer's; None when there is none."""
    subscription = subscription_for(account, invoice)
    customer = account.get("customer", invoice["customer"])
    candidates = [
        invoice["default_payment_method"],
        None if subscription is None else subscription["default_payment_method"],
        None if customer.get("deleted") else customer["invoice_settings"]["default_payment_method"],
    ]
    chosen = next((candidate for candidate in candidates if candidate is not None), None)
    return None if chosen is None else account.get("payment_method", chosen)


def default_intent(account: Account, invoice: Obj) -> Obj:
    """The PaymentIntent behind the invoice's default payment."""
    default = next(row for row in account.payments_of(invoice) if row["is_default"])
    return account.get("payment_intent", default["payment"]["payment_intent"])


def check_payable(account: Account, invoice: Obj) -> None:
    """Raise StripeError 400 unless the invoice is open or uncollectible and no payment is in process."""
    if invoice["status"] == "paid":
        raise invalid_request("Invoice is already paid", code="invoice_not_editable")
    if invoice["status"] not in ("open", "uncollectible"):
        raise invalid_request(
            f"You can only pay open or uncollectible invoices; this invoice is {invoice['status']}.",
            code="invoice_not_editable",
        )
    if default_intent(account, invoice)["status"] == "processing":
        raise invalid_request(
            "The payment of this invoice is still processing; wait for its result before you try again.",
            code="payment_intent_unexpected_state",
        )


def collect(
    account: Account, invoice: Obj, method: Obj, origin: Origin, outcome: Outcome | None = None
) -> Outcome:
    """Charge `method` for what the invoice still owes, and carry the result into invoice and subscription."""
    check_payable(account, invoice)
    intent = default_intent(account, invoice)
    answer = attempt(account, intent, method, origin, invoice=invoice, outcome=outcome)
    _count(account, invoice, origin)
    conclude(account, invoice, answer, origin)
    return answer


def conclude(account: Account, invoice: Obj, answer: Outcome, origin: Origin) -> None:
    """Carry the bank's answer into invoice, customer and subscription."""
    if answer.kind == "succeeded":
        mark_paid(account, invoice, origin)
    elif answer.kind != "processing":
        report_failure(account, invoice, origin, action_required=answer.kind == "authentication_required")


def _count(account: Account, invoice: Obj, origin: Origin) -> None:
    """The first attempt of any kind counts, later ones only if Stripe made them by itself."""
    with account.changing(invoice, "invoice.updated", origin):
        if not invoice["attempted"] or origin.initiator == "stripe":
            invoice["attempt_count"] += 1
        invoice["attempted"] = True
        invoice["next_payment_attempt"] = next_attempt(account, invoice)


def next_attempt(account: Account, invoice: Obj) -> int | None:
    """When Stripe will try by itself: only as a control call scheduled, and while `auto_advance` is on."""
    if not invoice["auto_advance"] or invoice["status"] != "open":
        return None
    upcoming = [due for due in account.retry_schedule.get(invoice["id"], []) if due > account.now]
    return min(upcoming, default=None)


def report_failure(account: Account, invoice: Obj, origin: Origin, *, action_required: bool = False) -> None:
    """Say that an attempt failed, and let customer and subscription feel it."""
    account.emit("invoice.payment_failed", invoice, origin)
    if action_required:
        account.emit("invoice.payment_action_required", invoice, origin)
    set_delinquent(account, account.get("customer", invoice["customer"]), True, origin)
    settle_standing(account, invoice, origin)


def fail_without_method(account: Account, invoice: Obj, origin: Origin) -> None:
    """An automatic attempt with nothing to charge: it counts, and it fails without a charge."""
    _count(account, invoice, origin)
    report_failure(account, invoice, origin)


def retry_automatically(account: Account, invoice: Obj) -> None:
    """One of Stripe's own retries. After a hard decline of the same method it counts but charges nothing.

    Source: docs.stripe.com/billing/revenue-recovery/smart-retries.
    """
    method = method_to_charge(account, invoice)
    last = next((row for row in reversed(account.attempts) if row["invoice"] == invoice["id"]), None)
    hopeless = (
        last is not None
        and method is not None
        and (last["code"] in HARD and last["payment_method"] == method["id"])
    )
    if method is None or hopeless:
        fail_without_method(account, invoice, STRIPE)
    else:
        collect(account, invoice, method, STRIPE)


def mark_paid(account: Account, invoice: Obj, origin: Origin, *, out_of_band: bool = False) -> None:
    """The invoice is paid: by its default payment, by nothing being due, or outside of Stripe."""
    waiting = (row for row in account.payments_of(invoice) if row["is_default"] and row["status"] == "open")
    payment = next(waiting, None)
    if out_of_band:
        account.paid_off_stripe[invoice["id"]] = invoice["amount_remaining"]
        cancel_payment(account, invoice, origin)
    elif payment is not None:
        payment["status"] = "paid"
        payment["amount_paid"] = payment["amount_requested"]
        payment["status_transitions"]["paid_at"] = account.now
        account.emit("invoice_payment.paid", payment, origin)
    with account.changing(invoice, "invoice.updated", origin):
        invoice["status"] = "paid"
        invoice["attempted"] = True
        invoice["amount_paid"] = invoice["amount_due"]
        invoice["amount_remaining"] = 0
        _close(invoice)
        invoice["status_transitions"]["paid_at"] = account.now
    account.emit("invoice.paid", invoice, origin)
    if not out_of_band:
        account.emit("invoice.payment_succeeded", invoice, origin)
    customer = account.get("customer", invoice["customer"])
    if out_of_band or _is_latest(account, invoice):
        set_delinquent(account, customer, False, origin)
    settle_standing(account, invoice, origin)


def _is_latest(account: Account, invoice: Obj) -> bool:
    theirs = (row for row in account.rows("invoice") if row["customer"] == invoice["customer"])
    latest = next((row for row in theirs if row["status"] not in ("draft", "void")), None)
    return latest is invoice


def _close(invoice: Obj) -> None:
    invoice["auto_advance"] = False
    invoice["next_payment_attempt"] = None


def cancel_payment(account: Account, invoice: Obj, origin: Origin) -> None:
    """Cancel the default payment of an invoice that will not be paid with it."""
    for payment in account.payments_of(invoice):
        if payment["status"] != "open":
            continue
        payment["status"] = "canceled"
        payment["status_transitions"]["canceled_at"] = account.now
        intent = account.get("payment_intent", payment["payment"]["payment_intent"])
        intent |= {
            "status": "canceled",
            "canceled_at": account.now,
            "cancellation_reason": "void_invoice",
            "next_action": None,
        }
        account.emit("payment_intent.canceled", intent, origin)


def void(account: Account, invoice: Obj, origin: Origin) -> None:
    """Declare the invoice void. Raises StripeError 400 unless it is open or uncollectible."""
    if invoice["status"] not in ("open", "uncollectible"):
        raise _wrong_state(invoice, "void", "open or uncollectible")
    if invoice["amount_due"] > 0:
        check_payable(account, invoice)
    cancel_payment(account, invoice, origin)
    with account.changing(invoice, "invoice.updated", origin):
        invoice["status"] = "void"
        _close(invoice)
        invoice["status_transitions"]["voided_at"] = account.now
    account.emit("invoice.voided", invoice, origin)
    settle_standing(account, invoice, origin)


def mark_uncollectible(account: Account, invoice: Obj, origin: Origin, reason: str = "user_forgiven") -> None:
    """Write the invoice off; it may still be paid. Raises StripeError 400 unless it is open."""
    if invoice["status"] != "open":
        raise _wrong_state(invoice, "mark as uncollectible", "open")
    with account.changing(invoice, "invoice.updated", origin):
        invoice["status"] = "uncollectible"
        invoice["status_details"] = {"uncollectible": {"reason": reason}}
        _close(invoice)
        invoice["status_transitions"]["marked_uncollectible_at"] = account.now
    account.emit("invoice.marked_uncollectible", invoice, origin)
    if origin.initiator == "api":
        set_delinquent(account, account.get("customer", invoice["customer"]), False, origin)
    settle_standing(account, invoice, origin)


def _wrong_state(invoice: Obj, action: str, allowed: str) -> StripeError:
    return invalid_request(
        f"You can only {action} invoices that are {allowed}; this invoice is {invoice['status']}.",
        code="invoice_not_editable",
    )


def settle_processing(account: Account, invoice: Obj, outcome: Outcome) -> None:
    """The bank's late word on a payment that was processing. Raises StripeError 400 when none is."""
    intent = default_intent(account, invoice)
    if intent["status"] != "processing":
        raise invalid_request(f"No payment of invoice {invoice['id']} is processing.")
    settle(account, intent, outcome, STRIPE)
    conclude(account, invoice, outcome, STRIPE)
