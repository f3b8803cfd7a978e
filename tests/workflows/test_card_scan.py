"""The scan for cards that expire: exactly the right cases, once, and within the limit of calls to Stripe."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest_asyncio
from temporalio.client import Client
from temporalio.worker import Worker

from activities.context import SANDBOX_BUSINESS, Deps
from activities.policy_book import PolicyBook
from dunning.expiry.scan import Scanned
from tests.fixtures.databases import Databases
from tests.fixtures.engine import Engine, running_engine
from worker import make_workers
from workflows.ids import card_expiry_id, card_of
from workflows.sweeps import ExpiringCardScan

PER_SECOND = 20
SCAN = "scan"


@dataclass
class Business:
    """Subscribers at Stripe, and whose card will be charged after its last day."""

    engine: Engine
    expiry: str
    dying: set[str] = field(default_factory=set)

    async def subscribers(self, copies: int, *, dies: bool, **subscription: Any) -> None:
        """So many monthly subscribers, whose card is valid through this month or for years."""
        customer, _ = await self.engine.customer()
        method = await self.engine.card(customer, "succeeded")
        year, month = self.expiry.split("-")
        given: Any = {"exp_year": int(year) if dies else 2040, "exp_month": int(month)}
        await self.engine.stripe.payment_methods.update_async(method, {"card": given})
        template = await self.engine.subscription(customer)
        if subscription:
            await self.engine.stripe.subscriptions.update_async(template, subscription)  # type: ignore[arg-type]
        made = await self.engine.control.multiply(template, copies - 1)
        if dies and not subscription:
            self.dying |= {method, *(copy["payment_method"] for copy in made)}

    async def scan(self, run: str) -> Scanned:
        """Scan, as the schedule does."""
        return await self.engine.temporal.execute_workflow(
            "ExpiringCardScan", id=f"scan-{run}", task_queue=SCAN, result_type=Scanned
        )

    async def cases(self) -> list[str]:
        """The cards of all cases that were ever opened."""
        found = self.engine.temporal.list_workflows("WorkflowType = 'CardExpiry'")
        return [card[0] async for case in found if (card := card_of(case.id)) is not None]

    async def most_requests_in_a_second(self) -> int:
        """The fullest second of all requests for subscriptions."""
        requests = await self.engine.control.requests(service="stripe", path="/v1/subscriptions")
        asked = sorted(r.at for r in requests if r.method == "GET")
        return max(
            sum(1 for at in asked[i:] if at < first + timedelta(seconds=1)) for i, first in enumerate(asked)
        )


@pytest_asyncio.fixture(loop_scope="session")
async def business(
    spare_client: Client, sqlite_databases: Databases, tmp_path: Path
) -> AsyncIterator[Business]:
    """A business whose cases are opened and wait: nobody serves the queue of the cases."""
    async with running_engine(
        spare_client, sqlite_databases, tmp_path, workers=False, STRIPE_ACTIVITIES_PER_SECOND=str(PER_SECOND)
    ) as engine:
        found = Business(engine, f"{await engine.now():%Y-%m}")
        yield found
        for case in await found.cases():
            await engine.temporal.get_workflow_handle(card_expiry_id(case, found.expiry)).terminate()


async def workers(stack: AsyncExitStack, engine: Engine) -> None:
    """The worker of the calls to Stripe, as the process makes it, and one for the scan itself."""
    deps = Deps(
        stripe=engine.stripe_client,
        ledger=engine.ledger,
        policies=PolicyBook(engine.policies),
        business=SANDBOX_BUSINESS,
    )
    _, stripe, _ = make_workers(engine.temporal, deps, engine.settings)
    await stack.enter_async_context(stripe)
    await stack.enter_async_context(
        Worker(engine.temporal, task_queue=SCAN, workflows=[ExpiringCardScan])
    )


async def test_a_thousand_subscriptions_of_which_three_in_a_hundred_expire(business: Business) -> None:
    await business.subscribers(960, dies=False)
    await business.subscribers(30, dies=True)
    await business.subscribers(10, dies=True, cancel_at_period_end=True)

    async with AsyncExitStack() as stack:
        await workers(stack, business.engine)
        first = await business.scan("first")
        again = await business.scan("again")

    assert first == Scanned(looked_at=1_000, started=30, known=0)
    assert again == Scanned(looked_at=1_000, started=0, known=30)
    assert Counter(await business.cases()) == Counter(business.dying)
    assert await business.most_requests_in_a_second() <= PER_SECOND * 1.5  # a burst fills what was left over
