"""Compares Stripe with the engine: what got lost on the way, what has no case, what should have ended.

Each activity makes one call to Stripe at most, or reads one invoice, so that the limit of the task queue
holds for a reconciliation as for everything else. What is found is written down before anything is done about
it, and every remedy may be repeated: starting a case that runs and waking one twice do no harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Protocol

from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError, RPCStatusCode

from activities.context import Deps, business_time
from activities.interface import TASK_QUEUE, ReconcilingActivities
from activities.reader import InvoiceReader
from activities.stripe_calls import StripeCalls
from activities.stripe_objects import ListedInvoice
from activities.stripe_reading import moment
from dunning.announcements import reconciliation_finished
from dunning.case import CaseRef
from dunning.reconciliation import (
    ARRIVAL,
    EVENTS_KEPT,
    IN_FLIGHT,
    OVERDUE,
    OVERLAP,
    UNFINISHED,
    BeginTour,
    Concern,
    Counts,
    Examined,
    ExamineOrder,
    Finding,
    FinishOrder,
    Kind,
    Known,
    Listed,
    LookOrder,
    Reconciled,
    Remedy,
    Seen,
    Suspect,
    Tour,
    judge,
    judge_alone,
    left_alone,
    may_lack_a_case,
)
from ledger.reconciliations import PAGE

#: The events that are asked for: at most twenty types (Stripe API reference: List all events).
#: An `…updated` that got lost is made up for by the case's own reading.
REPLAYED = (
    "invoice.payment_failed",
    "invoice.payment_action_required",
    "invoice.paid",
    "invoice.voided",
    "invoice.marked_uncollectible",
    "invoice.deleted",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "customer.deleted",
    "payment_method.attached",
    "payment_method.updated",
    "payment_method.automatically_updated",
    "setup_intent.succeeded",
    "charge.dispute.created",
    "charge.dispute.closed",
    "radar.early_fraud_warning.created",
    "refund.created",
    "refund.failed",
)
HINT = {"type": "reconciliation"}
_POLICY = "standard"
_RPC = timedelta(seconds=10)


class Receiving(Protocol):
    """The webhook receiver, as far as a lost event needs it: the same routing for all."""

    async def concerns(self, event: Mapping[str, Any]) -> Concern | None:
        """Whom an event has news for; None for nobody."""

    async def receive_again(self, event: Mapping[str, Any]) -> bool:
        """Receive an event; whether a case was told."""


class Reconciling(ReconcilingActivities):
    """The activities of `Reconciliation`."""

    def __init__(self, deps: Deps, temporal: Client, receiving: Receiving) -> None:
        self._ledger = deps.ledger
        self._policies = deps.policies
        self._endpoints, self._news = deps.endpoints, deps.news
        self._temporal = temporal
        self._receiving = receiving
        self._stripe = StripeCalls(deps.stripe)
        self._reader = InvoiceReader(self._stripe, deps.ledger)

    # --- the run ----------------------------------------------------------------------------------------

    @activity.defn(name="begin_reconciliation")
    async def begin(self, order: BeginTour) -> Tour:
        """Events are looked at since the last whole reconciliation, at most as long as Stripe keeps them."""
        books, now = self._ledger.reconciliations, business_time()
        last = await books.latest(whole=True)
        started = await books.begin(order.run, dry_run=order.dry_run, importing=order.importing, at=now)
        begun = None if await books.imported() else await books.engine_since()
        known_since = begun and begun - ARRIVAL
        oldest = max(started - EVENTS_KEPT, known_since or started - EVENTS_KEPT)
        return Tour(
            run=order.run,
            started=started,
            dry_run=order.dry_run,
            importing=order.importing,
            since=order.since,
            events_since=max(oldest, last.started_at - IN_FLIGHT - OVERLAP) if last else oldest,
            known_since=known_since,
            accounts=tuple(sorted({*await books.accounts(), *order.accounts})),
        )

    @activity.defn(name="finish_reconciliation")
    async def finish(self, order: FinishOrder) -> Reconciled:
        """Write down how it ended, and tell the business."""
        tour, now, books = order.tour, business_time(), self._ledger.reconciliations
        counts = {name: getattr(order.counts, name) for name in Counts.model_fields}
        policy, found = self._policies.load(_POLICY), await books.tally(tour.run)
        told = reconciliation_finished(tour, order.counts, found, policy, now)
        await books.finish(tour.run, counts, now, self._endpoints.addressed(told))
        self._news.set()
        activity.logger.info("reconciliation finished", extra={"run": tour.run, **counts})
        return Reconciled(
            run=tour.run, started=tour.started, finished=now, dry_run=tour.dry_run, counts=order.counts
        )

    # --- pages of lists ---------------------------------------------------------------------------------

    @activity.defn(name="look_for_suspects")
    async def look(self, order: LookOrder) -> Seen:
        """One page of one list: replay what got lost, and name what may be wrong."""
        books, tour = self._ledger.reconciliations, order.tour
        match order.what:
            case "events":
                return await self._events(order)
            case "invoices":
                return await self._invoices(order)
            case "strays":
                suspects = await books.strays(tour.started, order.cursor)
                cursor = suspects[-1].case_id if len(suspects) == PAGE else None
            case "suspensions":
                suspects, cursor = await books.suspended(order.cursor)
            case "overdue":
                suspects, cursor = await books.overdue(business_time() - OVERDUE), None
            case "unknown":
                return await self._unknown(tour)
        return Seen(cursor=cursor, suspects=suspects, counts=Counts(looked_at=len(suspects)))

    async def _events(self, order: LookOrder) -> Seen:
        tour, books = order.tour, self._ledger.reconciliations
        events, more = await self._stripe.lost_events(
            order.account,
            REPLAYED,
            since=tour.events_since,
            until=tour.started - IN_FLIGHT,
            after=order.cursor,
        )
        known = await books.replayed(event["id"] for event in events)
        counts = Counts(looked_at=len(events))
        for event in reversed(events):  # the oldest first, as they happened
            activity.heartbeat(event["id"])
            if event["id"] not in known:
                counts = counts.plus(**await self._replay(tour, order.account, event))
        return Seen(cursor=events[-1]["id"] if more and events else None, counts=counts)

    async def _replay(self, tour: Tour, account: str, event: Mapping[str, Any]) -> dict[str, int]:
        concern = await self._receiving.concerns(event)
        if concern is None:
            return {}
        about = event.get("data", {}).get("object", {})
        finding = Finding(
            kind=Kind.LOST_EVENT,
            account=account,
            invoice_id=about["id"] if str(about.get("id", "")).startswith("in_") else "",
            subject=event["id"],
            workflow_id=" ".join(concern.workflows),
            words=f"{event['type']} of {moment(event['created']):%d %b %H:%M} UTC got lost: {concern.words}",
            remedy=Remedy.REPLAY,
        )
        await self._ledger.reconciliations.found(tour.run, finding, business_time())
        if tour.dry_run:
            return {"found": 1}
        await self._receiving.receive_again(event)
        await self._ledger.reconciliations.fixed(tour.run, finding, business_time())
        return {"found": 1, "fixed": 1}

    async def _invoices(self, order: LookOrder) -> Seen:
        tour, account, books = order.tour, order.account, self._ledger.reconciliations
        page = await self._stripe.open_invoices(account, since=tour.since, after=order.cursor)
        listed = [_listed(row) for row in page.data]
        ids = [invoice.id for invoice in listed]
        await books.owed(account, ids, tour.started)
        cases = await books.known(account, ids)
        known = {name: Known(open=case.open, outcome=case.outcome) for name, case in cases.items()}
        policy = self._policies.load(_POLICY)
        suspects: list[Suspect] = []
        counts = Counts(looked_at=len(listed))
        for invoice in listed:
            if not may_lack_a_case(invoice, known.get(invoice.id), policy, tour.started):
                continue
            refusal = left_alone(invoice, tour, policy.imports)
            if refusal is None:
                suspects.append(
                    Suspect(
                        kind=Kind.INVOICE_WITHOUT_CASE,
                        account=account,
                        invoice_id=invoice.id,
                        subject=invoice.id,
                        since=invoice.created,
                    )
                )
                continue
            counts = counts.plus(left_alone=1)
            if tour.importing:
                told = refusal.model_copy(update={"account": account})
                await books.found(tour.run, told, business_time())
        cursor = ids[-1] if page.has_more and ids else None
        return Seen(cursor=cursor, suspects=tuple(suspects), counts=counts)

    async def _unknown(self, tour: Tour) -> Seen:
        suspects = await self._ledger.reconciliations.unknown(business_time() - UNFINISHED)
        for suspect in suspects:
            await self._ledger.reconciliations.found(tour.run, judge_alone(suspect), business_time())
        return Seen(counts=Counts(looked_at=len(suspects), found=len(suspects)))

    # --- one suspect ------------------------------------------------------------------------------------

    @activity.defn(name="examine_suspect")
    async def examine(self, order: ExamineOrder) -> Examined:
        """Read the suspect's invoice; write down what is wrong, and mend it."""
        suspect, tour = order.suspect, order.tour
        ref = CaseRef(case_id=suspect.case_id, invoice_id=suspect.invoice_id, account=suspect.account)
        if suspect.kind is Kind.INVOICE_WITHOUT_CASE and await self._has_a_case(suspect):
            return Examined()  # its webhook was only late
        if suspect.kind is Kind.CASE_OF_SETTLED_INVOICE and await self._was_told(tour, suspect):
            return Examined()  # it is about to end
        overdue = suspect.kind is Kind.CASE_OVERDUE
        finding = judge_alone(suspect) if overdue else judge(suspect, (await self._reader.read(ref)).facts)
        if finding is None:
            return Examined()
        await self._ledger.reconciliations.found(tour.run, finding, business_time())
        if tour.dry_run or not await self._mend(finding):
            return Examined(result="found")
        await self._ledger.reconciliations.fixed(tour.run, finding, business_time())
        return Examined(result="fixed")

    async def _was_told(self, tour: Tour, suspect: Suspect) -> bool:
        return await self._ledger.reconciliations.told(tour.run, suspect.workflow_id)

    async def _has_a_case(self, suspect: Suspect) -> bool:
        """Whether a case was opened meanwhile, or is just being opened."""
        case = await self._ledger.cases.by_invoice(suspect.account, suspect.invoice_id)
        if case is not None and case.open:
            return True
        try:
            handle = self._temporal.get_workflow_handle(suspect.workflow_id)
            return (await handle.describe(rpc_timeout=_RPC)).status is WorkflowExecutionStatus.RUNNING
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return False

    async def _mend(self, finding: Finding) -> bool:
        if finding.remedy is Remedy.WAKE and await self._woken(finding.workflow_id):
            return True
        if finding.remedy in (Remedy.START, Remedy.WAKE):  # what runs no more is started again
            await self._start(finding)
            return True
        return False

    async def _woken(self, workflow_id: str) -> bool:
        try:
            handle = self._temporal.get_workflow_handle(workflow_id)
            await handle.signal("billing_event", HINT, rpc_timeout=_RPC)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return False
        return True

    async def _start(self, finding: Finding) -> None:
        start = {"invoice_id": finding.invoice_id}
        start |= {"account": finding.account} if finding.account else {}
        await self._temporal.start_workflow(
            "InvoiceDunning",
            start,
            id=finding.workflow_id,
            task_queue=TASK_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            rpc_timeout=_RPC,
        )


def _listed(row: ListedInvoice) -> Listed:
    due = None if row.due_date is None else moment(row.due_date)
    rest = row.model_dump(exclude={"created", "due_date"})
    return Listed(created=moment(row.created), due_date=due, **rest)
