"""Effects on the subscription and the final action: suspend, restore, mark uncollectible, cancel.

Each reads the invoice first; who has paid is not suspended, written off or canceled. All calls may be
repeated safely, so a row found reserved is simply carried on with.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from activities.context import business_time, log
from activities.effects import done, held_back
from activities.reader import InvoiceReader
from activities.stripe_calls import StripeCalls
from activities.stripe_objects import PauseCollection, StripeInvoice, Subscription
from activities.stripe_reading import moment
from dunning.case import CaseRef, EffectDone, EffectName
from dunning.decision import Order, Suspend
from dunning.facts import Invoice
from dunning.policy_sections import SuspensionKind
from ledger import Ledger
from ledger.records import SuspensionRecord

#: `pause_collection` of a suspended subscription: no debt grows, and undoing it bills nothing.
PAUSED = "void"
#: Subscriptions that bill nothing any more (Stripe API reference: Subscription.status).
ENDED = frozenset({"canceled", "incomplete_expired"})


def suspension_key(invoice: Invoice) -> str:
    """What the ledger's suspension is about: the subscription, or the invoice itself when it has none."""
    return invoice.subscription or invoice.id


class Suspending:
    """Suspends, restores and ends subscriptions; gives invoices up."""

    def __init__(self, calls: StripeCalls, ledger: Ledger, reader: InvoiceReader) -> None:
        self._stripe = calls
        self._ledger = ledger
        self._reader = reader

    # --- suspend ----------------------------------------------------------------------------------------

    async def suspend(self, order: Order) -> EffectDone:
        """Suspend the way the order says; Stripe's previous value is kept in the ledger first."""
        held = await held_back(self._ledger, order, "suspend")
        if held is not None:
            return held
        how = order.action.how if isinstance(order.action, Suspend) else "pause_collection"
        reading = await self._reader.read(order.ref, failure=False)
        facts, told = reading.facts, reading.told
        if told is None or facts.status != "open":
            return done("suspend", "not_needed", f"the invoice is {facts.status}", facts)
        subscription = told.subscription
        if subscription is not None and subscription.status in ENDED:
            return await self._ended(order.ref, facts, subscription)
        if order.shadow:
            return done("suspend", "shadow")
        return await self._suspend(order.ref, facts, subscription, how)

    async def _suspend(
        self, ref: CaseRef, facts: Invoice, subscription: Subscription | None, wanted: SuspensionKind
    ) -> EffectDone:
        at, key = business_time(), suspension_key(facts)
        how, detail = possible(wanted, subscription)
        suspensions = self._ledger.suspensions
        record = await suspensions.begin(
            account=ref.account,
            subscription=key,
            invoice_id=ref.invoice_id,
            how=how,
            previous=_kept(subscription) if how == "pause_collection" else {},
            at=at,
        )
        if record.unconfirmed:
            if subscription is not None:
                await self._act(ref, subscription, record.how)
            await suspensions.completed(account=ref.account, subscription=key, to="active", at=at)
        elif not record.first:
            others = [invoice for invoice in record.invoices if invoice != ref.invoice_id]
            detail = f"suspended already because of {', '.join(others)}"
        log(ref, "suspended", how=record.how, subscription=facts.subscription)
        return done("suspend", "done", detail, ended=record.how == "cancel")

    async def _act(self, ref: CaseRef, subscription: Subscription, how: str) -> None:
        match how:
            case "pause_collection":
                await self._stripe.pause_collection(ref, subscription.id, {"behavior": PAUSED}, "suspend")
            case "pause_subscription" if subscription.status != "paused":
                await self._stripe.pause(ref, subscription.id)
            case "cancel":
                await self._stripe.cancel(ref, subscription.id)

    async def _ended(self, ref: CaseRef, facts: Invoice, subscription: Subscription) -> EffectDone:
        """Canceled already: by an earlier try of this very suspension, or by somebody else."""
        key, suspensions = suspension_key(facts), self._ledger.suspensions
        record = await suspensions.active(ref.account, key)
        if record is None or record.how != "cancel" or ref.invoice_id not in record.invoices:
            return done("suspend", "not_needed", f"the subscription is {subscription.status} already", facts)
        await suspensions.completed(account=ref.account, subscription=key, to="active", at=business_time())
        return done("suspend", "done", ended=True)

    # --- restore ----------------------------------------------------------------------------------------

    async def restore(self, order: Order) -> EffectDone:
        """Put back what Stripe held before the suspension, unless another invoice still causes it."""
        held = await held_back(self._ledger, order, "restore")
        if held is not None:
            return held
        if order.shadow:
            return done("restore", "shadow")
        ref, at = order.ref, business_time()
        reading = await self._reader.read(ref, failure=False)
        key = suspension_key(reading.facts)
        suspensions = self._ledger.suspensions
        record = await suspensions.lift(
            account=ref.account, subscription=key, invoice_id=ref.invoice_id, at=at
        )
        if record is None:
            return done("restore", "not_needed", "the ledger knows no suspension because of this invoice")
        if record.state != "lifting":
            return done("restore", "not_needed", f"still owed: {', '.join(record.invoices)}")
        detail = await self._unpause(ref, record, reading.told)
        await suspensions.completed(account=ref.account, subscription=key, to="lifted", at=at)
        log(ref, "restored", how=record.how, detail=detail)
        return done("restore", "done", detail)

    async def _unpause(self, ref: CaseRef, record: SuspensionRecord, told: StripeInvoice | None) -> str:
        subscription = told.subscription if told is not None else None
        if record.how == "event_only":
            return ""
        if subscription is None or subscription.status in ENDED:
            return "the subscription has ended: there is nothing to restore at Stripe"
        if record.how == "pause_subscription":
            if subscription.status != "paused":
                return f"the subscription is {subscription.status} already: somebody resumed it"
            await self._stripe.resume(ref, subscription.id)
            return "resumed; a new period begins and is billed"
        previous = _put_back(record.previous, business_time())
        now = _as_sent(subscription.pause_collection)
        if now == previous:
            return "Stripe holds the previous value already"
        if now != {"behavior": PAUSED}:
            return "somebody changed pause_collection since: left as it is"
        await self._stripe.pause_collection(ref, subscription.id, previous, "restore")
        return ""

    # --- the final action -------------------------------------------------------------------------------

    async def mark_uncollectible(self, order: Order) -> EffectDone:
        """Give the invoice up at Stripe, unless it is settled."""

        async def act(facts: Invoice, _told: StripeInvoice) -> str:
            if facts.status == "uncollectible":
                return "the invoice was uncollectible already"
            await self._stripe.mark_uncollectible(order.ref)
            return ""

        return await self._finally(order, "mark_uncollectible", act)

    async def cancel_subscription(self, order: Order) -> EffectDone:
        """Cancel the subscription, unless the invoice is settled."""

        async def act(_facts: Invoice, told: StripeInvoice) -> str:
            subscription = told.subscription
            if subscription is None:
                return "the invoice has no subscription"
            if subscription.status in ENDED:
                return f"the subscription was {subscription.status} already"
            if subscription.cancel_at is not None:
                return f"the subscription ends by itself on {moment(subscription.cancel_at):%d %b %Y}"
            await self._stripe.cancel(order.ref, subscription.id)
            return ""

        return await self._finally(order, "cancel_subscription", act)

    async def _finally(
        self, order: Order, effect: EffectName, act: Callable[[Invoice, StripeInvoice], Awaitable[str]]
    ) -> EffectDone:
        held = await held_back(self._ledger, order, effect)
        if held is not None:
            return held
        reading = await self._reader.read(order.ref, failure=False)
        facts, told = reading.facts, reading.told
        if told is None or facts.status not in ("open", "uncollectible"):
            return done(effect, "not_needed", f"the invoice is {facts.status}", facts)
        if order.shadow:
            return done(effect, "shadow")
        key = f"{order.ref.case_id}/{effect}"
        claim = await self._ledger.effects.claim(key, {"effect": effect}, at=business_time())
        if claim.state == "done" and claim.result is not None:
            return EffectDone.model_validate(claim.result)
        detail = await act(facts, told)
        end = done(effect, "not_needed" if detail else "done", detail)
        await self._ledger.effects.complete(key, end.model_dump(mode="json"), at=business_time())
        log(order.ref, "final action", effect=effect, result=end.result, detail=detail)
        return end


