"""The activities of cards that expire before their next charge, and what their messages read."""

from __future__ import annotations

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.ahead import Ahead, as_draft
from activities.context import Deps, business_time
from activities.interface import CardActivities, CardRecordActivities
from activities.reader import Reading
from activities.renewals import RenewalCalls, draft_of, expiry_of, renewal_of
from activities.stripe_objects import StripeInvoice
from activities.stripe_reading import gone
from dunning.case import CaseRef
from dunning.decision import NextCharge
from dunning.expiry.card import (
    CardFacts,
    CardOpened,
    CardOpenOrder,
    CardOrder,
    CardQuestion,
    CardRead,
    CardRef,
    CardStep,
)
from dunning.expiry.decide import open_card
from dunning.expiry.step import answer
from dunning.expiry.timing import worth_saying
from dunning.policy import Policy
from ledger import Ledger


class CardReader:
    """Reads a card, and what it will be charged for, in the shape that senders know from invoices."""

    def __init__(self, deps: Deps) -> None:
        self._ahead = Ahead(deps)
        self._calls = RenewalCalls(deps.stripe)

    async def card(self, account: str, method: str, customer: str = "") -> CardFacts:
        """The facts of a card now. `customer` is whose it was, should it be detached meanwhile."""
        return (await self._read(account, method, customer))[0]

    async def opening(self, account: str, method: str) -> tuple[CardFacts, Policy]:
        """The facts of a card now, and the policy of the customer's segment."""
        facts, told = await self._read(account, method, "")
        return facts, (await self._ahead.policy(account, told, facts.read_at))[0]

    async def upcoming(self, ref: CaseRef, charge: NextCharge) -> Reading:
        """The charge that a message is about, as a draft; gone when it is not true any more."""
        facts, told = await self._read(ref.account, charge.method, "")
        if told is None or not worth_saying(facts, charge):
            return Reading(None, None, gone("", facts.read_at))
        return as_draft(facts, told)

    async def _read(self, account: str, method: str, customer: str) -> tuple[CardFacts, StripeInvoice | None]:
        at = business_time()
        card = await self._calls.method(account, method)
        customer = (card.customer if card else None) or customer
        expiry = expiry_of(card) if card is not None and card.customer else None
        facts = CardFacts(method=method, read_at=at, expiry=expiry, customer=customer)
        if not customer:
            return facts, None
        subscriptions = await self._calls.of_customer(account, customer)
        renewals = (renewal_of(subscription) for subscription in subscriptions)
        dunned = await self._ahead.is_dunned(account, customer)
        facts = facts.model_copy(update={"renewals": tuple(r for r in renewals if r), "dunned": dunned})
        first = next((s for s in subscriptions if s.who is not None), None)
        told = draft_of(first, card) if first is not None else None
        if told is None:
            return facts, None
        known = await self._ahead.whereabouts(account, told, at)
        return facts.model_copy(update=known), told


class StripeCards(CardActivities):
    """What cards' cases read at Stripe."""

    def __init__(self, deps: Deps) -> None:
        self._ledger = deps.ledger
        self._ahead = Ahead(deps)
        self._reader = CardReader(deps)

    @activity.defn(name="open_card_case")
    async def open_card_case(self, order: CardOpenOrder) -> CardOpened:
        """Open the case of a card, or say in one sentence why there is none.

        Raises ApplicationError `InvalidInput` (not retried) for a policy that does not exist or is wrong.
        """
        start, at = order.start, business_time()
        named = self._ahead.named(start.policy) if start.policy else None
        facts, policy = await self._reader.opening(start.account, start.payment_method_id)
        policy = named or policy
        ref = CardRef(case_id="", method=facts.method, expiry=facts.expiry or "", account=start.account)
        state = open_card(ref, facts, policy, at)
        if isinstance(state, str):
            return CardOpened(refused=state)
        known = (await self._ledger.cards.of(start.account, [(facts.method, ref.expiry)])).get(facts.method)
        if known is not None and known.settled and known.run_id != order.run_id:
            return CardOpened(refused=f"the case of this card was closed before: {known.closed_reason}")
        case = await self._ledger.cards.claim(
            account=start.account,
            method=facts.method,
            expiry=ref.expiry,
            workflow_id=order.workflow_id,
            run_id=order.run_id,
            customer=facts.customer,
            policy_name=policy.name,
            policy_version=policy.version,
            charge_at=state.charge_at,
            at=at,
        )
        if case.workflow_id != order.workflow_id:
            return CardOpened(refused=f"workflow {case.workflow_id} works on this card already")
        if case.closed_at is not None:  # an earlier try of this very run claimed the case and closed it
            return CardOpened(refused=case.closed_reason)
        ours = ref.model_copy(update={"case_id": case.id})
        return CardOpened(state=state.model_copy(update={"ref": ours}), policy=policy)

    @activity.defn(name="read_card")
    async def read_card(self, order: CardOrder) -> CardRead:
        """Read the card, the customer's subscriptions and what they would charge."""
        ref = order.ref
        case = await self._ledger.cards.get(ref.case_id)
        if case is None:
            raise ApplicationError(
                f"{ref.case_id} is not in the ledger: stop this workflow", non_retryable=True
            )
        return CardRead(card=await self._reader.card(ref.account, ref.method, case.customer))


class LedgerCardRecords(CardRecordActivities):
    """The recorded step of a card's case."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    @activity.defn(name="decide_card")
    async def decide_card(self, question: CardQuestion) -> CardStep:
        """Fold the inbox into the state, decide, and remember both; repeated without harm."""
        step = answer(question)
        await self._ledger.cards.remember(
            step.state,
            step.decision,
            step.entries,
            seq=question.seq,
            run_id=activity.info().workflow_run_id or "",
            at=question.now,
        )
        return step
