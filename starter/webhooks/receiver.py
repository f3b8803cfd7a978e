"""What happens to a provider's event once it is known to be real: look up, route, wake."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import structlog
from sqlalchemy.exc import SQLAlchemyError
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError, RPCStatusCode

from activities.interface import TASK_QUEUE
from dunning.reconciliation import Concern
from dunning.reports import REPORTS, line, reversal
from dunning.start import parse_hint
from dunning.values import Outcome
from ledger import Ledger, LedgerError
from ledger.records import CaseRecord
from starter.errors import EngineUnavailable
from starter.webhooks.routing import FAILURES, Found, Query, Route, Wake, query_of, route
from starter.webhooks.signals import Told, signals_of
from starter.webhooks.stripe import StripeEvent, translate
from workflows.ids import payment_report_id

log = structlog.get_logger(__name__)

SIGNAL = "billing_event"
#: A customer with more open cases than this has other problems; the rest is found by the cases' own reading.
MOST_CASES = 100
#: Readers at once. More would open connections beyond the ledger's pool and close them again, for each event.
MOST_READERS = 5

Hint = dict[str, Any]
Result = Literal["woken", "noted", "ignored", "gone", "asked"]


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
        routed = await self._route(event, asked)
        await self._remember(event, asked)
        if routed.stranger:
            return await self._ask(event)
        if not routed.wakes and routed.note is None:
            log.debug("event ignored", event_id=event.id, event_type=event.type, why=routed.why)
            return Receipt("ignored", why=routed.why)
        hint = event.hint | dict(routed.about)
        if routed.paid is not None:
            await self._keep(routed.paid, hint)
        if routed.in_turn:
            await self._take_turns(routed.in_turn, event)
        told = [await self._wake(wake, hint) for wake in routed.wakes]
        count = sum(told)
        if count < len(told) and event.type in REPORTS:  # one that has closed since it was looked up
            routed = await self._route(event, asked)
        noted = await self._note(routed.note, hint) if routed.note is not None else False
        log.info("event received", event_id=event.id, event_type=event.type, cases=count, noted=noted)
        if count:
            return Receipt("woken", count)
        if routed.note is not None:
            why = "its case is closed" if noted else "its case is closed and knows it already"
            return Receipt("noted", why=why)
        return Receipt("gone", why="the case runs no more")

    async def _remember(self, event: StripeEvent, asked: Query | Route) -> None:
        """What the event says of the customer beyond any case: the early warning reads it."""
        told = signals_of(event)
        if event.type == "charge.dispute.created" and isinstance(asked, Query):
            found = await self._find(event, asked)
            whose = {case.customer for case in (found.latest, *found.open) if case is not None}
            told = tuple(Told("disputed", customer) for customer in whose)
        async with self._ledger_answers():
            for each in told:
                await self._ledger.risks.told(
                    account=event.account,
                    customer=each.customer,
                    kind=each.kind,
                    key=event.id,
                    at=event.created,
                    by="stripe",
                )

    async def concerns(self, event: Mapping[str, Any]) -> Concern | None:
        """Whom an event of Stripe's list of events has news for; None for nobody. It wakes nobody.

        A case that was opened after the event has read its invoice since.
        """
        lost = translate(json.dumps(event).encode())
        asked = query_of(lost)
        if isinstance(asked, Route):
            return None
        found = await self._find(lost, asked)
        routed = route(lost, found if lost.type in FAILURES or lost.type in REPORTS else _older(found, lost))
        if routed.stranger:
            return Concern(words="Stripe is asked whose payment it was")
        if routed.note is not None:
            return Concern(words=f"it belongs into the timeline of {routed.note.id}")
        if not routed.wakes:
            return None
        verb = "opens or wakes" if routed.wakes[0].start else "wakes"
        workflows = tuple(wake.workflow_id for wake in routed.wakes)
        return Concern(workflows=workflows, words=f"it {verb} {', '.join(workflows)}")

    async def receive_again(self, event: Mapping[str, Any]) -> bool:
        """Receive an event of Stripe's list of events; whether it was told to a case. See `receive`."""
        receipt = await self.receive(translate(json.dumps(event).encode()))
        return receipt.result in ("woken", "noted")

    async def _route(self, event: StripeEvent, asked: Query | Route) -> Route:
        return asked if isinstance(asked, Route) else route(event, await self._find(event, asked))

    async def tell(self, workflow_id: str, hint: Hint) -> bool:
        """Give one case a hint; False when it runs no more. Raises EngineUnavailable."""
        return await self.signal(workflow_id, SIGNAL, hint)

    async def signal(self, workflow_id: str, name: str, payload: Mapping[str, Any]) -> bool:
        """Signal one case; False when it runs no more. Raises EngineUnavailable."""
        handle = self._client.get_workflow_handle(workflow_id)
        return await _reached(handle.signal(name, payload, rpc_timeout=self._timeout))

    @asynccontextmanager
    async def _ledger_answers(self) -> AsyncIterator[None]:
        """Ask the ledger in this block. Raises EngineUnavailable when it does not answer in time."""
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                yield
        except (SQLAlchemyError, LedgerError, OSError, TimeoutError) as error:
            raise EngineUnavailable("the ledger does not answer: deliver the event again later") from error

    async def _find(self, event: StripeEvent, query: Query) -> Found:
        async with self._ledger_answers(), self._readers:
            return await self._look_up(event, query)

    async def _look_up(self, event: StripeEvent, query: Query) -> Found:
        cases = self._ledger.cases
        if query.charge is not None:
            return await self._look_up_payment(query, query.charge)
        if query.invoice is None:
            cards = await self._ledger.cards.concerned(
                query.account, customer=query.customer, method=query.method
            )
            if query.method is not None:
                return Found(cards=cards)
            page = await cases.find(
                account=query.account,
                customer=query.customer if query.subscription is None else None,
                subscription=query.subscription,
                open_only=True,
                limit=MOST_CASES,
            )
            return Found(open=page.cases, cards=cards)
        latest = await cases.by_invoice(query.account, query.invoice)
        if event.type != "invoice.paid" or latest is None or latest.open or latest.subscription is None:
            return Found(latest=latest)
        suspension = await self._ledger.suspensions.active(query.account, latest.subscription)
        return Found(latest=latest, suspended=suspension is not None and query.invoice in suspension.invoices)

    async def _look_up_payment(self, query: Query, charge: str) -> Found:
        """The case whose invoice a charge was for, and what else the customer still owes."""
        cases = self._ledger.cases
        trace = await self._ledger.charges.trace(query.account, charge)
        latest = await cases.by_invoice(query.account, trace.invoice_id) if trace else None
        customer = latest.customer if latest else query.customer
        if not customer:
            anybody = await cases.find(account=query.account, open_only=True, limit=1)
            return Found(latest=latest, stranger=bool(anybody.cases))
        page = await cases.find(account=query.account, customer=customer, open_only=True, limit=MOST_CASES)
        return Found(latest=latest, open=page.cases, card=trace.fingerprint if trace else None)

    async def _keep(self, case: CaseRecord, hint: Hint) -> None:
        """Remember a refund or dispute as an amount, whether the case is open or closed."""
        event = parse_hint([hint], datetime.now(UTC))
        told = reversal(event)
        if told is None:
            return
        async with self._ledger_answers():
            at = event.created or event.at
            await self._ledger.reversals.saw(case.account, case.invoice_id, told, at)

    async def _note(self, case: CaseRecord, hint: Hint) -> bool:
        """Add what is reported to the timeline of a closed case; False when it stands there already."""
        event = parse_hint([hint], datetime.now(UTC))
        entry = line(event, recovered=case.outcome is Outcome.RECOVERED)
        assert entry is not None  # only reports are noted
        async with self._ledger_answers():
            return await self._ledger.cases.append_entry(case.id, entry, once=event.report or event.id)

    async def _ask(self, event: StripeEvent) -> Receipt:
        """Ask Stripe whose payment it was, outside of this call, which has to be fast."""
        try:
            await self._client.start_workflow(
                "PaymentReport",
                event.of_stranger,
                id=payment_report_id(event.id),
                task_queue=TASK_QUEUE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                rpc_timeout=self._timeout,
            )
        except (RPCError, RuntimeError) as error:
            raise EngineUnavailable("Temporal does not answer: deliver the event again later") from error
        return Receipt("asked", why="Stripe is asked whose payment it was")

    async def _take_turns(self, case_ids: tuple[str, ...], event: StripeEvent) -> None:
        """Whichever of the cases is faster: the charge of the oldest one goes first."""
        at = max(datetime.now(UTC), event.created)  # a sandbox's clock may be ahead of ours
        async with self._ledger_answers():
            await self._ledger.turns.woken(case_ids, at)

    async def _wake(self, wake: Wake, hint: Hint) -> bool:
        """Signal one case, or open it; False when it runs no more (Temporal knows before the ledger does)."""
        if not wake.start:
            return await self.tell(wake.workflow_id, hint)
        opening = self._client.start_workflow(
            wake.workflow,
            dict(wake.input),
            id=wake.workflow_id,
            task_queue=TASK_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            start_signal=SIGNAL,
            start_signal_args=[hint],
            rpc_timeout=self._timeout,
        )
        return await _reached(opening)


async def _reached(call: Awaitable[Any]) -> bool:
    """Whether a call to a case got there; False when that runs no more. Raises EngineUnavailable."""
    try:
        await call
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND and "namespace" not in error.message.lower():
            return False
        raise EngineUnavailable("Temporal does not answer: deliver the event again later") from error
    except RuntimeError as error:  # a lazy client that cannot connect yet
        raise EngineUnavailable("Temporal does not answer: deliver the event again later") from error
    return True


def _older(found: Found, event: StripeEvent) -> Found:
    """Without the cases that were opened after the event."""
    latest = found.latest
    news = latest is None or not latest.open or latest.opened_at <= event.created
    older = tuple(case for case in found.open if case.opened_at <= event.created)
    return replace(found, latest=latest if news else None, open=older)
