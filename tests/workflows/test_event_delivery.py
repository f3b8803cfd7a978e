"""Events from a living case to the business, and an event on its way for three days."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from starlette.responses import Response
from temporalio.client import Client, WorkflowFailureError
from temporalio.testing import TimeSkipper

from activities.endpoints import Endpoints
from dunning.case import Announcement
from dunning.endpoints import Endpoint
from ledger.outgoing import Outgoing
from starter.relay import relay, start
from tests.fixtures.backend import SECRET, Backend, hearing
from tests.fixtures.databases import Databases
from tests.fixtures.engine import Engine, running_engine
from tests.fixtures.reconciling import PATIENCE, reconcile
from tests.fixtures.temporal import eventually
from tests.ledger.acts import NOW, claim_case, said, summary
from workflows.ids import event_delivery_id


@pytest_asyncio.fixture
async def backend() -> AsyncIterator[Backend]:
    """A system of the business."""
    async with hearing() as listens:
        yield listens


@pytest_asyncio.fixture
async def telling(
    engine_client: Client, sqlite_databases: Databases, backend: Backend, tmp_path: Path
) -> AsyncIterator[Engine]:
    """An engine that tells the backend everything."""
    listed = [Endpoint(name="backend", url=backend.url)]
    endpoints = Endpoints.of(listed, [("backend", SECRET)], loopback=True)
    async with running_engine(engine_client, sqlite_databases, tmp_path, endpoints=endpoints) as running:
        yield running


async def put_out(engine: Engine, event_id: str) -> None:
    """A step is committed whose worker dies before it starts the delivery."""
    claim = await claim_case(engine.ledger)
    told = Announcement(id=event_id, type="suspended", at=NOW, data={"invoice": "in_1"})
    going = [Outgoing(announcement=told, endpoints=("backend",))]
    await engine.ledger.cases.remember(claim.case_id, 0, said("opened"), summary(), outgoing=going)


async def state_of(engine: Engine, event_id: str) -> str:
    """How the delivery stands."""
    delivery = await engine.ledger.outbox.delivery(event_id, "backend")
    assert delivery is not None
    return delivery.state


async def test_the_backend_follows_a_case_from_its_first_failure_to_the_payment(
    telling: Engine, backend: Backend
) -> None:
    case = await telling.case("expired_card")
    await case.until(22)
    await case.customer_pays()
    assert (await case.result()).outcome == "recovered"

    await eventually(lambda: backend.types.count("closed") == 1, "the backend hears of the end")
    heard = sorted(type for type in backend.types if type != "message.sent")
    doors = ["access.changed", "access.changed"]
    assert heard == sorted(
        [*doors, "case.opened", "grace.started", "suspended", "recovered", "restored", "closed"]
    )
    assert len(set(backend.ids)) == len(backend.ids)
    record = await case.record()
    assert record is not None
    assert {event["data"]["case_id"] for event in backend.events} == {record.id}
    said_of_customer = [case.email, "Ada Example"]
    assert not any(word in str(backend.events) for word in said_of_customer)


async def test_the_backend_hears_what_a_reconciliation_found_and_fixed(
    telling: Engine, backend: Backend
) -> None:
    await telling.unannounced("insufficient_funds")
    await telling.control.advance(PATIENCE.total_seconds())
    await reconcile(telling, dry_run=True)
    await reconcile(telling)

    await eventually(lambda: backend.types.count("reconciliation.finished") == 2, "both are told")
    told = [event["data"] for event in backend.events if event["type"] == "reconciliation.finished"]
    assert {(each["dry_run"], *each["findings"]["lost_event"].values()) for each in told} == {
        (True, 1, 0, 1),
        (False, 1, 1, 0),
    }


async def test_what_a_killed_worker_left_in_the_outbox_is_told_once_by_the_next_ones(
    telling: Engine, backend: Backend
) -> None:
    await put_out(telling, "evt_left")
    await asyncio.gather(*(relay(telling.temporal, telling.ledger) for _ in range(3)))
    await eventually(lambda: backend.ids == ["evt_left"], "it is told")
    handle = telling.temporal.get_workflow_handle(event_delivery_id("evt_left", "backend"))
    assert (await handle.result())["state"] == "delivered"
    assert await relay(telling.temporal, telling.ledger) == 0
    assert backend.ids == ["evt_left"]


async def test_a_backend_that_is_down_for_three_days_hears_it_then(
    telling: Engine, backend: Backend, clock: TimeSkipper
) -> None:
    backend.answers = [Response(status_code=500) for _ in range(9)]
    await put_out(telling, "evt_late")
    await relay(telling.temporal, telling.ledger)
    handle = telling.temporal.get_workflow_handle(event_delivery_id("evt_late", "backend"))
    await clock.fast_forward(handle)

    assert (await handle.result())["state"] == "delivered"
    assert backend.ids == ["evt_late"] * 10
    attempts = await telling.ledger.outbox.attempts("evt_late")
    assert [attempt.status for attempt in attempts] == [500] * 9 + [204]
    assert timedelta(days=3) < attempts[-1].at - attempts[0].at < timedelta(days=3.6)


async def test_an_event_is_sent_again_when_somebody_asks_for_it(telling: Engine, backend: Backend) -> None:
    backend.answers = [Response(status_code=500)]
    await put_out(telling, "evt_again")
    await relay(telling.temporal, telling.ledger)
    await eventually(lambda: len(backend.ids) == 1, "it is told and refused")

    outbox = telling.ledger.outbox
    for times in (2, 3):  # while it waits for its next try, and after it was delivered
        await outbox.again("evt_again", "backend", datetime.now(UTC))
        delivery = await outbox.delivery("evt_again", "backend")
        assert delivery is not None
        await start(telling.temporal, telling.ledger, delivery, anew=True)
        handle = telling.temporal.get_workflow_handle(event_delivery_id("evt_again", "backend"))
        assert (await handle.result())["state"] == "delivered"
        assert backend.ids == ["evt_again"] * times


@pytest.mark.parametrize("given", [[], [7], [{"event_id": "evt_1"}], [{}, {}]])
async def test_an_input_that_cannot_be_used_ends_the_run(telling: Engine, given: list[object]) -> None:
    with pytest.raises(WorkflowFailureError) as failed:
        await telling.temporal.execute_workflow(
            "EventDelivery", args=given, id="event-delivery/malformed", task_queue="dunning"
        )
    assert "give one JSON object" in str(failed.value.cause)
