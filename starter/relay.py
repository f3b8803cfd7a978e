"""Starts the delivery of what stands in the ledger's outbox."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from activities.interface import TASK_QUEUE
from dunning.endpoints import DeliveryOrder
from ledger import Ledger, LedgerError
from ledger.outgoing import EventDelivery
from workflows.ids import event_delivery_id

log = logging.getLogger("dunning.relay")

#: A worker that died between the ledger and Temporal leaves what another one finds after so long.
LOOK_EVERY = timedelta(seconds=30)


async def relay(client: Client, ledger: Ledger) -> int:
    """Start a workflow for each delivery that nobody carries; how many there were.

    Several relays may meet at one delivery: the id of the workflow lets one of them through, and a delivery
    that is over is not made again.
    """
    count = 0
    while waiting := await ledger.outbox.pending():
        for delivery in waiting:
            await start(client, ledger, delivery)
        count += len(waiting)
    return count


async def start(client: Client, ledger: Ledger, delivery: EventDelivery, *, anew: bool = False) -> None:
    """Start the workflow of a delivery. `anew`: instead of one that waits for its next try."""
    conflict = WorkflowIDConflictPolicy.TERMINATE_EXISTING if anew else WorkflowIDConflictPolicy.FAIL
    with suppress(WorkflowAlreadyStartedError):
        await client.start_workflow(
            "EventDelivery",
            DeliveryOrder(event_id=delivery.event_id, endpoint=delivery.endpoint),
            id=event_delivery_id(delivery.event_id, delivery.endpoint),
            task_queue=TASK_QUEUE,
            id_conflict_policy=conflict,
            static_summary=f"event {delivery.event_id} to {delivery.endpoint}",
        )
    await ledger.outbox.started(delivery.event_id, delivery.endpoint, datetime.now(UTC))


@asynccontextmanager
async def relaying(client: Client, ledger: Ledger, news: asyncio.Event) -> AsyncIterator[None]:
    """While the block runs: relay whenever there is `news`, and now and then without."""
    task = asyncio.create_task(_relay_for_ever(client, ledger, news))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _relay_for_ever(client: Client, ledger: Ledger, news: asyncio.Event) -> None:
    while True:
        news.clear()
        try:
            await relay(client, ledger)
        except (RPCError, SQLAlchemyError, LedgerError, OSError) as error:
            log.warning("events wait in the outbox: %s", type(error).__name__)
        with suppress(TimeoutError):
            await asyncio.wait_for(news.wait(), LOOK_EVERY.total_seconds())
