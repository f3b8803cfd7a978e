"""Payment methods: made from Stripe's test cards, attached, changed by merchant or card network."""

from __future__ import annotations

import calendar

from sandbox.stripe.cards import (
    card_named,
    card_numbered,
    decline_of,
    fingerprint,
    read_outcomes,
)
from sandbox.stripe.errors import (
    card_error,
    invalid_request,
    parameter_invalid,
    parameter_missing,
    resource_missing,
)
from sandbox.stripe.forms import Params
from sandbox.stripe.http import Call, Endpoint
from sandbox.stripe.ownership import living
from sandbox.stripe.store import STRIPE, Account, Obj, Origin, new_id
from sandbox.stripe.wire import PAGE, matching, page

_CARD = "token number exp_month exp_year cvc"
_ALIASES = ("pm_card_", "tok_")


def _new(account: Account, card: Obj, card_params: Params | None, billing: Obj | None) -> Obj:
    expires = account.books.world.now().year + 4
    month = None if card_params is None else card_params.integer("exp_month")
    year = None if card_params is None else card_params.integer("exp_year")
    method: Obj = {
        "id": new_id("pm"),
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": {"address": None, "email": None, "name": None, "phone": None, "tax_id": None}
        | (billing or {}),
        "card": {
            "brand": card["brand"],
            "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
            "country": card["country"],
            "display_brand": card["brand"],
            "exp_month": _month(12 if month is None else month),
            "exp_year": expires if year is None else _year(year),
            "fingerprint": fingerprint(card["number"]),
            "funding": card["funding"],
            "generated_from": None,
            "last4": card["number"][-4:],
            "networks": {"available": [card["brand"]], "preferred": None},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        },
        "created": account.now,
        "customer": None,
        "customer_account": None,
        "livemode": False,
        "metadata": {},
        "type": "card",
    }
    account.card_outcomes[method["id"]] = card["outcome"]
    if card["attach"] is not None:
        account.secrets[method["id"]] = card["attach"]
    return method


def _month(month: int) -> int:
    if not 1 <= month <= 12:
        raise parameter_invalid("card[exp_month]", f"Your card's expiration month is invalid: {month}")
    return month


def _year(year: int) -> int:
    """Stripe also takes the last two digits of a year."""
    return year + 2000 if 0 <= year < 100 else year


def make(account: Account, name_or_number: str) -> Obj:
    """A new payment method from a test card: `pm_card_visa`, `tok_visa` or a number. Raises StripeError."""
    for prefix in _ALIASES:
        if name_or_number.startswith(prefix):
            card = card_named(name_or_number.removeprefix(prefix))
            if card is None:
                raise resource_missing("PaymentMethod", name_or_number, "payment_method")
            return account.add(_new(account, card, None, None))
    return account.add(_new(account, card_numbered(name_or_number), None, None))


def method_for(account: Account, identifier: str, param: str = "payment_method") -> Obj:
    """The payment method of that id; a well-known test id such as `pm_card_visa` makes a new one."""
    if identifier.startswith("pm_card_"):
        return make(account, identifier)
    found = account.tables.get("payment_method", {}).get(identifier)
    if found is None:
        raise resource_missing("PaymentMethod", identifier, param)
    return found


def create(call: Call) -> Obj:
    """A new payment method of type card, from `card[token]` or `card[number]`."""
    account, params = call.account, call.params
    if params.required("type") != "card":
        raise parameter_invalid("type", "The sandbox simulates payment methods of type card only.")
    card_params = params.child("card", _CARD)
    if card_params is None:
        raise parameter_missing("card")
    token = card_params.text("token")
    if token is None:
        card = card_numbered(card_params.required("number"))
    else:
        named = card_named(token.removeprefix("tok_"))
        if named is None:
            raise resource_missing("token", token, "card[token]")
        card = named
    method = _new(account, card, card_params, params.plain("billing_details"))
    _set_metadata(account, method, params.metadata())
    return account.add(method)


def _set_metadata(account: Account, method: Obj, metadata: dict[str, str]) -> None:
    """Take over metadata; `outcomes` starts its sequence anew, `fingerprint` replaces the card's."""
    outcomes = metadata.get("outcomes")
    if outcomes is not None:
        read_outcomes(outcomes, method["card"]["brand"])
    if outcomes != method["metadata"].get("outcomes"):
        account.outcomes_used[method["id"]] = 0
    if "fingerprint" in metadata:
        method["card"]["fingerprint"] = metadata["fingerprint"]
    method["metadata"] = metadata


