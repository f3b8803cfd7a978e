"""Reconciliation: compares Stripe with the engine, mends what is safe, and lists the rest."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.interface import STRIPE_TASK_QUEUE, TASK_QUEUE, ReconcilingActivities
    from dunning.reconciliation import (
        BeginTour,
        Counts,
        ExamineOrder,
        FinishOrder,
        LookOrder,
        Place,
        Reconciled,
        Seen,
        Suspect,
        Tour,
        Wish,
        parse_wish,
        steps_of,
    )
    from workflows.ids import invoice_dunning_id
    from workflows.options import PATIENCE

#: Suspects that are looked into at once: cases that customers wait for share the calls to Stripe.
AT_ONCE = 5
#: Runs that began before this handed on in the middle of a list only.
_BETWEEN = "hand on between lists"
_STEP: dict[str, Any] = {
    "start_to_close_timeout": timedelta(minutes=5),
    "schedule_to_close_timeout": timedelta(hours=1),
    "heartbeat_timeout": PATIENCE.silence,
    "retry_policy": RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1)),
}


@workflow.defn(name="Reconciliation")
class Reconciliation:
    """Goes through one list after the other, page by page; every rule is in `dunning.reconciliation`."""

    def __init__(self) -> None:
        self._counts = Counts()
        self._doing = "beginning"

    @workflow.run
    async def run(self, *args: Any) -> Reconciled:
        """Input: nothing, or one JSON object with `dry_run`, `importing`, `since` and `accounts`."""
        try:
            wish = parse_wish(args)
        except ValueError as error:
            raise ApplicationError(str(error), type="InvalidInput", non_retryable=True) from error
        tour = wish.tour or await self._begin(wish)
        self._counts = wish.counts
        place, steps = wish.place, steps_of(tour)
        brief = tour.model_copy(update={"accounts": ()})  # a list of thousands, and no step needs it
        while place.step < len(steps):
            what, account = steps[place.step]
            seen = await self._look(LookOrder(tour=brief, what=what, account=account, cursor=place.cursor))
            await self._examine(brief, seen.suspects)
            amid = seen.cursor is not None
            place = Place(step=place.step + (not amid), cursor=seen.cursor)
            if workflow.info().is_continue_as_new_suggested() and (amid or workflow.patched(_BETWEEN)):
                carried = wish.model_copy(update={"tour": tour, "place": place, "counts": self._counts})
                workflow.continue_as_new(carried.model_dump(mode="json"))
        self._tell("finishing")
        return await workflow.execute_activity_method(
            ReconcilingActivities.finish,
            FinishOrder(tour=tour, counts=self._counts),
            task_queue=TASK_QUEUE,
            **_STEP,
        )

    async def _begin(self, wish: Wish) -> Tour:
        return await workflow.execute_activity_method(
            ReconcilingActivities.begin,
            BeginTour(
                run=workflow.info().run_id,
                dry_run=wish.dry_run,
                importing=wish.importing,
                since=wish.since,
                accounts=wish.accounts,
            ),
            task_queue=TASK_QUEUE,
            **_STEP,
        )

    async def _look(self, order: LookOrder) -> Seen:
        self._tell(order.what)
        at_stripe = order.what in ("events", "invoices")
        seen: Seen = await workflow.execute_activity_method(
            ReconcilingActivities.look,
            order,
            task_queue=STRIPE_TASK_QUEUE if at_stripe else TASK_QUEUE,
            summary=f"{order.what} {order.account}".strip(),
            **_STEP,
        )
        self._add(**dict(seen.counts))
        return seen

    async def _examine(self, tour: Tour, suspects: tuple[Suspect, ...]) -> None:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(suspect: Suspect) -> None:
            async with gate:
                await self._look_into(tour, suspect)

        await asyncio.gather(*(one(suspect) for suspect in suspects))

    async def _look_into(self, tour: Tour, suspect: Suspect) -> None:
        named = suspect.workflow_id or invoice_dunning_id(suspect.invoice_id)
        suspect = suspect.model_copy(update={"workflow_id": named})
        try:
            examined = await workflow.execute_activity_method(
                ReconcilingActivities.examine,
                ExamineOrder(tour=tour, suspect=suspect),
                task_queue=STRIPE_TASK_QUEUE,
                summary=f"{suspect.kind} {suspect.subject}"[:200],
                **_STEP,
            )
        except ActivityError:
            self._add(failed=1)  # the next run looks again
            return
        self._add(found=int(examined.result in ("found", "fixed")), fixed=int(examined.result == "fixed"))

    def _add(self, **more: int) -> None:
        self._counts = self._counts.plus(**more)

    def _tell(self, doing: str) -> None:
        self._doing = doing
        c = self._counts
        workflow.set_current_details(
            f"## {doing}\n\n{c.looked_at} looked at, {c.found} found, {c.fixed} fixed, "
            f"{c.left_alone} left alone, {c.failed} not answered"
        )

    @workflow.query(description="How far it is.")
    def progress(self, *args: Any) -> dict[str, Any]:
        return {"doing": self._doing, **dict(self._counts)}
