"""The invoice endpoints, with invoice items and invoice payments."""

from __future__ import annotations

from sandbox.stripe import collection
from sandbox.stripe.catalog import PRICE_DATA, new_price
from sandbox.stripe.charging import needs_action, refused
from sandbox.stripe.drafting import add_line, new_invoice, open_invoice, sum_up
from sandbox.stripe.errors import invalid_request, parameter_invalid, parameter_missing
from sandbox.stripe.forms import Params
from sandbox.stripe.http import Call, Endpoint
from sandbox.stripe.ownership import living, own_method
from sandbox.stripe.store import Account, Obj, new_id, subscription_of
from sandbox.stripe.wire import PAGE, created_within, matching, page

_EDITABLE = "auto_advance default_payment_method description footer metadata payment_settings statement_descriptor"
_DRAFT_ONLY = "collection_method days_until_due due_date number"
_ITEM = (
    "amount currency customer description invoice metadata period price pricing price_data quantity subscription "
    "discountable"
)
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
    pending = _pending(account, customer) if behavior == "include" else []
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
        _bill(account, item, invoice)
    account.emit("invoice.created", invoice, call.origin)
    return invoice


def _pending(account: Account, customer: Obj) -> list[Obj]:
    return [
        row
        for row in account.rows("invoiceitem")
        if row["customer"] == customer["id"] and row["invoice"] is None
    ]


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
            f"Finalized invoices can't be updated in this way: {', '.join(locked)} can change on drafts only.",
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
    """Charge now, or mark as paid outside of Stripe. A draft is finalised first, as Stripe's CLI relies on."""
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
            "There is no payment method for this invoice: set the invoice's, the subscription's or the customer's "
            "default payment method, or pass payment_method.",
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
        raise invalid_request("You can only manually send an invoice if its collection method is send_invoice.")
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


def create_item(call: Call) -> Obj:
    """An amount to bill with the named draft, or with the customer's next one."""
    account, params = call.account, call.params
    customer = living(account, params.required("customer"))
    price = _item_price(call)
    quantity = params.integer("quantity") or 1
    amount = params.integer("amount")
    if amount is None and price is None:
        raise parameter_missing("amount")
    currency = price["currency"] if price is not None else (params.text("currency") or "usd").lower()
    draft = _draft(account, customer, params.text("invoice"), currency)
    period = params.child("period", "start end")
    start = None if period is None else period.integer("start")
    end = None if period is None else period.integer("end")
    item: Obj = {
        "id": new_id("ii"),
        "object": "invoiceitem",
        "amount": amount if price is None else price["unit_amount"] * quantity,
        "currency": currency,
        "customer": customer["id"],
        "date": call.now,
        "description": params.text("description"),
        "discountable": params.boolean("discountable", True),
        "discounts": [],
        "invoice": None,
        "livemode": False,
        "metadata": params.metadata(),
        "parent": None,
        "period": {"start": start or call.now, "end": end or call.now},
        "pricing": None if price is None else {"price_details": {"price": price["id"], "product": price["product"]}}
        | {"type": "price_details", "unit_amount_decimal": price["unit_amount_decimal"]},
        "proration": False,
        "quantity": quantity,
        "tax_rates": [],
        "test_clock": None,
    }
    account.add(item)
    if draft is not None:
        _bill(account, item, draft)
    account.emit("invoiceitem.created", item, call.origin)
    return item


def _item_price(call: Call) -> Obj | None:
    params, account = call.params, call.account
    pricing = params.child("pricing", "price")
    wanted = params.text("price") if pricing is None else pricing.required("price")
    if wanted is not None:
        return account.get("price", wanted, "price")
    data = params.child("price_data", PRICE_DATA)
    return None if data is None else new_price(account, data, call.origin)


def _draft(account: Account, customer: Obj, wanted: str | None, currency: str) -> Obj | None:
    if wanted is None:
        return None
    draft = account.get("invoice", wanted, "invoice")
    if draft["status"] != "draft":
        raise invalid_request(
            "The invoice is no longer a draft: items can be added to drafts only.",
            code="invoice_not_editable",
            param="invoice",
        )
    if draft["customer"] != customer["id"] or draft["currency"] != currency:
        raise parameter_invalid("invoice", "The invoice belongs to another customer or has another currency.")
    return draft


def _bill(account: Account, item: Obj, invoice: Obj) -> None:
    details = {"invoice_item": item["id"], "proration": False, "proration_details": None, "subscription": None}
    pricing = item["pricing"]
    add_line(
        invoice,
        amount=item["amount"],
        description=item["description"],
        period=(item["period"]["start"], item["period"]["end"]),
        parent={
            "invoice_item_details": details,
            "subscription_item_details": None,
            "type": "invoice_item_details",
        },
        price=None if pricing is None else account.get("price", pricing["price_details"]["price"]),
        quantity=item["quantity"],
        metadata=dict(item["metadata"]),
    )
    item["invoice"] = invoice["id"]


def delete_item(call: Call) -> Obj:
    """Delete an item that no finalised invoice bills."""
    account, item = call.account, call.target("invoiceitem")
    if item["invoice"] is not None:
        invoice = account.get("invoice", item["invoice"])
        if invoice["status"] != "draft":
            raise invalid_request("The item is on a finalized invoice.", code="invoice_not_editable")
        lines = invoice["lines"]["data"]
        lines[:] = [
            line
            for line in lines
            if (line["parent"]["invoice_item_details"] or {}).get("invoice_item") != item["id"]
        ]
        sum_up(invoice)
    account.remove(item)
    account.emit("invoiceitem.deleted", item, call.origin)
    return {"id": item["id"], "object": "invoiceitem", "deleted": True}


def list_items(call: Call) -> Obj:
    """Invoice items by customer, invoice, and whether they are still pending."""
    rows = matching(call.account.rows("invoiceitem"), call.params, "customer", "invoice")
    if call.params.boolean("pending"):
        rows = [row for row in rows if row["invoice"] is None]
    return page(rows, call.params, call.path)


def list_payments(call: Call) -> Obj:
    """Invoice payments of an invoice, or those that a PaymentIntent pays."""
    params = call.params
    rows = matching(call.account.rows("invoice_payment"), params, "invoice", "status")
    payment = params.child("payment", "type payment_intent payment_record")
    if payment is not None:
        kind = payment.required("type")
        wanted = payment.text(kind)
        rows = [row for row in rows if wanted is None or row["payment"].get(kind) == wanted]
    return page(created_within(rows, params), params, call.path)


_CREATE = f"{_EDITABLE} {_DRAFT_ONLY} customer currency pending_invoice_items_behavior subscription"
ENDPOINTS = [
    Endpoint("POST", "/v1/invoices", create, _CREATE),
    Endpoint("GET", "/v1/invoices", list_invoices, f"{PAGE} customer status subscription created collection_method"),
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
    Endpoint("POST", "/v1/invoiceitems", create_item, _ITEM),
    Endpoint("GET", "/v1/invoiceitems", list_items, f"{PAGE} customer invoice pending created"),
    Endpoint("GET", "/v1/invoiceitems/{id}", lambda call: call.target("invoiceitem")),
    Endpoint("DELETE", "/v1/invoiceitems/{id}", delete_item),
    Endpoint("GET", "/v1/invoice_payments", list_payments, f"{PAGE} invoice payment status created"),
    Endpoint("GET", "/v1/invoice_payments/{id}", lambda call: call.target("invoice_payment")),
]
