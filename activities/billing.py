"""The activities at Stripe, as the workflows call them (`activities.interface.BillingActivities`)."""

from __future__ import annotations

from datetime import datetime

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.arranging import Arranging
from activities.charging import Charging
from activities.context import Deps, business_time, invalid_input, log
from activities.interface import BillingActivities
from activities.leaving import Leaving
from activities.reader import InvoiceReader, Reading
from activities.stripe_calls import StripeCalls
from activities.stripe_reading import traits_of
from activities.suspending import Suspending, suspension_key
from activities.watching import RiskWatch
from dunning.case import CaseRef, CaseState, Charged, EffectDone, Entry, InvoiceRead, Opened, Plan
from dunning.decision import OpenOrder, Order
from dunning.expiry.handover import expired_method, not_said_twice
from dunning.facts import Invoice
from dunning.opening import open_case
from dunning.policy import Policy, PolicyError
from dunning.risk import Level
from dunning.segments import Traits, choose
from dunning.values import Outcome, Stage
from ledger.records import CaseClaim, CaseRecord, CaseSummary

#: A case that ended so stays ended until somebody says `reopen`.
_FINAL = frozenset({Outcome.STOPPED, Outcome.WRITTEN_OFF})


class StripeBilling(BillingActivities):
    """Effects at Stripe: each reads what it needs, acts once and records it in the ledger."""

    def __init__(self, deps: Deps) -> None:
        self._ledger = deps.ledger
        self._policies = deps.policies
        self._page = deps.page
        self._watch = RiskWatch(deps)
        calls = StripeCalls(deps.stripe)
        self._reader = InvoiceReader(calls, deps.ledger)
        self._charging = Charging(calls, deps.ledger, self._reader)
        self._arranging = Arranging(calls, deps.ledger, self._reader)
        self._suspending = Suspending(calls, deps.ledger, self._reader)
        self._leaving = Leaving(calls, deps.ledger, self._reader)

    @activity.defn(name="open_case")
    async def open_case(self, order: OpenOrder) -> Opened:
        """Open the case of an invoice, or say in one sentence why there is none.

        Raises ApplicationError: `InvalidInput` (not retried) when the start names a policy that is wrong or
        does not exist, `PolicyUnusable` (retried) when the segments lead to such a one.
        """
        start, at = order.start, business_time()
        named = self._policy(start.policy) if start.policy else None
        unclaimed = CaseRef(case_id="", invoice_id=start.invoice_id, account=start.account)
        reading = await self._reader.read(unclaimed)
        invoice = reading.facts
        risk = await self._risk(start.account, invoice.customer, at)
        policy = named or self._policy_for(reading, risk or "none")
        restores = await self._suspended_by(start.account, invoice)
        ended = None if start.reopen or restores else await self._ended_for_good(start.account, invoice.id)
        if invoice.status == "gone" or ended is not None:
            refused = open_case(unclaimed, invoice, policy, at) if ended is None else _ended(ended)
            return Opened(refused=str(refused), refused_at=at)
        claim = await self._claim(order, invoice, policy)
        if claim.held_by is not None:
            sentence = f"invoice {invoice.id} has an open case already: workflow {claim.held_by} works on it"
            return Opened(refused=sentence, refused_at=at)
        if not claim.case.open:  # an earlier try of this very run claimed the case and closed it
            return Opened(refused=claim.case.closed_reason, refused_at=claim.case.closed_at)
        ref = CaseRef(
            case_id=claim.case_id, invoice_id=invoice.id, account=start.account, episode=claim.episode
        )
        adopted = await self._adopted(claim, invoice)
        state = open_case(ref, invoice, policy, at, claim.next_number, adopted, restores, risk)
        if isinstance(state, str):
            await self._close(claim, invoice, state)
            return Opened(refused=state, refused_at=at)
        state = await self._knowing_what_was_said(state, policy, at)
        if self._page is not None:
            state = state.model_copy(update={"preview": self._page.preview(ref)})
        log(ref, "case opened", invoice=invoice.id, policy=policy.name, version=policy.version)
        return Opened(state=state, policy=policy)

    def _policy(self, name: str) -> Policy:
        try:
            return self._policies.load(name)
        except PolicyError as error:
            raise invalid_input(str(error)) from None

    def _policy_for(self, reading: Reading, risk: Level) -> Policy:
        """The policy of the customer's segment. A mistake in it is mended there, and the case opens then."""
        try:
            traits = traits_of(reading.told, risk) if reading.told else Traits()
            return self._policies.load(choose(self._policies.segments(), traits))
        except PolicyError as error:
            raise ApplicationError(str(error), type="PolicyUnusable") from None

    async def _risk(self, account: str, customer: str, at: datetime) -> Level | None:
        return (await self._watch.look(account, customer, at))[0].level if customer else None

    async def _knowing_what_was_said(self, state: CaseState, policy: Policy, at: datetime) -> CaseState:
        """A customer who was told in time that the card will expire is not told so again."""
        card, expiry = expired_method(state.invoice), policy.card_expiry
        if card is None or expiry is None:
            return state
        told_at = await self._ledger.cards.told(state.ref.account, card.id, at - expiry.counts_for)
        return not_said_twice(state, policy, told_at) if told_at is not None else state

    async def _suspended_by(self, account: str, invoice: Invoice) -> bool:
        """Whether nothing is owed on the invoice and a suspension that it caused is still in force."""
        if invoice.status not in ("paid", "void"):
            return False
        record = await self._ledger.suspensions.active(account, suspension_key(invoice))
        return record is not None and invoice.id in record.invoices

    async def _ended_for_good(self, account: str, invoice_id: str) -> CaseRecord | None:
        """The invoice's last real case, if it ended in a way that a new failure does not undo."""
        page = await self._ledger.cases.find(account=account, invoice=invoice_id)
        real = [case for case in page.cases if case.outcome is not Outcome.NOT_APPLICABLE]
        return real[0] if real and real[0].outcome in _FINAL else None

    async def _claim(self, order: OpenOrder, invoice: Invoice, policy: Policy) -> CaseClaim:
        return await self._ledger.cases.claim(
            account=order.start.account,
            invoice_id=invoice.id,
            workflow_id=order.workflow_id,
            run_id=order.run_id,
            customer=invoice.customer,
            subscription=invoice.subscription,
            currency=invoice.currency,
            amount=invoice.amount_remaining,
            policy_name=policy.name,
            policy_version=policy.version,
            at=business_time(),
        )

    async def _adopted(self, claim: CaseClaim, invoice: Invoice) -> Plan | None:
        """Dates promised before: in an earlier run of this case, or in an older case of the subscription."""
        if not claim.fresh and claim.case.last_day is not None:
            return _plan(claim.case)
        if invoice.subscription is None or invoice.sent:  # what is sent has a due date of its own
            return None
        older = await self._ledger.cases.older_open(
            claim.case.account, invoice.customer, invoice.subscription, claim.case_id
        )
        plan = _plan(older) if older is not None else None
        return plan.model_copy(update={"anchor": business_time()}) if plan else None

    async def _close(self, claim: CaseClaim, invoice: Invoice, reason: str) -> None:
        at = business_time()
        summary = CaseSummary(
            at=at,
            stage=Stage.CLOSED,
            amount_remaining=invoice.amount_remaining,
            outcome=Outcome.NOT_APPLICABLE,
            closed_at=at,
            closed_reason=reason,
            run_state="completed",
        )
        entry = Entry(at=at, what="closed", text=f"not applicable: {reason}")
        await self._ledger.cases.remember(claim.case_id, claim.next_seq, [entry], summary)

    @activity.defn(name="read_invoice")
    async def read_invoice(self, order: Order) -> InvoiceRead:
        """Read the invoice, its payments and its last failure."""
        return InvoiceRead(invoice=(await self._reader.read(order.ref)).facts)

    @activity.defn(name="charge")
    async def charge(self, order: Order) -> Charged:
        """Charge the invoice once. A decline is a result, not an error."""
        return await self._charging.charge(order)

    @activity.defn(name="take_over")
    async def take_over(self, order: Order) -> EffectDone:
        """Turn Stripe's own retries of the invoice off."""
        return await self._arranging.take_over(order)

    @activity.defn(name="give_back")
    async def give_back(self, order: Order) -> EffectDone:
        """Let Stripe go on with the invoice as it did before."""
        return await self._arranging.give_back(order)

    @activity.defn(name="move_default")
    async def move_default(self, order: Order) -> EffectDone:
        """Put the customer's new method where the failed one is set."""
        return await self._arranging.move_default(order)

    @activity.defn(name="suspend")
    async def suspend(self, order: Order) -> EffectDone:
        """Suspend the subscription."""
        return await self._suspending.suspend(order)

    @activity.defn(name="restore")
    async def restore(self, order: Order) -> EffectDone:
        """Undo the suspension."""
        return await self._suspending.restore(order)

    @activity.defn(name="mark_uncollectible")
    async def mark_uncollectible(self, order: Order) -> EffectDone:
        """Mark the invoice uncollectible."""
        return await self._suspending.mark_uncollectible(order)

    @activity.defn(name="cancel_subscription")
    async def cancel_subscription(self, order: Order) -> EffectDone:
        """Cancel the subscription."""
        return await self._suspending.cancel_subscription(order)

    @activity.defn(name="pause_by_customer")
    async def pause_by_customer(self, order: Order) -> EffectDone:
        """Pause the subscription as the customer wishes."""
        return await self._leaving.pause(order)

    @activity.defn(name="cancel_by_customer")
    async def cancel_by_customer(self, order: Order) -> EffectDone:
        """Cancel the subscription as the customer wishes."""
        return await self._leaving.cancel(order)


def _ended(case: CaseRecord) -> str:
    outcome = str(case.outcome).replace("_", " ")
    return f"case {case.id} of this invoice was {outcome}: start it with reopen: true to dun it again"


def _plan(case: CaseRecord) -> Plan | None:
    if case.grace_starts_at is None or case.last_day is None:
        return None
    return Plan(
        anchor=case.opened_at,
        grace_starts_at=case.grace_starts_at,
        last_day=case.last_day,
        zone=case.zone or "UTC",
    )
