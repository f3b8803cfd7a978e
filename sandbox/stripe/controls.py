"""What tests and the demo may do that no API call can: let time pass, networks and customers act, look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from functools import wraps
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from sandbox.stripe import bulk, collection, lifecycle
from sandbox.stripe.cards import Outcome, read_outcome
from sandbox.stripe.errors import invalid_request
from sandbox.stripe.methods import update_by_network
from sandbox.stripe.pages import replace_card as replace_card_as_customer
from sandbox.stripe.store import STRIPE, Account, Obj, StripeBooks, new_id, plain_copy, subscription_of
from sandbox.world import World

BOOKS: WeakKeyDictionary[World, StripeBooks] = WeakKeyDictionary()

_P = ParamSpec("_P")
_R = TypeVar("_R")


def _control(function: Callable[Concatenate[World, _P], _R]) -> Callable[Concatenate[World, _P], _R]:
    """Run with the books locked, and hand out a copy."""

    @wraps(function)
    def run(world: World, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        with books_of(world).lock:
            return plain_copy(function(world, *args, **kwargs))

    return run


def books_of(world: World) -> StripeBooks:
    """The Stripe of a world. Raises LookupError before `routes(world, …)` made it."""
    if world not in BOOKS:
        raise LookupError(
            "this world has no Stripe yet: mount sandbox.stripe.routes(world, public_url) first"
        )
    return BOOKS[world]


@_control
def stripe_books(world: World, only: Collection[str] = ()) -> dict[str, Any]:
    """All books as plain JSON, oldest first; `doubly_charged` names invoices paid by more than one charge.

    `only` names those that are wanted: to hand out all takes long.
    """
    books = books_of(world)
    accounts = list(books.accounts.values())
    charges = [_charge_record(account, row) for account in accounts for row in _oldest(account, "charge")]
    paid = Counter(row["invoice"] for row in charges if row["status"] == "succeeded" and row["invoice"])
    result: dict[str, Any] = {
        "charges": charges,
        "attempts": [{"account": account.id, **row} for account in accounts for row in account.attempts],
        "doubly_charged": [invoice for invoice, count in paid.items() if count > 1],
        "bank_seconds": books.bank_seconds,
    }
    for name in (
        "customer",
        "payment_method",
        "subscription",
        "invoice",
        "invoice_payment",
        "payment_intent",
        "refund",
        "dispute",
    ):
        result[f"{name}s"] = [row for account in accounts for row in _oldest(account, name)]
    result["events"] = [row for account in accounts for row in _oldest(account, "event")]
    result["webhook_endpoints"] = [
        row for account in accounts for row in _oldest(account, "webhook_endpoint")
    ]
    return {name: book for name, book in result.items() if not only or name in only}


def _oldest(account: Account, kind: str) -> list[Obj]:
    return list(account.tables.get(kind, {}).values())


def _charge_record(account: Account, charge: Obj) -> Obj:
    cause = next(row for row in account.attempts if row["charge"] == charge["id"])
    return {
        "id": charge["id"],
        "account": account.id,
        "invoice": cause["invoice"],
        "customer": charge["customer"],
        "payment_intent": charge["payment_intent"],
        "payment_method": charge["payment_method"],
        "fingerprint": cause["fingerprint"],
        "amount": charge["amount"],
        "amount_refunded": charge["amount_refunded"],
        "currency": charge["currency"],
        "status": charge["status"],
        "code": cause["code"],
        "initiator": cause["initiator"],
        "request_id": cause["request_id"],
        "idempotency_key": cause["idempotency_key"],
        "created": charge["created"],
        "created_at": datetime.fromtimestamp(charge["created"], UTC).isoformat(),
    }


@_control
def renew(world: World, subscription_id: str, retries: list[datetime] | None = None) -> dict[str, Any]:
    """Let the next period of a subscription begin: its invoice is finalised and charged at once.

    `retries`: when Stripe shall try again by itself if that fails (none: `next_payment_attempt` stays null).
    Returns the invoice. Raises StripeError.
    """
    account, subscription = books_of(world).owner("subscription", subscription_id)
    return lifecycle.renew(account, subscription, [_unix(moment) for moment in retries or []])


@_control
def announce(world: World, subscription_id: str) -> dict[str, Any]:
    """Tell of a subscription's next renewal by `invoice.upcoming`. Raises StripeError."""
    return lifecycle.announce(*books_of(world).owner("subscription", subscription_id))


