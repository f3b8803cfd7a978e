"""The control API's calls about Stripe: look into the books, and do what no API call of Stripe can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pydantic import AwareDatetime, Field
from starlette.requests import Request

from sandbox import stripe
from sandbox.control_calls import CallBody, Handler, read_body
from sandbox.stripe.bulk import CardOf
from sandbox.world import World


class Announced(CallBody):
    """Tell of a subscription's next renewal."""

    subscription_id: str


class Renewal(CallBody):
    """Begin a subscription's next period; `retries` are the times at which Stripe tries again by itself."""

    subscription_id: str
    retries: list[AwareDatetime] = Field(default_factory=list)


class Retries(CallBody):
    """When Stripe tries an open invoice again by itself; an empty list means never."""

    invoice_id: str
    retries: list[AwareDatetime]


class CardUpdate(CallBody):
    """The card updater's news: another expiry, maybe another number, maybe other outcomes."""

    pm_id: str
    exp_month: int = Field(ge=1, le=12)
    exp_year: int = Field(ge=2000)
    last4: str | None = None
    outcomes: str | None = None


class NewCard(CallBody):
    """A customer replaces the card in the portal."""

    customer_id: str
    card: str | None = None
    outcomes: str | None = None


class LateWord(CallBody):
    """How a payment that is processing ends: `succeeded` or a decline code."""

    invoice_id: str
    outcome: str


class Exhausted(CallBody):
    """Stripe's own retries have ended, and the account's settings act on the subscription."""

    subscription_id: str
    action: Literal["unpaid", "cancel", "past_due", "pause"]


class Disputed(CallBody):
    """A cardholder disputes a charge; `amount` in minor units."""

    charge_id: str
    amount: int | None = Field(default=None, gt=0)


class Decided(CallBody):
    """The bank decides a dispute."""

    dispute_id: str
    status: Literal["won", "lost"]


class Subscriber(CallBody):
    """A customer with a card and a paid month, each given as Stripe's parameters, numbers as text."""

    customer: dict[str, Any]
    card: dict[str, Any]
    price: dict[str, Any]
    card_of: CardOf = "customer"
    account: str | None = None


class Copies(CallBody):
    """As many subscribers more like this one."""

    subscription_id: str
    copies: int = Field(ge=1, le=100_000)


class BankSpeed(CallBody):
    """How long a charging call takes, in real seconds."""

    seconds: float = Field(ge=0)


def _answering(world: World, kind: type[CallBody], act: Callable[[World, Any], Any]) -> Handler:
    async def handler(request: Request) -> Any:
        return act(world, await read_body(request, kind))

    return handler


def stripe_calls(world: World) -> list[tuple[str, str, Handler]]:
    """The calls, as (method, path under `/_control/`, handler)."""

    async def books(request: Request) -> Any:
        return stripe.stripe_books(world, request.query_params.getlist("only"))

    def bank_speed(world: World, wish: BankSpeed) -> dict[str, float]:
        stripe.set_bank_seconds(world, wish.seconds)
        return {"seconds": wish.seconds}

    acts: list[tuple[str, type[CallBody], Callable[[World, Any], Any]]] = [
        ("announce", Announced, lambda w, wish: stripe.announce(w, wish.subscription_id)),
        ("renew", Renewal, lambda w, wish: stripe.renew(w, wish.subscription_id, wish.retries)),
        (
            "schedule_retries",
            Retries,
            lambda w, wish: stripe.schedule_retries(w, wish.invoice_id, wish.retries),
        ),
        ("automatic_update", CardUpdate, _update_card),
        ("replace_card", NewCard, _replace_card),
        (
            "settle_processing",
            LateWord,
            lambda w, wish: stripe.settle_processing(w, wish.invoice_id, wish.outcome),
        ),
        (
            "exhaust_retries",
            Exhausted,
            lambda w, wish: stripe.exhaust_retries(w, wish.subscription_id, wish.action),
        ),
        ("dispute", Disputed, lambda w, wish: stripe.dispute(w, wish.charge_id, wish.amount)),
        ("close_dispute", Decided, lambda w, wish: stripe.close_dispute(w, wish.dispute_id, wish.status)),
        (
            "subscribe",
            Subscriber,
            lambda w, wish: stripe.subscribe(
                w, wish.customer, wish.card, wish.price, wish.card_of, wish.account
            ),
        ),
        ("multiply", Copies, lambda w, wish: stripe.multiply(w, wish.subscription_id, wish.copies)),
        ("set_bank_seconds", BankSpeed, bank_speed),
    ]
    posts = [("POST", f"stripe/{path}", _answering(world, kind, act)) for path, kind, act in acts]
    return [("GET", "stripe/books", books), *posts]


def _update_card(world: World, wish: CardUpdate) -> Any:
    return stripe.automatic_update(
        world,
        wish.pm_id,
        wish.exp_month,
        wish.exp_year,
        last4=wish.last4,
        outcomes=wish.outcomes,
    )


def _replace_card(world: World, wish: NewCard) -> Any:
    return stripe.replace_card(world, wish.customer_id, card=wish.card, outcomes=wish.outcomes)
