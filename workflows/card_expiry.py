"""CardExpiry: a card that will die before its next charge, from the first sight of it to the end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.interface import CardRecordActivities
    from dunning.case import BillingEvent, CaseRef, EffectFailed, Entry, Lever
    from dunning.decision import Answer, Order
    from dunning.expiry.card import (
        CardClosed,
        CardDecision,
        CardEvent,
        CardOpened,
        CardOpenOrder,
        CardOrder,
        CardOutcome,
        CardQuestion,
        CardStart,
        CardState,
        CardStep,
        ReadCard,
    )
    from dunning.expiry.evolve import parse_start
    from dunning.expiry.view import CardStatus, details, status
    from dunning.policy import Policy
    from dunning.start import parse_hint
    from workflows.errors import cause_of
    from workflows.levers import NO_NAME
    from workflows.options import DECIDE, OPEN_CARD, PATIENCE, READ_CARD, effect_of
    from workflows.search_attributes import updates

_STOP = 'Close the case: {"reason": "…", "by": "you"}.'


@workflow.defn(name="CardExpiry")
class CardExpiry:
    """Decide, wait or act, until the card was renewed, replaced, is not needed, or was charged."""

    def __init__(self) -> None:
        self._inbox: list[CardEvent] = []
        self._answers: dict[str, Answer] = {}
        self._state: CardState | None = None
        self._policy: Policy | None = None
        self._decision = CardDecision(reason="opening")
        self._entries: list[Entry] = []
        self._facets: dict[str, Any] = {}

    @workflow.run
    async def run(self, *args: Any) -> CardClosed:
        """Input: one JSON object; {"payment_method_id": "pm_…"} is enough."""
        try:
            start = parse_start(args)
        except ValueError as error:
            raise ApplicationError(str(error), type="InvalidInput", non_retryable=True) from error
        opened = await self._open(start)
        if opened.state is None or opened.policy is None:
            return await self._nothing_to_do(opened.refused)
        # What was reported before the first reading is known by it.
        self._inbox = [event for event in self._inbox if not isinstance(event, BillingEvent)]
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
        return CardClosed(outcome=self._state.outcome, reason=self._state.closed_reason)

    async def _decide(self, state: CardState, policy: Policy) -> CardDecision:
        """The recorded step: fold the inbox, decide, remember. Nothing else reads a rule."""
        inbox, self._inbox = tuple(self._inbox), []
        step: CardStep = await workflow.execute_local_activity_method(
            CardRecordActivities.decide_card,
            CardQuestion(
                state=state,
                inbox=inbox,
                policy=policy,
                now=workflow.now(),
                seq=len(self._entries),
                facets=self._facets,
            ),
            **DECIDE,
        )
        self._state, self._decision = step.state, step.decision
        self._entries.extend(step.entries)
        self._answers |= {answer.ticket: answer for answer in step.answers}
        if step.facets is not None:
            self._facets = step.facets
            workflow.upsert_search_attributes(updates(step.facets))
        workflow.set_current_details(details(step.state, step.decision, self._entries))
        return step.decision

    async def _wait(self, decision: CardDecision, until: datetime) -> None:
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

    async def _act(self, decision: CardDecision, state: CardState, policy: Policy) -> CardEvent:
        """One effect. What the world does not answer becomes an event too: no case ends because of it."""
        action = decision.action
        assert action is not None
        order: CardOrder | Order
        if isinstance(action, ReadCard):
            effect, order = READ_CARD, CardOrder(ref=state.ref)
        else:
            effect = effect_of(action)
            order = Order(
                ref=CaseRef(case_id=state.ref.case_id, invoice_id="", account=state.ref.account),
                action=action,
                policy=policy.name,
                shadow=policy.shadow,
                not_after=decision.not_after,
            )
        try:
            event: CardEvent = await workflow.execute_activity_method(
                effect.activity, order, summary=decision.reason[:200], **effect.options()
            )
        except ActivityError as error:
            return EffectFailed(effect=action.key, at=workflow.now(), error=cause_of(error))
        return event

    async def _open(self, start: CardStart) -> CardOpened:
        info = workflow.info()
        order = CardOpenOrder(start=start, workflow_id=info.workflow_id, run_id=info.run_id)
        while True:
            try:
                opened: CardOpened = await workflow.execute_activity_method(
                    OPEN_CARD.activity,
                    order,
                    summary=f"look at the card {start.payment_method_id}",
                    **OPEN_CARD.options(),
                )
                return opened
            except ActivityError as error:
                if isinstance(error.cause, ApplicationError) and error.cause.type == "InvalidInput":
                    raise error.cause from error
                workflow.set_current_details(f"## Not opened yet\n\n{cause_of(error)}\n\nTrying again.")
                await workflow.sleep(
                    PATIENCE.between_openings, summary=f"open again: {cause_of(error)}"[:200]
                )

    async def _nothing_to_do(self, reason: str) -> CardClosed:
        workflow.set_current_details(f"## Closed: nothing to do\n\n{reason}")
        for event in self._inbox:
            if isinstance(event, Lever) and event.ticket is not None:
                text = f"there is no case: {reason}"
                self._answers[event.ticket] = Answer(ticket=event.ticket, accepted=False, text=text)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return CardClosed(outcome=CardOutcome.ENDED, reason=reason)

    @workflow.signal(description="Read the card again: something changed at Stripe.")
    def billing_event(self, *args: Any) -> None:
        hint: BillingEvent = parse_hint(args, workflow.now())
        self._inbox.append(hint)

    @workflow.signal(description=_STOP)
    def stop(self, *args: Any) -> None:
        self._put("stop", args)

    @workflow.signal(dynamic=True, description=NO_NAME)
    def unknown(self, name: str, args: Sequence[RawValue]) -> None:
        """A signal of a name that does not exist: refused in the timeline, not lost in a worker's log."""
        self._put(name[:80], ())

    @workflow.update(name="stop", description=_STOP)
    async def ask_stop(self, *args: Any) -> dict[str, Any]:
        info = workflow.current_update_info()
        assert info is not None
        self._put("stop", args, ticket=info.id)
        await workflow.wait_condition(lambda: info.id in self._answers)
        answer = self._answers.pop(info.id)
        if not answer.accepted:
            raise ApplicationError(answer.text, type="Refused", non_retryable=True)
        return {"accepted": True, "text": answer.text}

    @workflow.query(description="Where the card's case stands, what is next and when.")
    def status(self, *args: Any) -> CardStatus | None:
        if self._state is None or self._policy is None:
            return None
        return status(self._state, self._decision, self._policy)

    @workflow.query(description="What happened, when, by whom and why.")
    def timeline(self, *args: Any) -> list[Entry]:
        return self._entries

    def _put(self, name: str, args: Sequence[Any], ticket: str | None = None) -> None:
        self._inbox.append(Lever(name=name, args=tuple(args), at=workflow.now(), ticket=ticket))
