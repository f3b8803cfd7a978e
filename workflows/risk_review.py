"""RiskReview: assesses every customer that the ledger knows, once a day by a schedule."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.interface import TASK_QUEUE, RiskActivities
    from dunning.risk import Reviewed, ReviewOrder

_STEP: dict[str, Any] = {
    "task_queue": TASK_QUEUE,
    "start_to_close_timeout": timedelta(minutes=10),
    "heartbeat_timeout": timedelta(minutes=1),
    "retry_policy": RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1)),
}


@workflow.defn(name="RiskReview")
class RiskReview:
    """One page of customers after the other. Input: nothing, or where it goes on."""

    @workflow.run
    async def run(self, *args: Any) -> Reviewed:
        done = Reviewed.model_validate(args[0]) if args and isinstance(args[0], dict) else Reviewed()
        after = done.after or ("", "")
        while True:
            page: Reviewed = await workflow.execute_activity_method(
                RiskActivities.review_risks, ReviewOrder(after=after), **_STEP
            )
            looked_at, raised = done.looked_at + page.looked_at, done.raised + page.raised
            done = Reviewed(looked_at=looked_at, raised=raised, after=page.after)
            workflow.set_current_details(f"{looked_at} customers looked at, {raised} at a higher level")
            if page.after is None:
                return done
            after = page.after
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(done.model_dump(mode="json"))
