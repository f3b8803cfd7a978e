"""The scan for cards that expire: exactly the right cases, once, though its worker is killed in the middle.

Three hundred subscriptions in the suite; `CHAOS_SUBSCRIPTIONS` makes it larger (`make chaos`: 10,000).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetStickyTaskQueueRequest
from temporalio.client import WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from activities.context import SANDBOX_BUSINESS, Deps
from activities.interface import TASK_QUEUE
from activities.policy_book import PolicyBook
from activities.renewals import PAGE
from dunning.expiry.scan import Scanned
from starter.temporal import client_at
from tests.chaos import hasty_worker
from tests.fixtures.databases import Databases
from tests.fixtures.engine import Engine, running_engine
from tests.fixtures.processes import forking
from tests.fixtures.temporal import SCAN_NAMESPACE
from tests.fixtures.worker_process import WorkerProcess
from worker import make_workers
from workflows.ids import card_of

SUBSCRIPTIONS = int(os.environ.get("CHAOS_SUBSCRIPTIONS") or 300)
EXPIRING = SUBSCRIPTIONS * 3 // 100
PER_SECOND = 20
LIST = "/v1/subscriptions$"


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

    async def scan(self, run: str) -> WorkflowHandle[Any, Scanned]:
        """Begin a scan, as the schedule does."""
        return await self.engine.temporal.start_workflow(
            "ExpiringCardScan", id=f"scan-{run}", task_queue=TASK_QUEUE, result_type=Scanned
        )

    async def killed_at_page(
        self, page: int, scan: WorkflowHandle[Any, Scanned], worker: WorkerProcess
    ) -> None:
        """Let the scan come to a page, and kill its worker while Stripe has the question."""
        control = self.engine.control
        held = await control.fault("pause", service="stripe", method="GET", path=LIST)
        for _ in range(page - 1):
            await control.held(held, timeout=30)
            upcoming = await control.fault("pause", service="stripe", method="GET", path=LIST)
            await control.release(held)
            held = upcoming
        assert await control.held(held, timeout=30) == 1
        await worker.kill()
        await control.release(held)
        execution = WorkflowExecution(workflow_id=scan.id)
        await self.engine.temporal.workflow_service.reset_sticky_task_queue(
            ResetStickyTaskQueueRequest(namespace=SCAN_NAMESPACE, execution=execution)
        )

    async def cases(self) -> Counter[str]:
        """The cards of all cases that were ever opened."""
        found = self.engine.temporal.list_workflows("WorkflowType = 'CardExpiry'")
        return Counter([card[0] async for case in found if (card := card_of(case.id)) is not None])

    async def most_pages_in_a_second(self) -> int:
        """The fullest second of all requests for subscriptions."""
        requests = await self.engine.control.requests(service="stripe", method="GET", path=LIST)
        asked = sorted(request.at for request in requests)
        return max(
            sum(1 for at in asked[i:] if at < first + timedelta(seconds=1)) for i, first in enumerate(asked)
        )


@asynccontextmanager
async def workers(engine: Engine) -> AsyncIterator[None]:
    """The workers of a process, in this one."""
    deps = Deps(
        stripe=engine.stripe_client,
        ledger=engine.ledger,
        policies=PolicyBook(engine.policies),
        business=SANDBOX_BUSINESS,
    )
    async with AsyncExitStack() as stack:
        for worker in make_workers(engine.temporal, deps, engine.settings):
            await stack.enter_async_context(worker)
        yield


@pytest_asyncio.fixture(loop_scope="session")
async def business(
    temporal_env: WorkflowEnvironment, sqlite_databases: Databases, tmp_path: Path
) -> AsyncIterator[Business]:
    """A business with a namespace of its own, so that its workers may come and go."""
    address = temporal_env.client.service_client.config.target_host
    client = await client_at(address, namespace=SCAN_NAMESPACE)
    limit = {"STRIPE_ACTIVITIES_PER_SECOND": str(PER_SECOND), "DUNNING_LOG_LEVEL": "WARNING"}
    async with running_engine(client, sqlite_databases, tmp_path, workers=False, **limit) as engine:
        yield Business(engine, f"{await engine.now():%Y-%m}")


@forking
@pytest.mark.timeout(120 + SUBSCRIPTIONS // 20)
async def test_of_many_subscriptions_three_in_a_hundred_expire_and_the_worker_dies_amid_the_scan(
    business: Business, tmp_path: Path
) -> None:
    ending = SUBSCRIPTIONS // 100  # their cards expire too, and nothing will be charged
    await business.subscribers(SUBSCRIPTIONS - EXPIRING - ending, dies=False)
    await business.subscribers(EXPIRING, dies=True)
    await business.subscribers(ending, dies=True, cancel_at_period_end=True)

    worker = WorkerProcess(business.engine, tmp_path / "worker.log", hasty_worker.main)
    await worker.start()
    scan = await business.scan("first")
    await business.killed_at_page(max(2, SUBSCRIPTIONS // PAGE // 2), scan, worker)
    async with workers(business.engine):
        assert await scan.result() == Scanned(looked_at=SUBSCRIPTIONS, started=EXPIRING, known=0)
        again = await (await business.scan("again")).result()

    assert again == Scanned(looked_at=SUBSCRIPTIONS, started=0, known=EXPIRING)
    assert await business.cases() == Counter(business.dying)
    assert await business.most_pages_in_a_second() <= PER_SECOND * 1.5  # a burst fills what was left over
