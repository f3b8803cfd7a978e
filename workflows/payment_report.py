"""PaymentReport: whose payment is it that somebody disputes? Started when the ledger never saw it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import ValidationError
from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.interface import STRIPE_TASK_QUEUE, PaymentReportActivities
    from dunning.reports import UnknownPayment


@workflow.defn(name="PaymentReport")
class PaymentReport:
    """A webhook must be answered fast; Stripe is asked here, for as long as it takes up to a day."""

    @workflow.run
    async def run(self, *args: Any) -> bool:
        """Input: one JSON object, an `UnknownPayment`. The result: whether a case was told."""
        try:
            report = UnknownPayment.model_validate(args[0] if args else {})
        except ValidationError as error:
            text = f"input: give one report on a payment ({error.error_count()} fields are wrong)"
            raise ApplicationError(text, type="InvalidInput", non_retryable=True) from error
        told: bool = await workflow.execute_activity_method(
            PaymentReportActivities.tell_payer,
            report,
            task_queue=STRIPE_TASK_QUEUE,
            start_to_close_timeout=timedelta(minutes=2),
            schedule_to_close_timeout=timedelta(days=1),
            retry_policy=RetryPolicy(
                initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=5)
            ),
            summary=f"whose payment is {report.charge}?",
        )
        return told
