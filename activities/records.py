"""The recorded step: decides, and remembers the decision in the ledger."""

from __future__ import annotations

from asyncio import Event as Bell
from dataclasses import replace

from temporalio import activity

from activities.endpoints import NOBODY, Endpoints
from activities.interface import RecordActivities
from activities.policy_book import PolicyBook
from dunning.access import access
from dunning.asking import asking
from dunning.case import Event, Lever
from dunning.decision import Question, Step
from dunning.policy import Policy, PolicyError
from dunning.step import answer, applied
from dunning.view import waiting_on
from ledger import Ledger
from ledger.records import CaseSummary


class LedgerRecords(RecordActivities):
    """Work that touches nothing but the ledger."""

    def __init__(
        self,
        ledger: Ledger,
        policies: PolicyBook,
        endpoints: Endpoints = NOBODY,
        news: Bell | None = None,
    ) -> None:
        self._ledger = ledger
        self._policies = policies
        self._endpoints = endpoints
        self._news = news or Bell()

    @activity.defn(name="decide")
    async def decide(self, question: Question) -> Step:
        """Fold the inbox into the state, decide, and remember both.

        The step is a pure function of the question and remembering ignores what it knows, so a try that got
        lost is repeated without harm.
        """
        step = answer(question, self._offers(question.inbox))
        state, decision = applied(question.state, step), step.decision
        policy = step.policy or question.policy
        summary = CaseSummary.of(
            state,
            at=question.now,
            waiting_on=waiting_on(state),
            next_at=decision.until if decision.action is None else question.now,
            next_what=decision.reason,
            next_action=decision.action.kind if decision.action else None,
        )
        asked = asking(state, policy)
        summary = replace(
            summary,
            policy_name=policy.name,
            policy_version=policy.version,
            access=access(state, policy),
            needs_human=asked is not None,
            asks=f"{asked.what}; else {asked.otherwise}" if asked else "",
            asks_whom=asked.whom if asked else None,
            asks_until=asked.until if asked else None,
        )
        run_id = activity.info().workflow_run_id
        outgoing = self._endpoints.addressed(step.announcements)
        await self._ledger.cases.remember(
            state.ref.case_id, question.seq, step.entries, summary, run_id=run_id, outgoing=outgoing
        )
        if step.forgets:  # a step that was under way may have written words after they were erased
            await self._ledger.people.forget(state.ref.case_id)
        if outgoing:
            self._news.set()  # the relay looks by itself, too; so it only looks sooner
        return step

    def _offers(self, inbox: tuple[Event, ...]) -> dict[str, Policy | str]:
        """The policies that levers ask for, as they are now, or why one cannot be had."""
        asked = [event for event in inbox if isinstance(event, Lever) and event.name == "set_policy"]
        names = {given.get("name") for lever in asked for given in lever.args if isinstance(given, dict)}
        return {name: self._offer(name) for name in names if isinstance(name, str)}

    def _offer(self, name: str) -> Policy | str:
        try:
            return self._policies.load(name.strip())
        except PolicyError as error:
            return f"name: {error}"
