"""RenewalReminder: one reminder before one renewal, and nothing that is not true any more."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from dunning.case import MessageSent
    from dunning.decision import Order
    from dunning.renewals.reminder import Reminded, ReminderQuestion, ReminderStep, parse_reminder
    from workflows.errors import cause_of
    from workflows.options import LOOK_AT_RENEWAL, PATIENCE, effect_of
    from workflows.search_attributes import updates


@workflow.defn(name="RenewalReminder")
class RenewalReminder:
    """Look at Stripe, wait or send, look again."""

    def __init__(self) -> None:
        self._hints = 0
        self._canceled = False

    @workflow.run
    async def run(self, *args: Any) -> Reminded:
        """Input: one JSON object; {"subscription_id": "sub_…"} is enough."""
        try:
            start = parse_reminder(args)
        except ValueError as error:
            raise ApplicationError(str(error), type="InvalidInput", non_retryable=True) from error
        info = workflow.info()
        question = ReminderQuestion(start=start, workflow_id=info.workflow_id, run_id=info.run_id)
        while True:
            step = await self._look(question)
            if step.outcome is not None:
                return Reminded(outcome=step.outcome, reason=step.reason)
            question = question.model_copy(update={"ref": step.ref, "policy": step.policy})
            if step.order is not None:
                question = question.model_copy(update=await self._send(question, step.order, step.reason))
            elif step.until is not None:
                await self._wait(step.until, step.reason)

    async def _look(self, question: ReminderQuestion) -> ReminderStep:
        """Read, decide and remember. While Stripe does not answer nothing is said."""
        while True:
            question = question.model_copy(update={"canceled": self._canceled})
            try:
                step: ReminderStep = await workflow.execute_activity_method(
                    LOOK_AT_RENEWAL.activity,
                    question,
                    summary=f"look at the renewal of {question.start.subscription_id}",
                    **LOOK_AT_RENEWAL.options(),
                )
            except ActivityError as error:
                if is_cancelled_exception(error):
                    self._canceled = True
                    continue
                if isinstance(error.cause, ApplicationError) and error.cause.type == "InvalidInput":
                    raise error.cause from error
                await self._wait(
                    workflow.now() + PATIENCE.between_openings, f"look again: {cause_of(error)}"[:200]
                )
                continue
            if step.facets:
                workflow.upsert_search_attributes(updates(step.facets))
            workflow.set_current_details(step.details or f"## Nothing to do\n\n{step.reason}")
            return step

    async def _send(self, question: ReminderQuestion, order: Order, summary: str) -> dict[str, Any]:
        """Send, once; what became of it is part of the next question."""
        effect = effect_of(order.action)
        try:
            sent: MessageSent = await workflow.execute_activity_method(
                effect.activity, order, summary=summary[:200], **effect.options()
            )
        except ActivityError as error:
            self._canceled = self._canceled or is_cancelled_exception(error)
            return {"failed_at": workflow.now()}
        return {"heard": (*question.heard, sent), "failed_at": None}

    async def _wait(self, until: datetime, reason: str) -> None:
        """Until the moment, or a hint that something changed."""
        seen = self._hints
        try:
            await workflow.wait_condition(
                lambda: self._hints > seen, timeout=until - workflow.now(), timeout_summary=reason[:200]
            )
        except TimeoutError:
            return
        except asyncio.CancelledError:  # an operator cancels in the Temporal UI: nothing more is said
            self._canceled = True

    @workflow.signal(description="Look at the renewal again: something changed at Stripe.")
    def billing_event(self, *args: Any) -> None:
        self._hints += 1
