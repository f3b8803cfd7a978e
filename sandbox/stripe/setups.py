"""Setup intents, portal sessions, and the account itself: what stands around payments."""

from __future__ import annotations

from sandbox.stripe.errors import StripeError, invalid_request, parameter_invalid, parameter_missing
from sandbox.stripe.forms import Params
from sandbox.stripe.http import Call, Endpoint
from sandbox.stripe.methods import attach_to, method_for, refuse_decline_card
from sandbox.stripe.ownership import living
from sandbox.stripe.store import Account, Obj, new_id
from sandbox.stripe.wire import PAGE, matching, page

_CREATE = (
    "customer payment_method confirm usage metadata description payment_method_types return_url "
    "automatic_payment_methods"
)
_FLOWS = (
    "customer_update",
    "payment_method_update",
    "subscription_cancel",
    "subscription_pause",
    "subscription_update",
    "subscription_update_confirm",
)
#: The flows that the sandbox's portal has a page for.
_SIMULATED = ("payment_method_update", "subscription_update_confirm")


def create(call: Call) -> Obj:
    """A new SetupIntent; `confirm=true` stores the payment method at once."""
    account, params = call.account, call.params
    customer, wanted = params.text("customer"), params.text("payment_method")
    if customer is not None:
        living(account, customer)
    method = None if wanted is None else method_for(account, wanted)
    identifier = new_id("seti")
    intent = account.add(
        {
            "id": identifier,
            "object": "setup_intent",
            "application": None,
            "automatic_payment_methods": None,
            "cancellation_reason": None,
            "client_secret": f"{identifier}_secret_{new_id('s')[2:]}",
            "created": call.now,
            "customer": customer,
            "customer_account": None,
            "description": params.text("description"),
            "excluded_payment_method_types": None,
            "flow_directions": None,
            "last_setup_error": None,
            "latest_attempt": None,
            "livemode": False,
            "mandate": None,
            "metadata": params.metadata(),
            "next_action": None,
            "on_behalf_of": None,
            "payment_method": None if method is None else method["id"],
            "payment_method_configuration_details": None,
            "payment_method_options": {"card": {"mandate_options": None, "network": None}},
            "payment_method_types": ["card"],
            "single_use_mandate": None,
            "status": "requires_payment_method" if method is None else "requires_confirmation",
            "usage": params.choice("usage", ("off_session", "on_session"), "off_session"),
        }
    )
    account.emit("setup_intent.created", intent, call.origin)
    return _confirm(call, intent) if params.boolean("confirm") else intent


def confirm(call: Call) -> Obj:
    """Store the payment method with the customer."""
    intent = call.target("setup_intent")
    wanted = call.params.text("payment_method")
    if wanted is not None:
        intent["payment_method"] = method_for(call.account, wanted)["id"]
    return _confirm(call, intent)


def _confirm(call: Call, intent: Obj) -> Obj:
    account = call.account
    if intent["status"] in ("succeeded", "canceled") or intent["payment_method"] is None:
        raise invalid_request(
            f"You cannot confirm this SetupIntent: its status is {intent['status']}"
            + ("." if intent["payment_method"] else ", and it has no payment method."),
            code="setup_intent_unexpected_state",
        )
    method = account.get("payment_method", intent["payment_method"])
    try:
        _store(account, intent, method, call)
    except StripeError as refusal:
        if refusal.status == 402:
            intent |= {"last_setup_error": {**refusal.body, "payment_method": dict(method)}}
            intent |= {"status": "requires_payment_method", "payment_method": None}
            account.emit("setup_intent.setup_failed", intent, call.origin)
            refusal.body["setup_intent"] = dict(intent)
        raise
    intent |= {"status": "succeeded", "last_setup_error": None}
    account.emit("setup_intent.succeeded", intent, call.origin)
    return intent


def _store(account: Account, intent: Obj, method: Obj, call: Call) -> None:
    if intent["customer"] is None:
        refuse_decline_card(account, method)
    elif method["customer"] != intent["customer"]:
        attach_to(account, method, living(account, intent["customer"]), call.origin)


def cancel(call: Call) -> Obj:
    """Cancel a SetupIntent that has not succeeded."""
    intent = call.target("setup_intent")
    if intent["status"] in ("succeeded", "canceled"):
        raise invalid_request(
            f"You cannot cancel this SetupIntent because it has a status of {intent['status']}.",
            code="setup_intent_unexpected_state",
        )
    intent |= {"status": "canceled", "cancellation_reason": call.params.text("cancellation_reason")}
    call.account.emit("setup_intent.canceled", intent, call.origin)
    return intent


