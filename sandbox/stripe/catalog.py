"""Products and prices: what subscriptions and invoice items bill."""

from __future__ import annotations

from sandbox.stripe.errors import parameter_invalid, parameter_missing
from sandbox.stripe.forms import Params
from sandbox.stripe.http import Call, Endpoint
from sandbox.stripe.store import Account, Obj, Origin, new_id
from sandbox.stripe.wire import PAGE, matching, page

_INTERVALS = ("day", "week", "month", "year")
_PRICE = (
    "currency unit_amount product product_data recurring nickname lookup_key metadata active tax_behavior "
    "unit_amount_decimal billing_scheme"
)
PRICE_DATA = "currency unit_amount product product_data recurring tax_behavior"


def create_product(call: Call) -> Obj:
    """A new product."""
    return new_product(call.account, call.params, call.origin)


def new_product(account: Account, params: Params, origin: Origin) -> Obj:
    """Put a product into the books and say so in an event."""
    product = account.add(
        {
            "id": params.text("id") or new_id("prod", 14),
            "object": "product",
            "active": params.boolean("active", True),
            "attributes": [],
            "created": account.now,
            "default_price": None,
            "description": params.text("description"),
            "images": [],
            "livemode": False,
            "marketing_features": [],
            "metadata": params.metadata(),
            "name": params.required("name"),
            "package_dimensions": None,
            "shippable": None,
            "statement_descriptor": params.text("statement_descriptor"),
            "tax_code": None,
            "type": "service",
            "unit_label": None,
            "updated": account.now,
            "url": None,
        }
    )
    account.emit("product.created", product, origin)
    return product


def update_product(call: Call) -> Obj:
    """Change name, description, metadata or whether it is sold."""
    product, params = call.target("product"), call.params
    with call.account.changing(product, "product.updated", call.origin):
        for name in ("name", "description"):
            if params.has(name):
                product[name] = params.text(name)
        product["active"] = params.boolean("active", product["active"])
        product["metadata"] = params.metadata(product["metadata"])
    return product


def create_price(call: Call) -> Obj:
    """A new price, recurring or one-time, for a product or with `product_data`."""
    return new_price(call.account, call.params, call.origin)


def new_price(account: Account, params: Params, origin: Origin) -> Obj:
    """Put a price into the books (also one given inline as `price_data`). Amounts in minor units."""
    amount = params.integer("unit_amount")
    if amount is None:
        raise parameter_missing(params.name("unit_amount"))
    if amount < 0:
        raise parameter_invalid(params.name("unit_amount"), "This value must be greater than or equal to 0.")
    currency = params.required("currency").lower()
    recurring = _recurring(params)
    price = {
        "id": new_id("price"),
        "object": "price",
        "active": params.boolean("active", True),
        "billing_scheme": "per_unit",
        "created": account.now,
        "currency": currency,
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": params.text("lookup_key"),
        "metadata": params.metadata(),
        "nickname": params.text("nickname"),
        "product": _product(account, params, origin),
        "recurring": recurring,
        "tax_behavior": params.text("tax_behavior") or "unspecified",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "one_time" if recurring is None else "recurring",
        "unit_amount": amount,
        "unit_amount_decimal": str(amount),
    }
    account.add(price)
    account.emit("price.created", price, origin)
    return price


def _recurring(params: Params) -> Obj | None:
    recurring = params.child("recurring", "interval interval_count usage_type")
    if recurring is None:
        return None
    interval = recurring.required("interval")
    if interval not in _INTERVALS:
        raise parameter_invalid(
            recurring.name("interval"), f"Invalid interval: must be one of {', '.join(_INTERVALS)}"
        )
    if recurring.text("usage_type") not in (None, "licensed"):
        raise parameter_invalid(recurring.name("usage_type"), "The sandbox bills licensed prices only.")
    return {
        "interval": interval,
        "interval_count": recurring.integer("interval_count") or 1,
        "meter": None,
        "trial_period_days": None,
        "usage_type": "licensed",
    }


def _product(account: Account, params: Params, origin: Origin) -> str:
    data = params.child("product_data", "name metadata statement_descriptor")
    if data is not None:
        return str(new_product(account, data, origin)["id"])
    return str(account.get("product", params.required("product"), params.name("product"))["id"])


def update_price(call: Call) -> Obj:
    """Change nickname, metadata, lookup key or whether it is sold; never the amount."""
    price, params = call.target("price"), call.params
    with call.account.changing(price, "price.updated", call.origin):
        for name in ("nickname", "lookup_key"):
            if params.has(name):
                price[name] = params.text(name)
        price["active"] = params.boolean("active", price["active"])
        price["metadata"] = params.metadata(price["metadata"])
    return price


def list_prices(call: Call) -> Obj:
    """Prices, newest first, by product, type and currency."""
    rows = matching(call.account.rows("price"), call.params, "product", "type", "currency")
    return page(rows, call.params, call.path)


def plan_of(price: Obj) -> Obj:
    """The legacy plan object that Stripe still puts beside a recurring price."""
    recurring = price["recurring"] or {}
    return {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": "per_unit",
        "created": price["created"],
        "currency": price["currency"],
        "interval": recurring.get("interval"),
        "interval_count": recurring.get("interval_count"),
        "livemode": False,
        "metadata": dict(price["metadata"]),
        "meter": None,
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": None,
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": "licensed",
    }


ENDPOINTS = [
    Endpoint(
        "POST",
        "/v1/products",
        create_product,
        "id name description active metadata statement_descriptor",
    ),
    Endpoint("GET", "/v1/products", lambda call: call.rows("product"), PAGE),
    Endpoint("GET", "/v1/products/{id}", lambda call: call.target("product")),
    Endpoint("POST", "/v1/products/{id}", update_product, "name description active metadata"),
    Endpoint("POST", "/v1/prices", create_price, _PRICE),
    Endpoint("GET", "/v1/prices", list_prices, f"{PAGE} product type currency"),
    Endpoint("GET", "/v1/prices/{id}", lambda call: call.target("price")),
    Endpoint("POST", "/v1/prices/{id}", update_price, "nickname lookup_key active metadata"),
]