def possible(wanted: SuspensionKind, subscription: Subscription | None) -> tuple[SuspensionKind, str]:
    """How this subscription can be suspended, and why not as wanted.

    Stripe pauses only subscriptions of flexible billing mode, charged automatically and without a schedule;
    one that ends by itself must go on to its end. Collection can be paused in all of these cases.
    """
    if subscription is None or wanted == "event_only":
        return "event_only", "recorded only: access is the business's to lock"
    if wanted != "pause_subscription":
        return wanted, ""
    mode = subscription.billing_mode.type if subscription.billing_mode else "classic"
    if mode != "flexible":
        why = f"its billing mode is {mode}"
    elif subscription.collection_method != "charge_automatically":
        why = "its invoices are sent, not charged"
    elif subscription.schedule is not None:
        why = "a schedule is attached to it"
    elif subscription.cancel_at is not None:
        why = "it ends by itself"
    else:
        return wanted, ""
    return "pause_collection", f"{why}, so Stripe cannot pause it: its collection is paused instead"


def _as_sent(value: PauseCollection | None) -> dict[str, Any] | None:
    """A `pause_collection` as a request writes it: Stripe shows a missing date as null and takes none."""
    return value.model_dump(exclude_none=True) if value is not None else None


def _kept(subscription: Subscription | None) -> dict[str, Any]:
    return {"pause_collection": _as_sent(subscription.pause_collection if subscription else None)}


def _put_back(previous: dict[str, Any], now: datetime) -> dict[str, Any] | None:
    """What to set: the previous value exactly; nothing when it would have ended by itself meanwhile."""
    value: dict[str, Any] | None = previous.get("pause_collection")
    ends = value.get("resumes_at") if value else None
    return None if ends is not None and moment(ends) <= now else value
