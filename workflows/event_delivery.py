"""EventDelivery: one event on its way to one of the business's own systems, for three days if need be."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.interface import EVENTS_TASK_QUEUE, EventActivities
    from dunning.endpoints import Delivered, DeliveryOrder

#: The activity names the time of each repeat and ends by itself. This is for a try that got lost.
_RETRIES = RetryPolicy(initial_interval=timedelta(seconds=5), maximum_interval=timedelta(hours=1))


@workflow.defn(name="EventDelivery")
class EventDelivery:
    """One activity, retried by Temporal until the event was taken or three days have passed."""

    @workflow.run
    async def run(self, *args: Any) -> Delivered:
        """Input: {"event_id": "evt_…", "endpoint": "…"}."""
        try:
            (given,) = args
            order = DeliveryOrder.model_validate(given)
        except ValueError as error:
            raise ApplicationError(
                'give one JSON object: {"event_id": "evt_…", "endpoint": "its name in business.yaml"}',
                type="InvalidInput",
                non_retryable=True,
            ) from error
        delivered: Delivered = await workflow.execute_activity_method(
            EventActivities.deliver_event,
            order,
            task_queue=EVENTS_TASK_QUEUE,
            start_to_close_timeout=timedelta(seconds=60),
            retry_policy=_RETRIES,
            summary=f"tell {order.endpoint}",
        )
        return delivered
