"""The activity of the reminder before a renewal, and what its message reads."""

from __future__ import annotations

from temporalio import activity

from activities.ahead import Ahead, as_draft
from activities.context import Deps, business_time
from activities.interface import ReminderActivities
from activities.reader import Reading
from activities.renewals import RenewalCalls, draft_of, renewal_of
from activities.stripe_objects import StripeInvoice
from activities.stripe_reading import gone
from dunning.case import CaseRef
from dunning.decision import NextCharge
from dunning.policy import Policy
from dunning.renewals.decide import answer, open_reminder, remind_nobody, still_true
from dunning.renewals.reminder import (
    ReminderOutcome,
    ReminderQuestion,
    ReminderRef,
    ReminderStep,
    Upcoming,
)


class RenewalReader:
    """Reads what a subscription will charge next, and to whom one would write about it."""

    def __init__(self, deps: Deps) -> None:
        self._ahead = Ahead(deps)
        self._calls = RenewalCalls(deps.stripe)

    async def read(self, account: str, subscription: str) -> tuple[Upcoming, StripeInvoice | None]:
        """The facts of the next charge now, and the invoice that it will be, as far as messages need it."""
        at = business_time()
        found = await self._calls.one(account, subscription)
        told = draft_of(found) if found is not None else None
        if found is None or told is None:
            return Upcoming(subscription=subscription, read_at=at), None
        amount = await self._calls.amount(account, subscription)
        facts = Upcoming(
            subscription=subscription,
            read_at=at,
            renewal=renewal_of(found),
            amount=amount,
            customer=told.customer_id,
            dunned=await self._ahead.is_dunned(account, told.customer_id),
            risk=await self._ahead.risk(account, told.customer_id, at),
            **await self._ahead.whereabouts(account, told, at),
        )
        return facts, told.model_copy(update={"amount_remaining": amount or 0})

    async def upcoming(self, ref: CaseRef, charge: NextCharge, subscription: str) -> Reading:
        """The charge that a message is about, as a draft; gone when it is not true any more."""
        facts, told = await self.read(ref.account, subscription)
        if told is None or not still_true(facts, charge):
            return Reading(None, None, gone("", facts.read_at))
        return as_draft(facts, told)


class Reminding(ReminderActivities):
    """Opens reminders and says what they do next."""

    def __init__(self, deps: Deps) -> None:
        self._reminders = deps.ledger.reminders
        self._ahead = Ahead(deps)
        self._reader = RenewalReader(deps)

    @activity.defn(name="look_at_renewal")
    async def look_at_renewal(self, question: ReminderQuestion) -> ReminderStep:
        """Read the renewal at Stripe, claim its reminder, and say what comes next. A repeat does no harm.

        Raises ApplicationError `InvalidInput` (not retried) for a policy that does not exist or is wrong.
        """
        start = question.start
        named = question.policy or start.policy
        policy = self._ahead.named(named) if named else None
        if policy is None and (refusal := remind_nobody(self._ahead.policies())):
            return _nothing(refusal)
        facts, told = await self._reader.read(start.account, start.subscription_id)
        policy = policy or (await self._ahead.policy(start.account, told, facts.read_at))[0]
        ref = question.ref
        if ref is None:
            opened = await self._open(question, facts, policy)
            if isinstance(opened, str):
                return _nothing(opened)
            ref = opened
        step = answer(question.model_copy(update={"ref": ref}), facts, policy)
        if step.outcome is not None:
            await self._reminders.close(ref.case_id, step.outcome, step.reason, facts.read_at)
        return step

    async def _open(self, question: ReminderQuestion, facts: Upcoming, policy: Policy) -> ReminderRef | str:
        """The reminder of this charge, or one sentence that says why there is none now."""
        if refusal := open_reminder(facts, policy, facts.read_at):
            return refusal
        assert facts.renewal is not None
        start, charge_at = question.start, facts.renewal.at
        mine = await self._reminders.claim(
            account=start.account,
            subscription=start.subscription_id,
            charge_at=charge_at,
            workflow_id=question.workflow_id,
            run_id=question.run_id,
            customer=facts.customer,
            policy_name=policy.name,
            policy_version=policy.version,
            at=facts.read_at,
        )
        if mine.run_id != question.run_id or mine.closed_at is not None:
            return f"this charge had its reminder already: {mine.closed_reason or mine.workflow_id}"
        return ReminderRef(
            case_id=mine.id, subscription=start.subscription_id, charge_at=charge_at, account=start.account
        )


def _nothing(reason: str) -> ReminderStep:
    return ReminderStep(outcome=ReminderOutcome.NOT_NEEDED, reason=reason)