@_control
def schedule_retries(world: World, invoice_id: str, retries: list[datetime]) -> dict[str, Any]:
    """Let Stripe retry an open invoice by itself at these times (empty: never). Returns the invoice."""
    account, invoice = books_of(world).owner("invoice", invoice_id)
    account.retry_schedule[invoice_id] = sorted(_unix(moment) for moment in retries)
    for due in account.retry_schedule[invoice_id]:
        account.books.wake(due)
    with account.changing(invoice, "invoice.updated", STRIPE):
        invoice["next_payment_attempt"] = collection.next_attempt(account, invoice)
    return invoice


@_control
def automatic_update(
    world: World,
    pm_id: str,
    exp_month: int,
    exp_year: int,
    *,
    last4: str | None = None,
    outcomes: str | None = None,
) -> dict[str, Any]:
    """The card updater brings a new expiry, maybe a new number, maybe other outcomes. Returns the method."""
    account, method = books_of(world).owner("payment_method", pm_id)
    update_by_network(account, method, exp_month, exp_year, last4=last4, outcomes=outcomes)
    return method


@_control
def replace_card(
    world: World, customer_id: str, *, card: str | None = None, outcomes: str | None = None
) -> dict[str, Any]:
    """The customer replaces the card in the portal: attached and their default. Returns the new method."""
    account, customer = books_of(world).owner("customer", customer_id)
    given = {"card": card, "outcomes": outcomes}
    return replace_card_as_customer(
        account, customer, {name: value for name, value in given.items() if value is not None}
    )


@_control
def settle_processing(world: World, invoice_id: str, outcome: str) -> dict[str, Any]:
    """The bank's late word on an invoice whose payment is processing. Returns the invoice."""
    account, invoice = books_of(world).owner("invoice", invoice_id)
    answer: Outcome = read_outcome(outcome, "visa", "outcome")
    if answer.kind in ("processing", "authentication_required"):
        raise invalid_request(
            "A processing payment ends as succeeded or with a decline code.", param="outcome"
        )
    collection.settle_processing(account, invoice, answer)
    return invoice


@_control
def dispute(world: World, charge_id: str, amount: int | None = None) -> dict[str, Any]:
    """The cardholder disputes a charge, or `amount` minor units of it. Returns the dispute."""
    account, charge = books_of(world).owner("charge", charge_id)
    charge["disputed"] = True
    made = {
        "id": new_id("dp"),
        "object": "dispute",
        "amount": charge["amount"] if amount is None else amount,
        "charge": charge_id,
        "created": account.now,
        "currency": charge["currency"],
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "reason": "fraudulent",
        "status": "needs_response",
    }
    account.emit("charge.dispute.created", account.add(made), STRIPE)
    return made


@_control
def close_dispute(world: World, dispute_id: str, status: Literal["won", "lost"]) -> dict[str, Any]:
    """The bank decides a dispute. Returns it."""
    account, dispute = books_of(world).owner("dispute", dispute_id)
    with account.changing(dispute, "charge.dispute.closed", STRIPE):
        dispute["status"] = status
    return dispute


@_control
def exhaust_retries(
    world: World, subscription_id: str, action: Literal["unpaid", "cancel", "past_due", "pause"]
) -> dict[str, Any]:
    """What the account's settings do when Stripe's own retries have ended. Returns the subscription."""
    account, subscription = books_of(world).owner("subscription", subscription_id)
    lifecycle.exhaust(account, subscription, action)
    for invoice in account.rows("invoice"):
        if subscription_of(invoice) == subscription_id:
            account.retry_schedule.pop(invoice["id"], None)
            invoice["next_payment_attempt"] = collection.next_attempt(account, invoice)
    return subscription


@_control
def subscribe(
    world: World, customer: Obj, card: Obj, price: Obj, card_of: bulk.CardOf, account: str | None
) -> dict[str, str]:
    """A subscriber of long ago. Returns the ids (see `sandbox.stripe.bulk`). Raises StripeError."""
    return bulk.subscribe(books_of(world).account(account), customer, card, price, card_of)


@_control
def multiply(world: World, subscription_id: str, copies: int) -> list[dict[str, str]]:
    """As many subscribers more like this one. Returns the ids of each (see `sandbox.stripe.bulk`)."""
    account, subscription = books_of(world).owner("subscription", subscription_id)
    return bulk.multiply(account, subscription, copies)


@_control
def advance(world: World, to: datetime) -> None:
    """Do what fell due by `to`. The sandbox clock does this by itself; harmless to repeat."""
    lifecycle.run_due(books_of(world), _unix(to))


@_control
def set_bank_seconds(world: World, seconds: float) -> None:
    """Real seconds that every charging call takes from now on, its idempotency key in use meanwhile."""
    books_of(world).bank_seconds = seconds


@_control
def reset(world: World) -> None:
    """Forget everything; webhook endpoints too."""
    books_of(world).clear()


def _unix(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone: give an aware datetime")
    return int(moment.timestamp())
