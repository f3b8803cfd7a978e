"""What happens to a provider's event once it is known to be real: look up, route, wake."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import structlog
from sqlalchemy.exc import SQLAlchemyError
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError, RPCStatusCode

from activities.interface import TASK_QUEUE
from ledger import Ledger, LedgerError
from starter.errors import EngineUnavailable
from starter.webhooks.stripe import Found, Query, Route, StripeEvent, Wake, query_of, route

log = structlog.get_logger(__name__)

WORKFLOW = "InvoiceDunning"
SIGNAL = "billing_event"
#: A customer with more open cases than this has other problems; the rest is found by the cases' own reading.
MOST_CASES = 100
#: Readers at once. More would open connections beyond the ledger's pool and close them again, for each event.
MOST_READERS = 5

Result = Literal["woken", "ignored", "gone"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of an event: how many cases were told, or why none was."""

    result: Result
    cases: int = 0
    why: str = ""


class Receiver:
    """Wakes the cases that an event concerns. Answers fast or not at all: Stripe delivers again."""

    def __init__(self, client: Client, ledger: Ledger, timeout: timedelta) -> None:
        self._client, self._ledger, self._timeout = client, ledger, timeout
        self._readers = asyncio.Semaphore(MOST_READERS)

    async def receive(self, event: StripeEvent) -> Receipt:
        """Route an event and wake its cases. Raises EngineUnavailable when the ledger or Temporal is away."""
        asked = query_of(event)
        routed = asked if isinstance(asked, Route) else route(event, await self._find(event, asked))
        if not routed.wakes:
            log.debug("event ignored", event_id=event.id, event_type=event.type, why=routed.why)
            return Receipt("ignored", why=routed.why)
        told = await asyncio.gather(*(self._wake(wake, event) for wake in routed.wakes))
        count = sum(told)
        log.info("event received", event_id=event.id, event_type=event.type, cases=count)
        return Receipt("woken", count) if count else Receipt("gone", why="the case runs no more")

    async def _find(self, event: StripeEvent, query: Query) -> Found:
        try:
            async with asyncio.timeout(self._timeout.total_seconds()), self._readers:
                return await self._look_up(event, query)
        except (SQLAlchemyError, LedgerError, OSError, TimeoutError) as error:
            raise EngineUnavailable("the ledger does not answer: deliver the event again later") from error

    async def _look_up(self, event: StripeEvent, query: Query) -> Found:
        cases = self._ledger.cases
        if query.invoice is None:
            page = await cases.find(
                account=query.account,
                customer=query.customer,
                subscription=query.subscription,
                open_only=True,
                limit=MOST_CASES,
            )
            return Found(open=page.cases)
        latest = await cases.by_invoice(query.account, query.invoice)
        if event.type != "invoice.paid" or latest is None or latest.open or latest.subscription is None:
            return Found(latest=latest)
        suspension = await self._ledger.suspensions.active(query.account, latest.subscription)
        return Found(latest=latest, suspended=suspension is not None and query.invoice in suspension.invoices)

    async def _wake(self, wake: Wake, event: StripeEvent) -> bool:
        """Signal one case; False when it runs no more (Temporal knows before the ledger does)."""
        try:
            if wake.start:
                await self._client.start_workflow(
                    WORKFLOW,
                    dict(wake.input),
                    id=wake.workflow_id,
                    task_queue=TASK_QUEUE,
                    id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                    start_signal=SIGNAL,
                    start_signal_args=[event.hint],
                    rpc_timeout=self._timeout,
                )
            else:
                handle = self._client.get_workflow_handle(wake.workflow_id)
                await handle.signal(SIGNAL, event.hint, rpc_timeout=self._timeout)
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND and "namespace" not in error.message.lower():
                return False
            raise EngineUnavailable("Temporal does not answer: deliver the event again later") from error
        except RuntimeError as error:  # a lazy client that cannot connect yet
            raise EngineUnavailable("Temporal does not answer: deliver the event again later") from error
        return True
