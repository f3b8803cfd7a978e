"""A large business at once: copies of a subscription, without the thousands of calls that would make them."""

from __future__ import annotations

import json

from sandbox.stripe.store import Account, Obj, new_id


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
