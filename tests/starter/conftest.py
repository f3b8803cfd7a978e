"""The whole engine: a real worker on a dev server, real SDKs against the sandbox, the app."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest_asyncio
import stripe
from temporalio.client import Client, WorkflowHandle

from activities.context import SANDBOX_BUSINESS, Deps, PolicyBook, make_stripe
from activities.stripe_http import StripeHttp
from dunning.values import Outcome
from ledger import Ledger
from sandbox.app import serving_in_thread
from sandbox.control_client import ControlClient
from sandbox.deliveries import Backoff
from sandbox.twilio import ACCOUNT_SID, AUTH_TOKEN
from sandbox.world import World
from starter.app import create_app
from starter.client import DunningClient
from starter.settings import Settings
from tests.activities.shop import Renewal, Shop
from tests.fixtures.databases import Databases
from tests.fixtures.temporal import SPARE_NAMESPACE, eventually
from worker import make_workers
from workflows.ids import invoice_dunning_id

SECRET = "whsec_test"


@dataclass
class Engine:
    """Everything that runs, and short ways to use it."""

    settings: Settings
    temporal: Client
    ledger: Ledger
    shop: Shop
    http: httpx.AsyncClient
    client: DunningClient
    environment: dict[str, str]
    ids: Iterator[int]

    async def failed(self, *outcomes: str, **customer: Any) -> Renewal:
        """A renewal that just failed at Stripe; nobody has told the engine."""
        return await self.shop.renewal(*(outcomes or ("insufficient_funds",)), **customer)

    async def case(self, *outcomes: str, **customer: Any) -> Renewal:
        """A renewal whose case is open and waits."""
        renewal = await self.failed(*outcomes, **customer)
        await self.client.start(renewal.invoice)
        await self.opened(renewal.invoice)
        return renewal

    async def paid_by_hand(self, renewal: Renewal) -> str:
        """Somebody charges the invoice in Stripe's dashboard, and its case closes; returns the charge."""
        await self.shop.stripe.invoices.pay_async(renewal.invoice)
        await self.tell("invoice.paid", {"id": renewal.invoice, "object": "invoice"})
        assert (await self.client.result(renewal.invoice)).outcome is Outcome.RECOVERED
        books = await self.shop.control.stripe_books()
        rows = [row for row in books["charges"] if row["invoice"] == renewal.invoice]
        return next(str(row["id"]) for row in rows if row["status"] == "succeeded")

    async def opened(self, invoice: str) -> None:
        """Wait until the case of an invoice stands in the ledger and waits for something."""

        async def waits() -> bool:
            found = await self.ledger.cases.by_invoice("", invoice)
            return found is not None and (found.next_at is not None or not found.open)

        await eventually(waits, f"the case of {invoice} opens")

    async def tell(self, type: str, object: dict[str, Any], **more: Any) -> httpx.Response:
        """A signed event, as Stripe delivers it."""
        created = int((await self.shop.control.now()).timestamp())
        event = {
            "id": f"evt_{next(self.ids)}",
            "object": "event",
            "type": type,
            "created": created,
            "data": {"object": object},
            **more,
        }
        return await self.post(json.dumps(event))

    async def post(self, body: str, secret: str = SECRET, at: int | None = None) -> httpx.Response:
        """A signed body."""
        signature = stripe.WebhookSignature.generate_signature_header(body, secret, at or int(time.time()))
        return await self.http.post(
            "/webhooks/stripe", content=body.encode(), headers={"Stripe-Signature": signature}
        )

    def handle(self, invoice: str) -> WorkflowHandle[Any, Any]:
        return self.temporal.get_workflow_handle(invoice_dunning_id(invoice))

    async def signals(self, invoice: str) -> list[dict[str, Any]]:
        """The hints that a case was given, in order."""
        found: list[dict[str, Any]] = []
        async for event in self.handle(invoice).fetch_history_events():
            attributes = event.workflow_execution_signaled_event_attributes
            if attributes.signal_name == "billing_event":
                found.append(json.loads(attributes.input.payloads[0].data))
        return found


def app_client(app: Any, host: str = "127.0.0.1") -> httpx.AsyncClient:
    """A client of an ASGI app, calling from an address."""
    transport = httpx.ASGITransport(app, client=(host, 50000), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engine(spare_client: Client, sqlite_databases: Databases) -> AsyncIterator[Engine]:
    """The running engine, shared by the tests of this folder: each makes customers of its own."""
    async with AsyncExitStack() as stack:
        world = World(backoff=Backoff(first=0.01, longest=0.02, tries=4))
        stack.enter_context(serving_in_thread(world))
        control = await stack.enter_async_context(ControlClient(world.public_url))
        address = spare_client.service_client.config.target_host
        url = sqlite_databases.ready()
        environment = {
            "TEMPORAL_ADDRESS": address,
            "TEMPORAL_NAMESPACE": SPARE_NAMESPACE,
            "DATABASE_URL": url,
            "STRIPE_API_KEY": "sk_test_starter",
            "STRIPE_API_BASE": control.url,
            "STRIPE_WEBHOOK_SECRET": f"whsec_other,{SECRET}",
            "STRIPE_ACTIVITIES_PER_SECOND": "0",
            "SENDGRID_API_KEY": "SG.starter.starter",
            "SENDGRID_API_BASE": control.url,
            "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
            "TWILIO_AUTH_TOKEN": AUTH_TOKEN,
            "TWILIO_API_BASE": control.url,
            "TWILIO_MESSAGING_SERVICE_SID": "MG" + "0" * 32,
        }
        settings = Settings.model_validate({key.lower(): value for key, value in environment.items()})
        ledger = await Ledger.open(url)
        stack.push_async_callback(ledger.close)
        stripe_http = await stack.enter_async_context(StripeHttp(5.0))
        stripe_client = make_stripe("sk_test_starter", stripe_http, api_base=control.url)
        deps = Deps(stripe=stripe_client, ledger=ledger, policies=PolicyBook(), business=SANDBOX_BUSINESS)
        for worker in make_workers(spare_client, deps, settings):
            await stack.enter_async_context(worker)
        http = await stack.enter_async_context(app_client(create_app(settings, spare_client, ledger)))
        yield Engine(
            settings=settings,
            temporal=spare_client,
            ledger=ledger,
            shop=Shop(control, deps),
            http=http,
            client=DunningClient.over(spare_client, settings),
            environment=environment,
            ids=itertools.count(1),
        )
