"""What goes over the wire: includable fields, `expand`, and lists with cursors."""

from __future__ import annotations

from typing import Any

from sandbox.stripe.errors import invalid_request, parameter_invalid
from sandbox.stripe.forms import Params
from sandbox.stripe.store import Account, Obj, list_object, plain_copy

_MAX_DEPTH = 4
PAGE = "limit starting_after ending_before"


def includable(account: Account, obj: Obj, name: str) -> Any:
    """The value of a field that Stripe returns only on request ("includable"). KeyError if there is none."""
    kind = obj.get("object")
    if kind == "invoice" and name == "payments":
        return list_object(f"/v1/invoice_payments?invoice={obj['id']}", account.payments_of(obj))
    if kind == "invoice" and name == "confirmation_secret":
        return _confirmation_secret(account, obj)
    if kind == "invoice" and name == "amount_paid_off_stripe":
        return account.paid_off_stripe.get(obj["id"], 0)
    if kind == "customer" and name == "subscriptions":
        rows = [row for row in account.rows("subscription") if row["customer"] == obj["id"]]
        running = [row for row in rows if row["status"] not in ("canceled", "incomplete_expired")]
        return list_object(f"/v1/customers/{obj['id']}/subscriptions", running)
    if kind == "charge" and name == "refunds":
        rows = [row for row in account.rows("refund") if row["charge"] == obj["id"]]
        return list_object(f"/v1/charges/{obj['id']}/refunds", rows)
    raise KeyError(name)


def _confirmation_secret(account: Account, invoice: Obj) -> Obj | None:
    default = next((row for row in account.payments_of(invoice) if row["is_default"]), None)
    if default is None:
        return None
    intent = account.get("payment_intent", default["payment"]["payment_intent"])
    return {"client_secret": intent["client_secret"], "type": "payment_intent"}


def render(account: Account, obj: Obj, expand: list[str]) -> Obj:
    """`obj` with the paths of `expand` replaced by objects, in a copy; what expands nothing is not copied.

    Raises StripeError 400 for a path that cannot be expanded or goes deeper than four levels.
    """
    rendered: Obj = plain_copy(obj) if expand else obj
    for path in expand:
        parts = path.split(".")
        if len(parts) > _MAX_DEPTH:
            raise invalid_request(
                f"You cannot expand more than {_MAX_DEPTH} levels of a property. Property: {path}",
                param="expand",
                stored=False,
            )
        _expand(account, rendered, parts, path)
    return rendered


def _expand(account: Account, node: Obj, parts: list[str], path: str) -> None:
    head, rest = parts[0], parts[1:]
    if head not in node:
        try:
            node[head] = plain_copy(includable(account, node, head))
        except KeyError:
            raise _not_expandable(path) from None
    value = node[head]
    if isinstance(value, str):
        target = account.find(value)
        if target is None:
            raise _not_expandable(path)
        value = node[head] = plain_copy(target)
    elif not rest and not isinstance(value, (dict, list, type(None))):
        raise _not_expandable(path)
    if not rest:
        return
    for child in value if isinstance(value, list) else [value]:
        if isinstance(child, dict):
            _expand(account, child, rest, path)


def _not_expandable(path: str) -> Exception:
    return invalid_request(
        f"This property cannot be expanded ({path}). "
        "You may want to try expanding it on the object that holds it.",
        param="expand",
        stored=False,
    )


def page(rows: list[Obj], params: Params, url: str) -> Obj:
    """One page of `rows` (newest first), by `limit` (1 to 100, default 10) and a cursor id."""
    limit = params.integer("limit")
    limit = 10 if limit is None else limit
    if not 1 <= limit <= 100:
        raise parameter_invalid("limit", "Invalid limit: must be between 1 and 100")
    after, before = params.text("starting_after"), params.text("ending_before")
    if after is not None and before is not None:
        raise parameter_invalid("ending_before", "You cannot use both starting_after and ending_before.")
    if before is not None:
        start = _position(rows, before, "ending_before")
        first = max(0, start - limit)
        return {"object": "list", "data": rows[first:start], "has_more": first > 0, "url": url}
    first = 0 if after is None else _position(rows, after, "starting_after") + 1
    chosen = rows[first : first + limit]
    return {"object": "list", "data": chosen, "has_more": first + limit < len(rows), "url": url}


def _position(rows: list[Obj], identifier: str, param: str) -> int:
    for index, row in enumerate(rows):
        if row["id"] == identifier:
            return index
    raise invalid_request(f"No such object: '{identifier}'", code="resource_missing", param=param)


def created_within(rows: list[Obj], params: Params) -> list[Obj]:
    """The rows inside the `created` filter: a moment, or an interval of gt, gte, lt, lte."""
    if not params.has("created"):
        return rows
    if isinstance(params.values["created"], str):
        moment = params.integer("created")
        return [row for row in rows if row["created"] == moment]
    interval = params.child("created", "gt gte lt lte")
    if interval is None:
        return rows
    low, floor = interval.integer("gt"), interval.integer("gte")
    high, ceiling = interval.integer("lt"), interval.integer("lte")
    return [
        row
        for row in rows
        if (low is None or row["created"] > low)
        and (floor is None or row["created"] >= floor)
        and (high is None or row["created"] < high)
        and (ceiling is None or row["created"] <= ceiling)
    ]


def matching(rows: list[Obj], params: Params, *names: str) -> list[Obj]:
    """The rows whose plain fields equal the filters of `names` that were sent."""
    wanted = {name: params.text(name) for name in names if params.has(name)}
    return [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]
