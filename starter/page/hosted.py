"""What the page asks of Stripe: the customer's open invoices, and sessions of Stripe's own hosted pages.

Reading changes nothing; a session that is made and not used expires by itself, so a scanner that makes some
does no harm. Everything else happens through the case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

import stripe

from activities.context import make_stripe
from activities.dispatching import product_of
from activities.reader import phone_number
from activities.stripe_http import StripeHttp
from activities.stripe_objects import StripeInvoice, StripeInvoices
from activities.stripe_reads import StripeReads
from dunning.money import Money
from starter.errors import DunningError
from starter.settings import Settings

_TIMEOUT = 8.0  # a person waits
_MOST = 50


class StripeAway(DunningError):
    """Stripe did not answer, or not in a way that can be used."""

    code = "stripe_unavailable"
    http_status = 503


@dataclass(frozen=True)
class OpenInvoice:
    """An open invoice. `pay_url` is its hosted page, None if that is not on a host of Stripe's."""

    id: str
    number: str | None
    owed: Money
    pay_url: str | None
    product: str | None


@dataclass(frozen=True)
class Owed:
    """All open invoices of a customer, oldest first, and what the customer's record says beside."""

    invoices: tuple[OpenInvoice, ...]
    locale: str = ""
    has_phone: bool = False

    @property
    def totals(self) -> tuple[Money, ...]:
        """What is owed, by currency."""
        sums: dict[str, int] = {}
        for invoice in self.invoices:
            sums[invoice.owed.currency] = sums.get(invoice.owed.currency, 0) + invoice.owed.amount
        return tuple(Money(amount=amount, currency=currency) for currency, amount in sorted(sums.items()))


@dataclass(frozen=True)
class Plan:
    """A price of Stripe's that the customer may switch to. `interval` as Stripe names it: month, year, …"""

    id: str
    name: str
    price: Money
    interval: str


class HostedPages:
    """Stripe, as far as the page needs it, over `http`. Every method raises StripeAway."""

    def __init__(self, settings: Settings) -> None:
        key = settings.stripe_api_key.get_secret_value() if settings.stripe_api_key else ""
        self.http = StripeHttp(_TIMEOUT)
        client = make_stripe(key, self.http, api_base=settings.stripe_api_base)
        self._client, self._reads = client.v1, StripeReads(client)
        self._sandbox = _origin(settings.stripe_api_base) if settings.stripe_api_base else None

    @property
    def origins(self) -> tuple[str, ...]:
        """Where the page may lead: Stripe's own hosts, and in development the sandbox."""
        return ("https://*.stripe.com", *((self._sandbox,) if self._sandbox else ()))

    def trusted(self, url: str | None) -> str | None:
        """The address if it is one of Stripe's, else None."""
        if url is None:
            return None
        parts = urlsplit(url)
        ours = parts.scheme == "https" and (parts.hostname or "").endswith(".stripe.com")
        return url if (ours and parts.username is None) or _origin(url) == self._sandbox else None

    async def owed(self, account: str, customer: str) -> Owed:
        """What the customer owes."""
        params = {"customer": customer, "status": "open", "limit": _MOST, "expand": ["data.customer"]}
        try:
            page = await self._reads.get(StripeInvoices, account, "invoices", **params)
        except stripe.StripeError as error:
            raise _away(error) from error
        told = sorted(page.data, key=lambda invoice: (invoice.created, invoice.id))
        who = next((invoice.who for invoice in told if invoice.who), None)
        return Owed(
            tuple(self._open(invoice) for invoice in told if invoice.amount_remaining > 0),
            next(iter(who.preferred_locales or ()), "") if who else "",
            has_phone=any(phone_number(invoice) for invoice in told),
        )

    async def locale(self, account: str, customer: str) -> str:
        """The customer's preferred locale, for whom nothing is open; an empty string if there is none."""
        try:
            found = await self._client.customers.retrieve_async(customer, {}, _options(account))
        except stripe.StripeError as error:
            raise _away(error) from error
        return next(iter(found.to_dict().get("preferred_locales") or ()), "")

    async def replace_method(self, account: str, customer: str, back: str) -> str:
        """The address of a portal session in which the customer replaces the payment method."""
        flow = {"type": "payment_method_update", "after_completion": _returning(back)}
        return await self._portal(account, {"customer": customer, "return_url": back, "flow_data": flow})

    async def plans(self, account: str, prices: tuple[str, ...]) -> tuple[Plan, ...]:
        """The plans behind these prices; a price that Stripe does not know is left out."""
        return tuple([plan for price in prices if (plan := await self._plan(account, price))])

    async def _plan(self, account: str, price: str) -> Plan | None:
        try:
            found = await self._client.prices.retrieve_async(
                price, {"expand": ["product"]}, _options(account)
            )
        except stripe.InvalidRequestError:
            return None
        except stripe.StripeError as error:
            raise _away(error) from error
        told = found.to_dict()
        amount, every = told.get("unit_amount"), told.get("recurring") or {}
        product = told.get("product")
        name = product.get("name") if isinstance(product, dict) else None
        if amount is None or not name:
            return None
        once = every.get("interval_count", 1) == 1
        interval = str(every.get("interval", "")) if once else ""
        return Plan(price, str(name), Money(amount=amount, currency=str(told["currency"])), interval)

    async def switch(self, account: str, customer: str, subscription: str, price: str, back: str) -> str:
        """The address of a portal session in which the customer confirms another price."""
        try:
            found = await self._client.subscriptions.retrieve_async(subscription, {}, _options(account))
        except stripe.StripeError as error:
            raise _away(error) from error
        item = found.to_dict()["items"]["data"][0]
        change = {
            "subscription": subscription,
            "items": [{"id": item["id"], "price": price, "quantity": item.get("quantity", 1)}],
        }
        flow = {
            "type": "subscription_update_confirm",
            "subscription_update_confirm": change,
            "after_completion": _returning(back),
        }
        return await self._portal(account, {"customer": customer, "return_url": back, "flow_data": flow})

    async def _portal(self, account: str, params: dict[str, Any]) -> str:
        sessions = self._client.billing_portal.sessions
        try:
            session = await sessions.create_async(cast(Any, params), _options(account))
        except stripe.StripeError as error:
            raise _away(error) from error
        url = self.trusted(session.url)
        if url is None:
            raise StripeAway("the portal is on a host that is not Stripe's: check STRIPE_API_BASE")
        return url

    def _open(self, told: StripeInvoice) -> OpenInvoice:
        return OpenInvoice(
            id=told.id,
            number=told.number,
            owed=Money(amount=told.amount_remaining, currency=told.currency),
            pay_url=self.trusted(told.hosted_invoice_url),
            product=product_of(told),
        )


def _returning(back: str) -> dict[str, Any]:
    return {"type": "redirect", "redirect": {"return_url": back}}


def _options(account: str) -> Any:
    return {"stripe_account": account} if account else {}


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _away(error: stripe.StripeError) -> StripeAway:
    return StripeAway(f"Stripe: {error.code or type(error).__name__} (request {error.request_id})")
