"""The pages that Stripe hosts: the invoice one can pay, the portal where one replaces a card. Plain forms.

What a customer does there is no API call: the events of it have `request.id` null.
"""

from __future__ import annotations

from html import escape
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from sandbox.stripe import collection
from sandbox.stripe.cards import Outcome, read_outcome
from sandbox.stripe.catalog import plan_of
from sandbox.stripe.errors import StripeError
from sandbox.stripe.methods import attach_to, make
from sandbox.stripe.store import CUSTOMER, Account, Obj, StripeBooks

_TEST_CARD = "4242424242424242"


def _html(title: str, body: str, status: int = 200) -> Response:
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title></head>'
    return HTMLResponse(f"{head}<body><h1>{escape(title)}</h1>{body}</body></html>", status)


def _money(amount: int, currency: str) -> str:
    return f"{amount} {currency.upper()} (minor units)"


class Pages:
    """Serves /pay/{token} and /portal/{token} from the books."""

    def __init__(self, books: StripeBooks) -> None:
        self._books = books

    async def invoice(self, request: Request) -> Response:
        """The hosted invoice page: GET shows it, POST pays it with `card` (a test card) and `outcome`."""
        found = self._target(request, "invoice")
        if found is None:
            return _html("Page not found", "<p>This link is not valid.</p>", 404)
        account, invoice = found
        if request.method == "POST" and invoice["status"] in ("open", "uncollectible"):
            fields = await _fields(request)
            try:
                with self._books.lock:
                    _pay(account, invoice, fields)
            except StripeError as error:
                refusal = f'<p role="alert">{escape(str(error))}</p>'
                return _html("Payment failed", refusal + _form(invoice), error.status)
        return _html(f"Invoice {invoice['number']}", _record(invoice))

    async def portal(self, request: Request) -> Response:
        """The portal: POST attaches `card` (a test card) and makes it the customer's default, no more."""
        found = self._target(request, "billing_portal.session")
        if found is None:
            return _html("Page not found", "<p>This link is not valid.</p>", 404)
        account, session = found
        if session["flow"] is not None and session["flow"]["type"] == "subscription_update_confirm":
            return self._confirm(request, account, session)
        customer = account.get("customer", session["customer"])
        notice = ""
        if request.method == "POST":
            fields = await _fields(request)
            try:
                with self._books.lock:
                    replace_card(account, customer, fields)
            except StripeError as error:
                return _html(
                    "Card refused", f'<p role="alert">{escape(str(error))}</p>{_CARD_FORM}', error.status
                )
            notice = '<p role="status">Your card was saved.</p>'
        return _html("Payment method", f"{notice}{_CARD_FORM}{_way_back(session)}")

    def _confirm(self, request: Request, account: Account, session: Obj) -> Response:
        """The portal's page for another plan: POST confirms it."""
        change = session["flow"]["subscription_update_confirm"]
        subscription = account.get("subscription", change["subscription"])
        if request.method == "POST":
            with self._books.lock:
                change_plan(account, subscription, change["items"])
            return _html("Plan changed", f'<p role="status">Your plan was changed.</p>{_way_back(session)}')
        price = account.get("price", change["items"][0]["price"])
        words = f"<p>Your new plan: {_money(price['unit_amount'], price['currency'])}</p>"
        form = '<form method="post"><p><button>Confirm</button></p></form>'
        return _html("Confirm your new plan", f"{words}{form}{_way_back(session)}")

    def _target(self, request: Request, kind: str) -> tuple[Account, Obj] | None:
        target = self._books.pages.get(request.path_params["token"])
        if target is None:
            return None
        account = self._books.accounts[target[0]]
        found = account.tables.get(kind, {}).get(target[1])
        return None if found is None else (account, found)


async def _fields(request: Request) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs((await request.body()).decode()).items()}


def _pay(account: Account, invoice: Obj, fields: dict[str, str]) -> None:
    """Pay as the customer. Without `card`, an invoice that waits for authentication gets just that."""
    intent = collection.default_intent(account, invoice)
    waiting = intent["status"] == "requires_action" and "card" not in fields
    method = (
        account.get("payment_method", intent["payment_method"])
        if waiting
        else make(account, fields.get("card", _TEST_CARD))
    )
    outcome = _outcome(fields, method) or (Outcome("succeeded", "succeeded") if waiting else None)
    if "outcome" not in fields and "card" not in fields:
        outcome = Outcome("succeeded", "succeeded")
    if fields.get("save") and method["customer"] is None:
        attach_to(account, method, account.get("customer", invoice["customer"]), CUSTOMER)
    answer = collection.collect(account, invoice, method, CUSTOMER, outcome)
    if answer.kind not in ("succeeded", "processing"):
        raise StripeError(402, {"message": answer.message})


def _outcome(fields: dict[str, str], method: Obj) -> Outcome | None:
    chosen = fields.get("outcome")
    return None if chosen is None else read_outcome(chosen, method["card"]["brand"], "outcome")


def replace_card(account: Account, customer: Obj, fields: dict[str, str]) -> Obj:
    """A new card for the customer: attached, and their invoice default. A subscription's default stays.

    `outcomes` gives the new card a sequence of its own, as `metadata["outcomes"]` does.
    """
    method = make(account, fields.get("card", _TEST_CARD))
    outcomes = fields.get("outcomes")
    if outcomes is not None:
        for entry in outcomes.split(","):
            read_outcome(entry, method["card"]["brand"], "outcomes")
        method["metadata"]["outcomes"] = outcomes
    attach_to(account, method, customer, CUSTOMER)
    with account.changing(customer, "customer.updated", CUSTOMER):
        customer["invoice_settings"]["default_payment_method"] = method["id"]
    return method


def change_plan(account: Account, subscription: Obj, items: list[Obj]) -> None:
    """The customer confirmed other prices: from now on they are billed, without proration."""
    with account.changing(subscription, "customer.subscription.updated", CUSTOMER):
        for wanted in items:
            item = next(row for row in subscription["items"]["data"] if row["id"] == wanted["id"])
            price = account.get("price", wanted["price"])
            item |= {"price": dict(price), "plan": plan_of(price)}


def _way_back(session: Obj) -> str:
    back = session["return_url"]
    return f'<p><a href="{escape(back)}">Return</a></p>' if back else ""


def _record(invoice: Obj) -> str:
    due = _money(invoice["amount_remaining"], invoice["currency"])
    facts = f"<p>Status: <strong>{invoice['status']}</strong></p><p>Still due: {due}</p>"
    return facts + (_form(invoice) if invoice["status"] in ("open", "uncollectible") else "")


def _form(invoice: Obj) -> str:
    return (
        '<form method="post">'
        f'<p><label>Card <input name="card" value="{_TEST_CARD}"></label></p>'
        '<p><label>What the bank says <input name="outcome" value="succeeded"></label></p>'
        '<p><label><input type="checkbox" name="save" value="1" checked> Save this card</label></p>'
        f"<p><button>Pay {_money(invoice['amount_remaining'], invoice['currency'])}</button></p></form>"
    )


_CARD_FORM = (
    '<form method="post">'
    f'<p><label>New card <input name="card" value="{_TEST_CARD}"></label></p>'
    "<p><button>Save card</button></p></form>"
)
