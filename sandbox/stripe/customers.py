"""Customers: who owes, where to write, and which payment method their invoices use."""

from __future__ import annotations

from sandbox.stripe.forms import Params
from sandbox.stripe.http import Call, Endpoint
from sandbox.stripe.lifecycle import cancel_now
from sandbox.stripe.methods import attach_to, method_for
from sandbox.stripe.ownership import own_method, refuse_deleted
from sandbox.stripe.store import Account, Obj, new_id
from sandbox.stripe.wire import PAGE, created_within, matching, page

_TEXTS = ("description", "email", "name", "phone")
_FIELDS = (
    "address description email name phone metadata preferred_locales shipping invoice_settings tax_exempt"
)


def create(call: Call) -> Obj:
    """A new customer; `payment_method` is attached to it and may become the invoice default."""
    account, params = call.account, call.params
    customer: Obj = {
        "id": new_id("cus", 14),
        "object": "customer",
        "address": params.plain("address"),
        "balance": 0,
        "created": call.now,
        "currency": None,
        "customer_account": None,
        "default_source": None,
        "delinquent": False,
        "description": params.text("description"),
        "discount": None,
        "email": params.text("email"),
        "invoice_prefix": new_id("x", 8)[2:].upper(),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": params.metadata(),
        "name": params.text("name"),
        "next_invoice_sequence": 1,
        "phone": params.text("phone"),
        "preferred_locales": params.texts("preferred_locales"),
        "shipping": params.plain("shipping"),
        "tax_exempt": params.text("tax_exempt") or "none",
        "test_clock": None,
    }
    method = params.text("payment_method")
    account.add(customer)
    try:
        attached = None if method is None else method_for(account, method, "payment_method")
        if attached is not None:
            attach_to(account, attached, customer, call.origin)
        _apply_invoice_settings(account, customer, params)
    except Exception:
        account.remove(customer)
        raise
    account.emit("customer.created", customer, call.origin)
    return customer


def update(call: Call) -> Obj:
    """Change what was sent; an empty value unsets."""
    account, params, customer = call.account, call.params, call.target("customer")
    refuse_deleted(customer)
    metadata = params.metadata(customer["metadata"])
    with account.changing(customer, "customer.updated", call.origin):
        _apply_invoice_settings(account, customer, params)
        for name in (*_TEXTS, "tax_exempt"):
            if params.has(name):
                customer[name] = params.text(name)
        for name in ("address", "shipping"):
            if params.has(name):
                customer[name] = params.plain(name)
        if params.has("preferred_locales"):
            customer["preferred_locales"] = params.texts("preferred_locales")
        customer["metadata"] = metadata
    return customer


def _apply_invoice_settings(account: Account, customer: Obj, params: Params) -> None:
    settings = params.child("invoice_settings", "default_payment_method footer")
    if settings is None:
        return
    if settings.has("default_payment_method"):
        wanted = settings.text("default_payment_method")
        if wanted is not None:
            own_method(account, customer, wanted, settings.name("default_payment_method"))
        customer["invoice_settings"]["default_payment_method"] = wanted
    if settings.has("footer"):
        customer["invoice_settings"]["footer"] = settings.text("footer")


def delete(call: Call) -> Obj:
    """Delete a customer: subscriptions are canceled, cards detached; reading it says `deleted`."""
    account, customer = call.account, call.target("customer")
    refuse_deleted(customer)
    for subscription in account.rows("subscription"):
        if subscription["customer"] == customer["id"] and subscription["status"] != "canceled":
            cancel_now(account, subscription, call.origin)
    for method in account.rows("payment_method"):
        if method["customer"] == customer["id"]:
            method["customer"] = None
    account.emit("customer.deleted", customer, call.origin)
    identifier = customer["id"]
    customer.clear()
    customer.update({"id": identifier, "object": "customer", "deleted": True})
    return customer


def list_customers(call: Call) -> Obj:
    """Customers, newest first, by e-mail and creation."""
    rows = [row for row in call.account.rows("customer") if not row.get("deleted")]
    return page(created_within(matching(rows, call.params, "email"), call.params), call.params, call.path)


def list_methods(call: Call) -> Obj:
    """The payment methods attached to a customer."""
    customer = call.target("customer")
    rows = [row for row in call.account.rows("payment_method") if row["customer"] == customer["id"]]
    return page(matching(rows, call.params, "type"), call.params, call.path)


def retrieve_method(call: Call) -> Obj:
    """One payment method of a customer."""
    return own_method(call.account, call.target("customer"), call.ids["method"], "payment_method")


ENDPOINTS = [
    Endpoint("POST", "/v1/customers", create, f"{_FIELDS} payment_method"),
    Endpoint("GET", "/v1/customers", list_customers, f"{PAGE} email created"),
    Endpoint("GET", "/v1/customers/{id}", lambda call: call.target("customer")),
    Endpoint("POST", "/v1/customers/{id}", update, _FIELDS),
    Endpoint("DELETE", "/v1/customers/{id}", delete),
    Endpoint("GET", "/v1/customers/{id}/payment_methods", list_methods, f"{PAGE} type allow_redisplay"),
    Endpoint("GET", "/v1/customers/{id}/payment_methods/{method}", retrieve_method),
]
