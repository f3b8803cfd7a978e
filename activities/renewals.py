"""What Stripe will charge next: subscriptions with the methods it would find, reduced to facts.

Stripe charges the first method that is set: the subscription's default method or source, then the customer's
(docs.stripe.com/billing/revenue-recovery/smart-retries). What comes next in that order is the backup.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import stripe

from activities.stripe_calls import guarded
from activities.stripe_objects import (
    Customer,
    InvoiceSettings,
    PaymentMethod,
    StripeInvoice,
    Wire,
)
from activities.stripe_reading import moment
from activities.stripe_reads import StripeReads
from dunning.expiry.card import Renewal
from dunning.expiry.timing import written_expiry

#: Stripe expands four levels at most.
EXPANSION = [
    "data.default_payment_method",
    "data.default_source",
    "data.customer.invoice_settings.default_payment_method",
    "data.customer.default_source",
]
#: Statuses in which Stripe charges at the end of a period. A paused subscription charges nothing, and is
#: found by the next scan after it was resumed.
CHARGED = frozenset({"active", "past_due", "trialing"})
PAGE = 100


class Source(Wire):
    """A source of before payment methods; a card among them has an expiry (`customer.source.expiring`)."""

    id: str
    object: str = "source"
    exp_month: int | None = None
    exp_year: int | None = None


class RenewingCustomer(Customer):
    """A customer with the default source expanded."""

    default_source: Source | str | None = None  # type: ignore[assignment]
    invoice_settings: InvoiceSettings = InvoiceSettings()


class Recurring(Wire):
    """`Price.recurring`."""

    interval: str = "month"


class Price(Wire):
    """The price of an item; `unit_amount` is None where tiers or usage decide."""

    id: str | None = None
    product: str | None = None
    unit_amount: int | None = None
    recurring: Recurring | None = None


class Item(Wire):
    """A subscription's item."""

    quantity: int | None = None
    current_period_end: int
    price: Price

    @property
    def amount(self) -> int:
        """What it costs a period, in minor units, before discounts and tax."""
        return (self.price.unit_amount or 0) * (self.quantity or 1)

    @property
    def names(self) -> dict[str, str | None]:
        """The price as a line of an invoice names it."""
        return {"price": self.price.id, "product": self.price.product}


class Items(Wire):
    """The list in `Subscription.items`."""

    data: tuple[Item, ...] = ()


class RenewingSubscription(Wire):
    """A subscription with everything that says what it will charge, and when."""

    id: str
    status: str
    currency: str = "usd"
    livemode: bool = False
    collection_method: str = "charge_automatically"
    cancel_at_period_end: bool = False
    cancel_at: int | None = None
    pause_collection: dict[str, Any] | None = None
    trial_end: int | None = None
    description: str | None = None
    customer: RenewingCustomer | str
    items: Items = Items()
    default_payment_method: PaymentMethod | str | None = None
    default_source: Source | str | None = None

    @property
    def who(self) -> RenewingCustomer | None:
        """The expanded customer; None for one that was deleted."""
        return (
            self.customer
            if isinstance(self.customer, RenewingCustomer) and not self.customer.deleted
            else None
        )


class SubscriptionPage(Wire):
    """One page of subscriptions, newest first."""

    data: tuple[RenewingSubscription, ...] = ()
    has_more: bool = False


@dataclass(frozen=True)
class Found:
    """A payment method where a subscription finds it. `expiry` is None for what does not expire by itself."""

    id: str
    expiry: str | None = None


