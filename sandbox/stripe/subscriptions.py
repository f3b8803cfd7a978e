"""The subscription endpoints."""

from __future__ import annotations

from sandbox.stripe import collection
from sandbox.stripe.catalog import PRICE_DATA, new_price, plan_of
from sandbox.stripe.charging import needs_action, refused
from sandbox.stripe.drafting import open_invoice
from sandbox.stripe.errors import invalid_request, parameter_invalid, parameter_missing
from sandbox.stripe.forms import Params
from sandbox.stripe.http import Call, Endpoint
from sandbox.stripe.lifecycle import (
    INCOMPLETE_LIFE,
    bill_period,
    cancel_now,
    set_pause_collection,
    start_period,
)
from sandbox.stripe.ownership import living, own_method
from sandbox.stripe.standing import FINISHED
from sandbox.stripe.store import Account, Obj, list_object, new_id
from sandbox.stripe.wire import PAGE, created_within, matching, page

_ITEM = "id price price_data quantity metadata deleted"
_BEHAVIORS = ("allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete")
_COMMON = (
    "items default_payment_method collection_method days_until_due metadata description payment_settings "
    "payment_behavior cancel_at_period_end cancel_at off_session proration_behavior trial_end"
)
_PAUSE_BEHAVIORS = ("keep_as_draft", "mark_uncollectible", "void")


def create(call: Call) -> Obj:
    """A new subscription and its first invoice, paid at once unless `payment_behavior` says otherwise."""
    account, params = call.account, call.params
    customer = living(account, params.required("customer"))
    behavior = params.choice("payment_behavior", _BEHAVIORS, "allow_incomplete")
    subscription = _new(call, customer)
    subscription |= _changes(account, customer, params)
    automatic = subscription["collection_method"] == "charge_automatically"
    trial_end = _trial_end(call)
    can_pay = subscription["default_payment_method"] or customer["invoice_settings"]["default_payment_method"]
    if automatic and not can_pay and trial_end is None and behavior != "default_incomplete":
        raise invalid_request(
            "This customer has no attached payment source or default payment method. Please consider adding "
            "a default payment method.",
            code="resource_missing",
        )
    _items(call, subscription)
    if not subscription["items"]["data"]:
        raise parameter_missing("items")
    subscription["currency"] = subscription["items"]["data"][0]["price"]["currency"]
    start_period(subscription, call.now)
    if trial_end is not None:
        subscription |= {"status": "trialing", "trial_start": call.now, "trial_end": trial_end}
        for item in subscription["items"]["data"]:
            item["current_period_end"] = trial_end
        account.books.wake(trial_end)
    _cancel_at_period_end(account, subscription, params)
    account.add(subscription)
    _first_invoice(call, subscription, behavior or "", automatic, free=trial_end is not None)
    return subscription


def _first_invoice(call: Call, subscription: Obj, behavior: str, automatic: bool, *, free: bool) -> None:
    account = call.account
    invoice = bill_period(
        account, subscription, "subscription_create", call.origin, auto_advance=not automatic, free=free
    )
    open_invoice(account, invoice, call.origin)
    if not automatic and not free:
        subscription["status"] = "active"
    account.emit("customer.subscription.created", subscription, call.origin)
    if invoice["amount_due"] == 0:
        collection.mark_paid(account, invoice, call.origin)
    elif automatic:
        account.books.wake(subscription["created"] + INCOMPLETE_LIFE)
        method = collection.method_to_charge(account, invoice)
        if behavior == "default_incomplete" or method is None:
            return
        answer = collection.collect(account, invoice, method, call.origin)
        if behavior != "error_if_incomplete" or answer.kind in ("succeeded", "processing"):
            return
        intent = collection.default_intent(account, invoice)
        refusal = (
            needs_action(intent, method) if answer.kind == "authentication_required" else refused(intent)
        )
        collection.void(account, invoice, call.origin)
        account.remove(subscription)
        raise refusal


def _new(call: Call, customer: Obj) -> Obj:
    identifier = new_id("sub")
    mode = call.params.child("billing_mode", "type flexible")
    return {
        "id": identifier,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": call.now,
        "billing_cycle_anchor_config": None,
        "billing_mode": {"flexible": None, "type": (mode and mode.text("type")) or "flexible"},
        "billing_schedules": [],
        "billing_thresholds": None,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically",
        "created": call.now,
        "currency": "",
        "customer": customer["id"],
        "customer_account": None,
        "days_until_due": None,
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "ended_at": None,
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "items": list_object(f"/v1/subscription_items?subscription={identifier}", []),
        "latest_invoice": None,
        "livemode": False,
        "metadata": call.params.metadata(),
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": None,
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        },
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": None,
        "start_date": call.now,
        "status": "incomplete",
        "status_details": None,
        "test_clock": None,
        "transfer_data": None,
        "trial_end": None,
        "trial_settings": {"end_behavior": {"missing_payment_method": _end_behavior(call.params)}},
        "trial_start": None,
    }


