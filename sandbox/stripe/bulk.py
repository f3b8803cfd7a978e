"""Subscribers at once, without the calls that would make them: one as wished, or thousands of copies."""

from __future__ import annotations

import json
from typing import Any, Literal

from sandbox.stripe import catalog, customers, methods, subscriptions
from sandbox.stripe.forms import Params
from sandbox.stripe.http import Call
from sandbox.stripe.store import Account, Obj, Origin, new_id

CardOf = Literal["customer", "subscription"]


def subscribe(account: Account, customer: Obj, card: Obj, price: Obj, card_of: CardOf) -> dict[str, str]:
    """A customer whose card has paid the first month. It was long ago: no webhook tells of it.

    Each is given as the parameters of Stripe's own call that makes it, numbers as text; `card_of`: whose
    default method the card is. Returns the ids. Raises StripeError.
    """

    def call(**params: Any) -> Call:
        return Call(account, Params(params), "", {}, Origin())

    with account.books.unheard():
        method = methods.create(call(type="card", **card))["id"]
        default = {"default_payment_method": method}
        own = {"invoice_settings": default} if card_of == "customer" else {}
        who = customers.create(call(**customer, payment_method=method, **own))["id"]
        plan = catalog.create_price(call(recurring={"interval": "month"}, **price))["id"]
        own = default if card_of == "subscription" else {}
        subscription = subscriptions.create(call(customer=who, items=[{"price": plan}], **own))["id"]
    return {"subscription": subscription, "customer": who, "payment_method": method}


def multiply(account: Account, subscription: Obj, copies: int) -> list[dict[str, str]]:
    """As many subscribers more, each with its own customer, cards and subscription; nothing was ever billed.

    Returns the ids of each copy: `subscription`, `customer`, and the card that is charged: `payment_method`.
    """
    customer = account.get("customer", subscription["customer"])
    methods = [row for row in account.rows("payment_method") if row["customer"] == customer["id"]]
    items = subscription["items"]["data"]
    template = json.dumps([customer, *methods, {**subscription, "latest_invoice": None}, *items])
    old = [row["id"] for row in (customer, *methods, subscription, *items)]
    charged = subscription["default_payment_method"] or customer["invoice_settings"]["default_payment_method"]
    made = []
    for _ in range(copies):
        names = {name: new_id(name.partition("_")[0], len(name.partition("_")[2])) for name in old}
        text = template
        for name, fresh in names.items():
            text = text.replace(name, fresh)
        for row in json.loads(text):
            account.add(row)
        for method in methods:
            account.card_outcomes[names[method["id"]]] = account.card_outcomes[method["id"]]
        ids = {"subscription": subscription["id"], "customer": customer["id"], "payment_method": charged}
        made.append({kind: names.get(name, "") for kind, name in ids.items()})
    return made