def attach(call: Call) -> Obj:
    """Attach to a customer. Decline cards refuse here already, as at Stripe, unless they have `outcomes`."""
    account, params = call.account, call.params
    customer = living(account, params.required("customer"))
    method = method_for(account, call.ids["id"])
    attach_to(account, method, customer, call.origin)
    return method


def attach_to(account: Account, method: Obj, customer: Obj, origin: Origin) -> None:
    """Attach a payment method to a customer and say so. Raises StripeError 402 if the card refuses."""
    if method["customer"] is not None:
        raise invalid_request("The payment method you provided has already been attached to a customer.")
    refuse_decline_card(account, method)
    with account.changing(method, "payment_method.attached", origin):
        method["customer"] = customer["id"]


def refuse_decline_card(account: Account, method: Obj) -> None:
    """Raise the 402 with which Stripe refuses to store a card whose bank says no."""
    refusal = account.secrets.get(method["id"])
    if refusal is None or "outcomes" in method["metadata"]:
        return
    outcome = decline_of(refusal, method["card"]["brand"])
    raise card_error(
        {
            "code": outcome.error_code,
            "decline_code": outcome.code,
            "message": outcome.message,
            "advice_code": outcome.advice,
            "network_decline_code": outcome.network_decline,
            "param": "",
        }
    )


def detach(call: Call) -> Obj:
    """Detach for good; the defaults that pointed to it are emptied."""
    account, method = call.account, call.target("payment_method")
    if method["customer"] is None:
        raise invalid_request(
            "The payment method you provided is not attached to a customer so detachment is impossible."
        )
    customer = account.get("customer", method["customer"])
    with account.changing(method, "payment_method.detached", call.origin):
        method["customer"] = None
    settings = customer["invoice_settings"]
    with account.changing(customer, "customer.updated", call.origin):
        if settings["default_payment_method"] == method["id"]:
            settings["default_payment_method"] = None
    for subscription in account.rows("subscription"):
        with account.changing(subscription, "customer.subscription.updated", call.origin):
            if subscription["default_payment_method"] == method["id"]:
                subscription["default_payment_method"] = None
    return method


def update(call: Call) -> Obj:
    """Change expiry, billing details or metadata; never the number."""
    account, params, method = call.account, call.params, call.target("payment_method")
    card = params.child("card", "exp_month exp_year")
    month = None if card is None else card.integer("exp_month")
    year = None if card is None else card.integer("exp_year")
    metadata = params.metadata(method["metadata"])
    with account.changing(method, "payment_method.updated", call.origin):
        _set_metadata(account, method, metadata)
        method["billing_details"] |= params.plain("billing_details") or {}
        if month is not None:
            method["card"]["exp_month"] = _month(month)
        if year is not None:
            method["card"]["exp_year"] = _year(year)
    return method


def update_by_network(
    account: Account, method: Obj, exp_month: int, exp_year: int, *, last4: str | None, outcomes: str | None
) -> None:
    """What the card networks' updater does: new expiry, maybe a new number; same payment method."""
    last_day = calendar.monthrange(exp_year, _month(exp_month))[1]
    if (exp_year, exp_month, last_day) < account.books.world.now().timetuple()[:3]:
        raise parameter_invalid(
            "exp_year", f"{exp_month}/{exp_year} is over: an update brings a later expiry."
        )
    if outcomes is not None:
        _set_metadata(account, method, {**method["metadata"], "outcomes": outcomes})
    with account.changing(method, "payment_method.automatically_updated", STRIPE):
        method["card"] |= {"exp_month": exp_month, "exp_year": exp_year}
        if last4 is not None:
            changed = f"{method['card']['fingerprint']} {last4}"
            method["card"] |= {"last4": last4, "fingerprint": fingerprint(changed)}


def list_methods(call: Call) -> Obj:
    """The payment methods of a customer."""
    customer = living(call.account, call.params.required("customer"))
    rows = [row for row in call.account.rows("payment_method") if row["customer"] == customer["id"]]
    return page(matching(rows, call.params, "type"), call.params, call.path)


ENDPOINTS = [
    Endpoint("POST", "/v1/payment_methods", create, "type card billing_details metadata allow_redisplay"),
    Endpoint("GET", "/v1/payment_methods", list_methods, f"{PAGE} customer type"),
    Endpoint("GET", "/v1/payment_methods/{id}", lambda call: call.target("payment_method")),
    Endpoint("POST", "/v1/payment_methods/{id}", update, "card billing_details metadata"),
    Endpoint("POST", "/v1/payment_methods/{id}/attach", attach, "customer"),
    Endpoint("POST", "/v1/payment_methods/{id}/detach", detach),
]
