"""The invoice endpoints."""

from __future__ import annotations

from sandbox.stripe import collection
from sandbox.stripe.charging import needs_action, refused
from sandbox.stripe.drafting import new_invoice, open_invoice
from sandbox.stripe.errors import invalid_request, parameter_invalid, parameter_missing
from sandbox.stripe.forms import Params
from sandbox.stripe.http import Call, Endpoint
from sandbox.stripe.invoice_items import bill, pending_items
from sandbox.stripe.lifecycle import next_invoice
from sandbox.stripe.ownership import living, own_method
from sandbox.stripe.store import Account, Obj, subscription_of
from sandbox.stripe.wire import PAGE, created_within, matching, page

_EDITABLE = (
    "auto_advance default_payment_method description footer metadata payment_settings statement_descriptor"
)
_DRAFT_ONLY = "collection_method days_until_due due_date number"
_METHODS = ("charge_automatically", "send_invoice")


def create(call: Call) -> Obj:
    """A draft; `pending_invoice_items_behavior=include` takes the customer's pending items along."""
    account, params = call.account, call.params
    customer = living(account, params.required("customer"))
    behavior = params.choice("pending_invoice_items_behavior", ("exclude", "include"), "exclude")
    wanted = params.text("subscription")
    subscription = None if wanted is None else account.get("subscription", wanted, "subscription")
    method = params.choice("collection_method", _METHODS, "charge_automatically") or ""
    days, due = params.integer("days_until_due"), params.integer("due_date")
    if method == "send_invoice" and days is None and due is None:
        raise parameter_missing("days_until_due")
    pending = pending_items(account, customer) if behavior == "include" else []
    currency = params.text("currency") or (pending[0]["currency"] if pending else "usd")
    changes = _changes(account, customer, params)
    invoice = new_invoice(
        account,
        customer,
        currency=currency.lower(),
        billing_reason="manual",
        subscription=subscription,
        collection_method=method,
        days_until_due=days,
        auto_advance=params.boolean("auto_advance"),
    )
    invoice |= changes
    if due is not None:
        invoice["due_date"] = due
        account.books.wake(due)
    for item in reversed(pending):
        bill(account, item, invoice)
    account.emit("invoice.created", invoice, call.origin)
    return invoice


def _changes(account: Account, customer: Obj, params: Params) -> Obj:
    """The fields of `_EDITABLE` (except auto_advance) and `_DRAFT_ONLY` that were sent."""
    changes: Obj = {name: params.text(name) for name in ("description", "footer") if params.has(name)}
    for name in ("number", "statement_descriptor"):
        if params.has(name):
            changes[name] = params.text(name)
    if params.has("default_payment_method"):
        wanted = params.text("default_payment_method")
        if wanted is not None:
            own_method(account, customer, wanted, "default_payment_method")
        changes["default_payment_method"] = wanted
    if params.has("metadata"):
        changes["metadata"] = params.metadata()
    settings = params.child("payment_settings", "default_mandate payment_method_options payment_method_types")
    if settings is not None:
        changes["payment_settings"] = {
            "default_mandate": settings.text("default_mandate"),
            "payment_method_options": settings.plain("payment_method_options"),
            "payment_method_types": settings.texts("payment_method_types") or None,
        }
    return changes


def update(call: Call) -> Obj:
    """Change an invoice; after finalisation only what Stripe still lets one change."""
    account, params, invoice = call.account, call.params, call.target("invoice")
    locked = [name for name in _DRAFT_ONLY.split() if params.has(name)]
    if invoice["status"] != "draft" and locked:
        raise invalid_request(
            f"Finalized invoices can't be updated in this way: {', '.join(locked)} can change on drafts.",
            code="invoice_not_editable",
            param=locked[0],
        )
    changes = _changes(account, account.get("customer", invoice["customer"]), params)
    if params.has("metadata"):
        changes["metadata"] = params.metadata(invoice["metadata"])
    if params.has("collection_method"):
        changes["collection_method"] = params.choice("collection_method", _METHODS)
    if params.has("due_date"):
        changes["due_date"] = params.integer("due_date")
    days = params.integer("days_until_due")
    if days is not None:
        changes["due_date"] = call.now + days * 86400
    if params.has("auto_advance"):
        changes["auto_advance"] = params.boolean("auto_advance") and invoice["status"] in ("draft", "open")
    with account.changing(invoice, "invoice.updated", call.origin):
        invoice |= changes
        if invoice["status"] == "draft" and "auto_advance" in changes:
            due = call.now + 3600 if invoice["auto_advance"] else None
            invoice["automatically_finalizes_at"] = due
            if due is not None:
                account.books.wake(due)
        invoice["next_payment_attempt"] = collection.next_attempt(account, invoice)
    return invoice


def finalize(call: Call) -> Obj:
    """Draft to open. With `auto_advance` Stripe tries to collect by itself an hour later."""
    account, invoice = call.account, call.target("invoice")
    advance = call.params.boolean("auto_advance", bool(invoice["auto_advance"]))
    open_invoice(account, invoice, call.origin)
    invoice["auto_advance"] = advance
    if invoice["amount_due"] == 0:
        collection.mark_paid(account, invoice, call.origin)
    elif advance and invoice["collection_method"] == "charge_automatically":
        collection_due = call.now + 3600
        account.retry_schedule[invoice["id"]] = [collection_due]
        invoice["next_payment_attempt"] = collection_due
        account.books.wake(collection_due)
    return invoice