def list_setups(call: Call) -> Obj:
    """SetupIntents by customer and payment method."""
    rows = matching(call.account.rows("setup_intent"), call.params, "customer", "payment_method")
    return page(rows, call.params, call.path)


def _change(account: Account, flow: Params) -> Obj:
    """What a customer is asked to confirm: other prices for items of a subscription."""
    sent = flow.child("subscription_update_confirm", "subscription items discounts")
    if sent is None:
        raise parameter_missing("flow_data[subscription_update_confirm]")
    subscription = account.get("subscription", sent.required("subscription"), sent.name("subscription"))
    known = {item["id"] for item in subscription["items"]["data"]}
    items = []
    for item in sent.children("items", "id price quantity"):
        if item.required("id") not in known:
            raise parameter_invalid(item.name("id"), f"No such subscription item: '{item.text('id')}'")
        price = account.get("price", item.required("price"), item.name("price"))
        items.append({"id": item.text("id"), "price": price["id"], "quantity": item.integer("quantity")})
    return {"discounts": None, "items": items, "subscription": subscription["id"]}


def create_portal_session(call: Call) -> Obj:
    """A portal session: its address is the secret, and lets the customer replace the card."""
    account, params = call.account, call.params
    customer = living(account, params.required("customer"))
    flow = params.child("flow_data", "type after_completion subscription_cancel subscription_update_confirm")
    flow_type = None if flow is None else flow.choice("type", _FLOWS)
    if flow_type not in (None, *_SIMULATED):
        known = " and ".join(_SIMULATED)
        raise parameter_invalid("flow_data[type]", f"The sandbox's portal only has {known}.")
    change = _change(account, flow) if flow is not None and flow_type == _SIMULATED[1] else None
    identifier = new_id("bps")
    session: Obj = {
        "id": identifier,
        "object": "billing_portal.session",
        "configuration": params.text("configuration") or new_id("bpc"),
        "created": call.now,
        "customer": customer["id"],
        "customer_account": None,
        "flow": None
        if flow_type is None
        else {
            "after_completion": {"type": "portal_homepage"},
            "subscription_update_confirm": change,
            "type": flow_type,
        },
        "livemode": False,
        "locale": params.text("locale"),
        "on_behalf_of": None,
        "return_url": params.text("return_url"),
        "url": account.books.page(account, identifier, "portal"),
    }
    account.add(session)
    account.emit("billing_portal.session.created", session, call.origin)
    return session


def account_object(account: Account) -> Obj:
    """The Stripe account as it presents itself."""
    return {
        "id": account.id,
        "object": "account",
        "business_profile": {"name": "Sandbox", "support_email": None, "url": None},
        "charges_enabled": True,
        "country": "US",
        "created": account.now,
        "default_currency": "usd",
        "details_submitted": True,
        "email": None,
        "metadata": {},
        "payouts_enabled": True,
        "settings": {"dashboard": {"display_name": "Sandbox", "timezone": "Etc/UTC"}},
        "type": "standard",
    }


def balance(call: Call) -> Obj:
    """What succeeded charges brought, less refunds, by currency."""
    sums: dict[str, int] = {}
    for charge in call.account.rows("charge"):
        if charge["status"] == "succeeded":
            kept = charge["amount_captured"] - charge["amount_refunded"]
            sums[charge["currency"]] = sums.get(charge["currency"], 0) + kept
    available = [{"amount": amount, "currency": currency} for currency, amount in sums.items()]
    return {"object": "balance", "available": available, "livemode": False, "pending": []}


def connected_account(call: Call) -> Obj:
    """An account by its id."""
    found = call.books.accounts.get(call.ids["id"])
    if found is None:
        raise invalid_request(f"No such account: '{call.ids['id']}'", code="resource_missing", status=404)
    return account_object(found)


ENDPOINTS = [
    Endpoint("POST", "/v1/setup_intents", create, _CREATE),
    Endpoint("GET", "/v1/setup_intents", list_setups, f"{PAGE} customer payment_method created"),
    Endpoint("GET", "/v1/setup_intents/{id}", lambda call: call.target("setup_intent"), "client_secret"),
    Endpoint("POST", "/v1/setup_intents/{id}/confirm", confirm, "payment_method return_url"),
    Endpoint("POST", "/v1/setup_intents/{id}/cancel", cancel, "cancellation_reason"),
    Endpoint(
        "POST",
        "/v1/billing_portal/sessions",
        create_portal_session,
        "customer return_url flow_data configuration locale",
    ),
    Endpoint("GET", "/v1/account", lambda call: account_object(call.account)),
    Endpoint("GET", "/v1/accounts/{id}", connected_account),
    Endpoint("GET", "/v1/balance", balance),
]
