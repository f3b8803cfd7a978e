"""Invoice items, and the payments of invoices."""

from __future__ import annotations

from sandbox.stripe.catalog import PRICE_DATA, new_price
from sandbox.stripe.drafting import add_line, sum_up
from sandbox.stripe.errors import invalid_request, parameter_invalid, parameter_missing
from sandbox.stripe.http import Call, Endpoint
from sandbox.stripe.ownership import living
from sandbox.stripe.store import Account, Obj, new_id
from sandbox.stripe.wire import PAGE, created_within, matching, page

_ITEM = (
    "amount currency customer description invoice metadata period price pricing price_data quantity "
    "discountable"
)


def pending_items(account: Account, customer: Obj) -> list[Obj]:
    """What waits to be billed with the customer's next invoice, newest first."""
    return [
        row
        for row in account.rows("invoiceitem")
        if row["customer"] == customer["id"] and row["invoice"] is None
    ]


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
        "pricing": None
        if price is None
        else {"price_details": {"price": price["id"], "product": price["product"]}}
        | {"type": "price_details", "unit_amount_decimal": price["unit_amount_decimal"]},
        "proration": False,
        "quantity": quantity,
        "tax_rates": [],
        "test_clock": None,
    }
    account.add(item)
    if draft is not None:
        bill(account, item, draft)
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


def bill(account: Account, item: Obj, invoice: Obj) -> None:
    """Put a pending item on a draft."""
    details = {
        "invoice_item": item["id"],
        "proration": False,
        "proration_details": None,
        "subscription": None,
    }
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


ENDPOINTS = [
    Endpoint("POST", "/v1/invoiceitems", create_item, _ITEM),
    Endpoint("GET", "/v1/invoiceitems", list_items, f"{PAGE} customer invoice pending created"),
    Endpoint("GET", "/v1/invoiceitems/{id}", lambda call: call.target("invoiceitem")),
    Endpoint("DELETE", "/v1/invoiceitems/{id}", delete_item),
    Endpoint("GET", "/v1/invoice_payments", list_payments, f"{PAGE} invoice payment status created"),
    Endpoint("GET", "/v1/invoice_payments/{id}", lambda call: call.target("invoice_payment")),
]
