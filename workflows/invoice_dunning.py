"""InvoiceDunning: a failed invoice, from its first failure to recovered, suspended or written off."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, FailureError

with workflow.unsafe.imports_passed_through():
    from activities.interface import RecordActivities
    from dunning.case import BillingEvent, CaseState, Charged, EffectFailed, Entry, Event, Opened
    from dunning.decision import Closed, Decision, OpenOrder, Order, Question, Start, Step
    from dunning.forecast import Difference, Expected, forecast, preview
    from dunning.forgetting import unsaid
    from dunning.page import Offers, offers
    from dunning.policy import Policy
    from dunning.start import asked_moment, parse_hint, parse_start
    from dunning.step import applied
    from dunning.values import Outcome
    from dunning.view import Status, details, status
    from workflows.errors import cause_of as _cause
    from workflows.levers import Levers

    # Each by its full name: `from workflows import options` would be loaded anew for every case.
    from workflows.options import DECIDE, OPEN, PATIENCE, effect_of
    from workflows.search_attributes import updates


@workflow.defn(name="InvoiceDunning")
class InvoiceDunning(Levers):
    """Decide, wait or act, until the case is closed. Every rule is in `dunning`; here is only the order."""

    def __init__(self) -> None:
        super().__init__()
        self._state: CaseState | None = None
        self._policy: Policy | None = None
        self._decision = Decision(reason="opening")
        self._entries: list[Entry] = []
        self._facets: dict[str, Any] = {}

    @workflow.run
    async def run(self, *args: Any) -> Closed:
        """Input: one JSON object; {"invoice_id": "in_…"} is enough."""
        try:
            start = parse_start(args)
        except ValueError as error:
            raise ApplicationError(str(error), type="InvalidInput", non_retryable=True) from error
        # What was reported before the first reading is known by it.
        self._inbox = [event for event in self._inbox if not isinstance(event, BillingEvent)]
        opened = await self._open(start)
        if opened.state is None or opened.policy is None:
            return await self._not_a_case(opened.refused)
        self._state, self._policy = opened.state, opened.policy
        while True:
            decision = await self._decide(self._state, self._policy)
            if decision.action is not None:
                self._inbox.append(await self._act(decision, self._state, self._policy))
            elif decision.until is not None:
                await self._wait(decision, decision.until)
            elif not self._inbox:
                break
        await workflow.wait_condition(workflow.all_handlers_finished)
        assert self._state.outcome is not None
        return Closed(
            outcome=self._state.outcome,
            recovered_via=self._state.recovered_via,
            reason=self._state.closed_reason,
        )

    async def _decide(self, state: CaseState, policy: Policy) -> Decision:
        """The recorded step: fold the inbox, decide, remember. Nothing else reads a rule."""
        inbox, self._inbox = tuple(self._inbox), []
        step: Step = await workflow.execute_local_activity_method(
            RecordActivities.decide,
            Question(
                state=state,
                inbox=inbox,
                policy=policy,
                now=workflow.now(),
                seq=len(self._entries),
                facets=self._facets,
            ),
            **DECIDE,
        )
        self._state = state = applied(state, step)
        self._policy = policy = step.policy or policy
        self._decision = step.decision
        if step.forgets:
            self._entries = [unsaid(entry) for entry in self._entries]
        self._entries.extend(step.entries)
        for answer in step.answers:
            self._answers[answer.ticket] = answer
        if step.facets is not None:
            self._facets = step.facets
            workflow.upsert_search_attributes(updates(step.facets))
        workflow.set_current_details(details(state, step.decision, policy, self._entries))
        return step.decision

    async def _wait(self, decision: Decision, until: datetime) -> None:
        """Until the moment has come, or until something happens."""
        try:
            await workflow.wait_condition(
                lambda: bool(self._inbox),
                timeout=until - workflow.now(),
                timeout_summary=decision.reason[:200],
            )
        except TimeoutError:
            return  # the moment has come: decide again, then act
        except asyncio.CancelledError:  # an operator cancels in the Temporal UI: that is the lever `stop`
            self._put("stop", [{"reason": "canceled in Temporal", "by": "operator"}])

    async def _act(self, decision: Decision, state: CaseState, policy: Policy) -> Event:
        """One effect. What the world does not answer becomes an event too: no case ends because of it."""
        assert decision.action is not None
        effect = effect_of(decision.action)
        order = Order(
            ref=state.ref,
            action=decision.action,
            policy=policy.name,
            shadow=policy.shadow,
            not_after=decision.not_after,
        )
        try:
            event: Event = await workflow.execute_activity_method(
                effect.activity, order, summary=decision.reason[:200], **effect.options()
            )
        except ActivityError as error:
            return EffectFailed(effect=decision.action.key, at=workflow.now(), error=_cause(error))
        if isinstance(event, Charged):
            await self._tell(event)
        return event

    async def _tell(self, event: Charged) -> None:
        """The customer's other cases look again: a card is dead, or it pays again."""
        hint = {"type": f"sibling.{event.result}", "id": event.failure.charge if event.failure else None}
        for workflow_id in event.siblings:
            with suppress(FailureError):  # it was closed meanwhile
                sibling = workflow.get_external_workflow_handle(workflow_id)
                await sibling.signal("billing_event", hint)

    async def _open(self, start: Start) -> Opened:
        info = workflow.info()
        order = OpenOrder(start=start, workflow_id=info.workflow_id, run_id=info.run_id)
        while True:
            try:
                opened: Opened = await workflow.execute_activity_method(
                    OPEN.activity,
                    order,
                    summary=f"open the case of {start.invoice_id}",
                    **OPEN.options(),
                )
                return opened
            except ActivityError as error:
                if isinstance(error.cause, ApplicationError) and error.cause.type == "InvalidInput":
                    raise error.cause from error
                workflow.set_current_details(f"## Not opened yet\n\n{_cause(error)}\n\nTrying again.")
                await workflow.sleep(
                    PATIENCE.between_openings, summary=f"open again: {_cause(error)}"[:200]
                )

    async def _not_a_case(self, reason: str) -> Closed:
        facets = {"DunningStage": "closed", "DunningOutcome": str(Outcome.NOT_APPLICABLE)}
        workflow.upsert_search_attributes(updates(facets))
        workflow.set_current_details(f"## Closed: not applicable\n\n{reason}")
        self._refuse_waiting(f"there is no case: {reason}")
        await workflow.wait_condition(workflow.all_handlers_finished)
        return Closed(outcome=Outcome.NOT_APPLICABLE, reason=reason)

    @workflow.signal(description="Read the invoice again: something changed at Stripe.")
    def billing_event(self, *args: Any) -> None:
        hint: BillingEvent = parse_hint(args, workflow.now())
        self._inbox.append(hint)

    @workflow.query(description="Where the case stands, what is next and when.")
    def status(self, *args: Any) -> Status | None:
        if self._state is None or self._policy is None:
            return None
        return status(self._state, self._decision, self._policy)

    @workflow.query(description="What happened, when, by whom and why.")
    def timeline(self, *args: Any) -> list[Entry]:
        return self._entries

    @workflow.query(description="What will happen, and when, if nothing changes.")
    def forecast(self, *args: Any) -> list[Expected]:
        if self._state is None or self._policy is None:
            return []
        return forecast(self._state, self._policy, workflow.now())

    @workflow.query(
        description="What another policy would change in the forecast. Input: the policy as JSON."
    )
    def preview_policy(self, *args: Any) -> Difference | str | None:
        if self._state is None or self._policy is None:
            return None
        return preview(self._state, self._policy, args, workflow.now())

    @workflow.query(description="What the customer's page shows and offers.")
    def offers(self, *args: Any) -> Offers | None:
        if self._state is None or self._policy is None:
            return None
        return offers(self._state, self._policy, asked_moment(args, workflow.now()))
