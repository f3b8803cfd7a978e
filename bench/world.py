"""The real engine on one machine, customers whose renewals fail, and a clock for all of them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import stripe

from activities.context import make_stripe
from activities.stripe_http import StripeHttp
from ledger import Ledger
from ledger.records import CaseRecord
from sandbox.control_client import ControlClient
from starter.client import DunningClient
from starter.processes import StackError
from starter.stack import STRIPE_KEY, Stack, local_stack
from starter.worldclock import WorldClock
from workflows.ids import invoice_dunning_id

POLICIES = Path(__file__).with_name("policies")
#: What falls due so closely together is done together.
TOGETHER = timedelta(minutes=10)
_AT_ONCE = 16  # calls to the sandbox that are under way together


@dataclass(frozen=True)
class Customer:
    """A customer with a card and a subscription; `invoice` is the renewal that failed."""

    id: str
    subscription: str
    invoice: str = ""

    @property
    def workflow_id(self) -> str:
        """The id of the case's workflow."""
        return invoice_dunning_id(self.invoice)


class World:
    """A running stack, and everything that happens to it from outside."""

    def __init__(self, stack: Stack, control: ControlClient, ledger: Ledger) -> None:
        self.stack, self.control, self.ledger = stack, control, ledger
        self.clock = WorldClock(stack.client, control)
        self.dunning = DunningClient(stack.client)
        self.http = StripeHttp(20.0)
        self.stripe = make_stripe(STRIPE_KEY, self.http, api_base=stack.addresses.sandbox).v1
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._price = ""
        self._cards = itertools.count()

    async def customers(self, count: int, bank: str) -> list[Customer]:
        """New customers. `bank`: what the bank answers to each attempt; the first one is to the sign-up."""
        if not self._price:
            monthly: stripe.params.PriceCreateParams = {
                "unit_amount": 1_900,
                "currency": "usd",
                "recurring": {"interval": "month"},
                "product_data": {"name": "Cloud plan"},
            }
            self._price = (await self.stripe.prices.create_async(monthly)).id
        return list(await asyncio.gather(*(self._customer(bank) for _ in range(count))))

    async def _customer(self, bank: str) -> Customer:
        async with self._gate:
            own = {"outcomes": bank, "fingerprint": f"fp_bench{next(self._cards)}"}  # no budget is shared
            card = await self.stripe.payment_methods.create_async(
                {"type": "card", "card": {"token": "tok_visa"}, "metadata": own}
            )
            customer = await self.stripe.customers.create_async(
                {
                    "name": "Ada Example",
                    "email": "ada@customer.example",
                    "payment_method": card.id,
                    "invoice_settings": {"default_payment_method": card.id},
                }
            )
            subscription = await self.stripe.subscriptions.create_async(
                {"customer": customer.id, "items": [{"price": self._price}]}
            )
            return Customer(customer.id, subscription.id)

    async def renew(self, customer: Customer) -> Customer:
        """The next period begins and its charge fails; the webhook opens the case."""
        async with self._gate:
            invoice = await self.control.renew(customer.subscription)
        return Customer(customer.id, customer.subscription, str(invoice["id"]))

    async def unannounced(self, customer: Customer) -> None:
        """Stripe's next word about this customer's failed payment gets lost."""
        await self.control.webhook_fault(
            "drop", event=rf'(?s)(?=.*"invoice\.payment_failed")(?=.*"{customer.id}")'
        )

    async def pay(self, customer: Customer) -> None:
        """The customer pays on the hosted invoice page, with another card."""
        invoice = await self.stripe.invoices.retrieve_async(customer.invoice)
        if invoice.hosted_invoice_url is None:
            raise StackError(f"invoice {customer.invoice} has no hosted page")
        async with httpx.AsyncClient(timeout=20.0, trust_env=False) as browser:
            answer = await browser.post(invoice.hosted_invoice_url, data={"card": "4242424242424242"})
            answer.raise_for_status()

    async def case(self, customer: Customer) -> CaseRecord:
        """The case as the ledger has it. Raises StackError when none was opened."""
        found = await self.ledger.cases.by_invoice("", customer.invoice)
        if found is None:
            raise StackError(f"no case was opened for invoice {customer.invoice}")
        return found

    async def settle(self, customers: Iterable[Customer]) -> None:
        """Webhooks are delivered, and these cases have done what they asked for."""
        await self.clock.settle([customer.workflow_id for customer in customers])

    async def step(self, customers: Iterable[Customer]) -> list[Customer]:
        """Bring the open ones of these cases to what falls due next; returns those that are still open."""
        cases = [(customer, await self.case(customer)) for customer in customers]
        due = [(case.next_at, customer) for customer, case in cases if case.open and case.next_at]
        if due:
            first = min(at for at, _ in due)
            now = [(at, customer) for at, customer in due if at <= first + TOGETHER]
            latest: datetime = max(at for at, _ in now)
            await self.clock.advance(latest, [customer.workflow_id for _, customer in now])
            await self.control.drain()
        return [customer for customer, case in cases if case.open]


@asynccontextmanager
async def world(settings: Mapping[str, str] | None = None) -> AsyncIterator[World]:
    """A fresh stack with the bench's policies."""
    wanted = {"DUNNING_POLICIES": str(POLICIES)} | dict(settings or {})
    async with (
        local_stack("bench", lambda _line: None, wanted) as stack,
        ControlClient(stack.addresses.sandbox) as control,
    ):
        ledger = await Ledger.open(stack.settings.database_url)
        try:
            made = World(stack, control, ledger)
            async with made.http:
                yield made
        finally:
            await ledger.close()