def pay(call: Call) -> Obj:
    """Charge now, or mark as paid outside of Stripe. A draft is finalised first (Stripe's CLI needs it)."""
    account, params, invoice = call.account, call.params, call.target("invoice")
    params.boolean("off_session", True)
    if params.has("source") or params.has("mandate") or params.boolean("forgive"):
        raise parameter_invalid("source", "The sandbox simulates neither sources nor mandates nor forgiving.")
    if invoice["status"] != "draft" and invoice["amount_due"] > 0:
        collection.check_payable(account, invoice)
    wanted = params.text("payment_method")
    customer = account.get("customer", invoice["customer"])
    out_of_band = params.boolean("paid_out_of_band")
    method = None
    if not out_of_band:
        method = (
            collection.method_to_charge(account, invoice)
            if wanted is None
            else own_method(account, customer, wanted, "payment_method")
        )
    if method is None and not out_of_band and invoice["amount_due"] > 0:
        raise invalid_request(
            "There is no payment method for this invoice: set the default payment method of the invoice, the "
            "subscription or the customer, or pass payment_method.",
            code="resource_missing",
            param="payment_method",
        )
    if invoice["status"] == "draft":
        open_invoice(account, invoice, call.origin)
    elif invoice["status"] not in ("open", "uncollectible"):
        collection.check_payable(account, invoice)
    if out_of_band or invoice["amount_due"] == 0:
        collection.mark_paid(account, invoice, call.origin, out_of_band=out_of_band)
        return invoice
    assert method is not None
    answer = collection.collect(account, invoice, method, call.origin)
    intent = collection.default_intent(account, invoice)
    if answer.kind == "authentication_required":
        raise needs_action(intent, method)
    if answer.kind in ("declined", "blocked"):
        raise refused(intent)
    return invoice


def preview(call: Call) -> Obj:
    """What a subscription's next renewal will cost. Changes are not simulated."""
    return next_invoice(call.account, call.account.get("subscription", call.params.required("subscription")))


def void(call: Call) -> Obj:
    """Open or uncollectible to void."""
    invoice = call.target("invoice")
    collection.void(call.account, invoice, call.origin)
    return invoice


def mark_uncollectible(call: Call) -> Obj:
    """Open to uncollectible."""
    invoice = call.target("invoice")
    collection.mark_uncollectible(call.account, invoice, call.origin)
    return invoice


def send(call: Call) -> Obj:
    """Send a `send_invoice` invoice; a draft is finalised first. The mail itself is not simulated."""
    account, invoice = call.account, call.target("invoice")
    if invoice["collection_method"] != "send_invoice":
        raise invalid_request(
            "You can only manually send an invoice if its collection method is send_invoice."
        )
    if invoice["status"] == "draft":
        open_invoice(account, invoice, call.origin)
    account.emit("invoice.sent", invoice, call.origin)
    return invoice


def delete(call: Call) -> Obj:
    """Delete a draft; its items become pending again."""
    account, invoice = call.account, call.target("invoice")
    if invoice["status"] != "draft":
        raise invalid_request("You can only delete draft invoices.", code="invoice_not_editable")
    for item in account.rows("invoiceitem"):
        if item["invoice"] == invoice["id"]:
            item["invoice"] = None
    account.remove(invoice)
    account.emit("invoice.deleted", invoice, call.origin)
    return {"id": invoice["id"], "object": "invoice", "deleted": True}


def list_invoices(call: Call) -> Obj:
    """Invoices, newest first, by customer, status, subscription, collection method and creation."""
    params = call.params
    rows = matching(call.account.rows("invoice"), params, "customer", "status", "collection_method")
    wanted = params.text("subscription")
    if wanted is not None:
        rows = [row for row in rows if subscription_of(row) == wanted]
    return page(created_within(rows, params), params, call.path)


def list_lines(call: Call) -> Obj:
    """The lines of an invoice."""
    return page(call.target("invoice")["lines"]["data"], call.params, call.path)


_CREATE = f"{_EDITABLE} {_DRAFT_ONLY} customer currency pending_invoice_items_behavior subscription"
ENDPOINTS = [
    Endpoint("POST", "/v1/invoices", create, _CREATE),
    Endpoint(
        "GET", "/v1/invoices", list_invoices, f"{PAGE} customer status subscription created collection_method"
    ),
    Endpoint("POST", "/v1/invoices/create_preview", preview, "subscription"),
    Endpoint("GET", "/v1/invoices/{id}", lambda call: call.target("invoice")),
    Endpoint("POST", "/v1/invoices/{id}", update, f"{_EDITABLE} {_DRAFT_ONLY}"),
    Endpoint("DELETE", "/v1/invoices/{id}", delete),
    Endpoint("GET", "/v1/invoices/{id}/lines", list_lines, PAGE),
    Endpoint("POST", "/v1/invoices/{id}/finalize", finalize, "auto_advance"),
    Endpoint(
        "POST",
        "/v1/invoices/{id}/pay",
        pay,
        "payment_method off_session paid_out_of_band source mandate forgive",
        charges=True,
    ),
    Endpoint("POST", "/v1/invoices/{id}/void", void),
    Endpoint("POST", "/v1/invoices/{id}/mark_uncollectible", mark_uncollectible),
    Endpoint("POST", "/v1/invoices/{id}/send", send),
]