def _end_behavior(params: Params) -> str:
    settings = params.child("trial_settings", "end_behavior")
    behavior = None if settings is None else settings.child("end_behavior", "missing_payment_method")
    if behavior is None:
        return "create_invoice"
    allowed = ("cancel", "create_invoice", "pause")
    return behavior.choice("missing_payment_method", allowed) or "create_invoice"


def _trial_end(call: Call) -> int | None:
    days = call.params.integer("trial_period_days")
    if days is not None:
        return call.now + days * 86400
    return None if call.params.text("trial_end") == "now" else call.params.integer("trial_end")


def _items(call: Call, subscription: Obj) -> None:
    """Add, change or delete items; there is no proration in the sandbox, so changes must ask for none."""
    account = call.account
    items: list[Obj] = subscription["items"]["data"]
    for sent in call.params.children("items", _ITEM):
        known = sent.text("id")
        if known is not None:
            item = next((row for row in items if row["id"] == known), None)
            if item is None:
                raise invalid_request(
                    f"No such subscription item: '{known}'", code="resource_missing", param=sent.name("id")
                )
            if sent.boolean("deleted"):
                items.remove(item)
                account.remove(item)
                continue
        else:
            item = _new_item(call, subscription)
            items.append(item)
        if known is None or sent.has("price") or sent.has("price_data"):
            price = _price(call, sent)
            item |= {"price": dict(price), "plan": plan_of(price)}
        item["quantity"] = sent.integer("quantity") or item["quantity"]
        item["metadata"] = sent.metadata(item["metadata"])
        account.add(item)
    subscription["items"]["total_count"] = len(items)


def _price(call: Call, sent: Params) -> Obj:
    data = sent.child("price_data", PRICE_DATA)
    price = (
        call.account.get("price", sent.required("price"), sent.name("price"))
        if data is None
        else new_price(call.account, data, call.origin)
    )
    if price["recurring"] is None:
        raise parameter_invalid(
            sent.name("price"), f"The price {price['id']} is one-time: a subscription needs a recurring one."
        )
    return price


def _new_item(call: Call, subscription: Obj) -> Obj:
    return {
        "id": new_id("si", 14),
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": call.now,
        "current_period_end": call.now,
        "current_period_start": call.now,
        "discounts": [],
        "metadata": {},
        "plan": None,
        "price": None,
        "quantity": 1,
        "subscription": subscription["id"],
        "tax_rates": [],
    }


def _changes(account: Account, customer: Obj, params: Params) -> Obj:
    changes: Obj = {}
    if params.has("default_payment_method"):
        wanted = params.text("default_payment_method")
        if wanted is not None:
            own_method(account, customer, wanted, "default_payment_method")
        changes["default_payment_method"] = wanted
    if params.has("description"):
        changes["description"] = params.text("description")
    if params.has("collection_method"):
        allowed = ("charge_automatically", "send_invoice")
        changes["collection_method"] = params.choice("collection_method", allowed)
        if changes["collection_method"] == "send_invoice" and not params.has("days_until_due"):
            raise parameter_missing("days_until_due")
    if params.has("days_until_due"):
        changes["days_until_due"] = params.integer("days_until_due")
    settings = params.child(
        "payment_settings", "payment_method_options payment_method_types save_default_payment_method"
    )
    if settings is not None:
        save = settings.choice("save_default_payment_method", ("off", "on_subscription"), "off")
        changes["payment_settings"] = {
            "payment_method_options": settings.plain("payment_method_options"),
            "payment_method_types": settings.texts("payment_method_types") or None,
            "save_default_payment_method": save,
        }
    return changes


def _cancel_at_period_end(account: Account, subscription: Obj, params: Params) -> None:
    if params.has("cancel_at"):
        subscription["cancel_at"] = params.integer("cancel_at")
    if params.has("cancel_at_period_end"):
        at_end = params.boolean("cancel_at_period_end")
        end = max(item["current_period_end"] for item in subscription["items"]["data"])
        reason = "cancellation_requested" if at_end else None
        subscription |= {
            "cancel_at_period_end": at_end,
            "cancel_at": end if at_end else None,
            "canceled_at": account.now if at_end else None,
            "cancellation_details": {"comment": None, "feedback": None, "reason": reason},
        }
    if subscription["cancel_at"] is not None:
        account.books.wake(subscription["cancel_at"])


