"""The measuring stick: a workflow that takes the steps of a case and does nothing in them.

Its worker is set up as the SDK does it by default: the stick stays the same whatever `worker` does.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

#: The queues of a case have their counterparts: activities at Stripe come from a queue of their own.
QUEUE = "bare"
ACTIVITY_QUEUE = "bare-activities"
_TRY = timedelta(seconds=30)


@activity.defn
async def nothing(about: str) -> str:
    """An activity that is told what it is about, and answers at once."""
    return about


@workflow.defn
class Bare:
    """Local activities, activities and timers in a given order, and nothing else."""

    @workflow.run
    async def run(self, steps: str) -> None:
        """`steps`: `l` local activity, `e` and `a` activity of the own and another queue, `t` timer."""
        about = workflow.info().workflow_id
        for step in steps:
            match step:
                case "l":
                    await workflow.execute_local_activity(nothing, about, start_to_close_timeout=_TRY)
                case "t":
                    await workflow.sleep(timedelta(days=1))
                case _:
                    await workflow.execute_activity(
                        nothing,
                        about,
                        task_queue=ACTIVITY_QUEUE if step == "a" else QUEUE,
                        start_to_close_timeout=_TRY,
                    )


def bare_workers(client: Client, shared: dict[str, Any]) -> tuple[Worker, Worker]:
    """The workers of the bare workflow."""
    cases = Worker(
        client,
        task_queue=QUEUE,
        workflows=[Bare],
        activities=[nothing],
        max_concurrent_activities=50,
        **shared,
    )
    calls = Worker(
        client, task_queue=ACTIVITY_QUEUE, activities=[nothing], max_concurrent_activities=50, **shared
    )
    return cases, calls