class RenewalCalls:
    """The calls about charges to come. Raises what `activities.stripe_calls.StripeCalls` raises."""

    def __init__(self, client: stripe.StripeClient) -> None:
        self._client = client.v1
        self._reads = StripeReads(client)

    async def page(self, account: str, status: str, after: str | None) -> SubscriptionPage:
        """A page of all subscriptions of a status that are charged automatically."""
        return await self._list(account, {"status": status} | ({"starting_after": after} if after else {}))

    async def of_customer(self, account: str, customer: str) -> tuple[RenewingSubscription, ...]:
        """The subscriptions of a customer that are not canceled: the newest hundred."""
        return (await self._list(account, {"customer": customer})).data

    async def one(self, account: str, subscription: str) -> RenewingSubscription | None:
        """A subscription; None when Stripe does not know it."""
        expansion = [path.removeprefix("data.") for path in EXPANSION]
        path = ("subscriptions", subscription)
        with guarded("subscriptions.retrieve"):
            return await self._reads.known(RenewingSubscription, account, *path, expand=expansion)

    async def amount(self, account: str, subscription: str) -> int | None:
        """What the next renewal will take, discounts, credit and tax included; None: there is none.

        Source: docs.stripe.com/api/invoices/create_preview.
        """
        with guarded("invoices.create_preview"):
            try:
                found = await self._client.invoices.create_preview_async(
                    {"subscription": subscription}, _options(account)
                )
            except stripe.InvalidRequestError as error:
                if error.code == "invoice_upcoming_none" or error.http_status == 404:
                    return None
                raise
        return found.amount_due

    async def _list(self, account: str, which: dict[str, Any]) -> SubscriptionPage:
        params = {"limit": PAGE, "expand": EXPANSION, "collection_method": "charge_automatically", **which}
        with guarded("subscriptions.list"):
            return await self._reads.get(SubscriptionPage, account, "subscriptions", **params)

    async def method(self, account: str, method: str) -> PaymentMethod | None:
        """A payment method; None when Stripe does not know it (any more)."""
        with guarded("payment_methods.retrieve"):
            return await self._reads.known(PaymentMethod, account, "payment_methods", method)


def _options(account: str) -> stripe.RequestOptions:
    return {"stripe_account": account} if account else {}


def renewal_of(subscription: RenewingSubscription) -> Renewal | None:
    """The next charge of a subscription; None when it has no period."""
    items = subscription.items.data
    if not items:
        return None
    at = moment(min(item.current_period_end for item in items))
    methods = found_methods(subscription)
    effective = methods[0] if methods else None
    backup = next((other for other in methods[1:] if effective and other.id != effective.id), None)
    canceled = subscription.cancel_at is not None and moment(subscription.cancel_at) <= at
    return Renewal(
        subscription=subscription.id,
        at=at,
        charges=subscription.status in CHARGED
        and subscription.collection_method == "charge_automatically"
        and not (subscription.cancel_at_period_end or canceled or subscription.pause_collection),
        method=effective.id if effective else None,
        expiry=effective.expiry if effective else None,
        backup=backup.id if backup else None,
        backup_expiry=backup.expiry if backup else None,
        amount=sum(item.amount for item in items),
        currency=subscription.currency,
        yearly=any(item.price.recurring and item.price.recurring.interval == "year" for item in items),
    )


def found_methods(subscription: RenewingSubscription) -> list[Found]:
    """The methods that are set for a subscription, in the order in which Stripe looks."""
    who = subscription.who
    places: tuple[PaymentMethod | Source | str | None, ...] = (
        subscription.default_payment_method,
        subscription.default_source,
        who.invoice_settings.default_payment_method if who else None,
        who.default_source if who else None,
    )
    return [_found(place) for place in places if place]


def _found(place: PaymentMethod | Source | str) -> Found:
    if isinstance(place, str):
        return Found(place)
    return Found(place.id, expiry_of(place))


def draft_of(subscription: RenewingSubscription, card: PaymentMethod | None = None) -> StripeInvoice | None:
    """The subscription's next invoice, as far as messages and segments need it; None without a customer."""
    who, items = subscription.who, subscription.items.data
    if who is None:
        return None
    return StripeInvoice.model_validate(
        {
            "id": "",
            "status": "draft",
            "currency": subscription.currency,
            "amount_remaining": sum(item.amount for item in items),
            "lines": {"data": [{"pricing": {"price_details": item.names}} for item in items]},
            "customer": who.model_dump(exclude={"default_source"}),
            "livemode": subscription.livemode,
            "default_payment_method": card.model_dump() if card else None,
        }
    )


def expiry_of(method: PaymentMethod | Source) -> str | None:
    """The expiry of a card, as "2031-09"; None for what is no card, and for a wallet's."""
    card = method.card if isinstance(method, PaymentMethod) else method
    if card is None or card.exp_year is None or card.exp_month is None:
        return None
    if isinstance(method, PaymentMethod) and (
        method.type != "card" or method.card is None or method.card.wallet
    ):
        return None
    return written_expiry(card.exp_year, card.exp_month)