def update(call: Call) -> Obj:
    """Change a subscription; `pause_collection=""` unsets the pause."""
    account, params, subscription = call.account, call.params, call.target("subscription")
    if subscription["status"] in FINISHED:
        raise invalid_request(
            "A canceled subscription can only update its cancellation_details and metadata.",
            code="resource_missing",
            param="id",
            status=404,
        )
    customer = account.get("customer", subscription["customer"])
    changes = _changes(account, customer, params)
    metadata = params.metadata(subscription["metadata"])
    pause = _pause(params)
    if params.has("items") and params.text("proration_behavior") != "none":
        raise parameter_invalid(
            "proration_behavior", "The sandbox simulates no proration: send proration_behavior=none."
        )
    trial_now = params.text("trial_end") == "now"
    if params.has("trial_end") and not trial_now:
        raise parameter_invalid("trial_end", "The sandbox can only end a trial: send trial_end=now.")
    with account.changing(subscription, "customer.subscription.updated", call.origin):
        _items(call, subscription)
        subscription |= changes
        subscription["metadata"] = metadata
        if params.has("pause_collection"):
            set_pause_collection(account, subscription, pause)
        _cancel_at_period_end(account, subscription, params)
        if trial_now and subscription["status"] == "trialing":
            subscription["trial_end"] = call.now
    if trial_now and subscription["status"] == "trialing":
        account.books.wake(call.now)
    return subscription


def _pause(params: Params) -> Obj | None:
    pause = params.child("pause_collection", "behavior resumes_at")
    if pause is None:
        return None
    pause.required("behavior")
    return {
        "behavior": pause.choice("behavior", _PAUSE_BEHAVIORS),
        "resumes_at": pause.integer("resumes_at"),
    }


def cancel(call: Call) -> Obj:
    """Cancel now."""
    params, subscription = call.params, call.target("subscription")
    if subscription["status"] in FINISHED:
        raise invalid_request(
            f"No such subscription: '{subscription['id']}'", code="resource_missing", param="id", status=404
        )
    if params.boolean("invoice_now") or params.boolean("prorate"):
        raise parameter_invalid("invoice_now", "The sandbox simulates neither invoice_now nor prorate.")
    details = params.child("cancellation_details", "comment feedback")
    cancel_now(
        call.account,
        subscription,
        call.origin,
        comment=None if details is None else details.text("comment"),
        feedback=None if details is None else details.text("feedback"),
    )
    return subscription


def list_subscriptions(call: Call) -> Obj:
    """Subscriptions, newest first; canceled ones only with `status=canceled`, `ended` or `all`."""
    params = call.params
    rows = matching(call.account.rows("subscription"), params, "customer", "collection_method")
    status, price = params.text("status"), params.text("price")
    if status == "ended":
        rows = [row for row in rows if row["status"] in FINISHED]
    elif status is None:
        rows = [row for row in rows if row["status"] != "canceled"]
    elif status != "all":
        rows = [row for row in rows if row["status"] == status]
    if price is not None:
        rows = [row for row in rows if any(item["price"]["id"] == price for item in row["items"]["data"])]
    return page(created_within(rows, params), params, call.path)


def list_items(call: Call) -> Obj:
    """The items of a subscription."""
    wanted = call.params.required("subscription")
    subscription = call.account.get("subscription", wanted, "subscription")
    return page(list(subscription["items"]["data"]), call.params, call.path)


ENDPOINTS = [
    Endpoint(
        "POST",
        "/v1/subscriptions",
        create,
        f"{_COMMON} customer trial_period_days trial_settings billing_mode",
        charges=True,
    ),
    Endpoint(
        "GET",
        "/v1/subscriptions",
        list_subscriptions,
        f"{PAGE} customer status price collection_method created",
    ),
    Endpoint("GET", "/v1/subscriptions/{id}", lambda call: call.target("subscription")),
    Endpoint("POST", "/v1/subscriptions/{id}", update, f"{_COMMON} pause_collection"),
    Endpoint("DELETE", "/v1/subscriptions/{id}", cancel, "cancellation_details invoice_now prorate"),
    Endpoint("GET", "/v1/subscription_items", list_items, f"{PAGE} subscription"),
    Endpoint("GET", "/v1/subscription_items/{id}", lambda call: call.target("subscription_item")),
]
