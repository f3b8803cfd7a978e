"""What customers wish for their subscription: a pause, or its end. The debt stays, and nothing is credited.

Both calls may be repeated safely, so a claim that an earlier try left behind is simply carried on with.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from activities.context import business_time, log
from activities.effects import done, held_back
from activities.reader import InvoiceReader
from activities.stripe_calls import StripeCalls
from activities.stripe_objects import Subscription
from activities.suspending import ENDED, PAUSED
from dunning.case import EffectDone, EffectName
from dunning.decision import CancelByCustomer, Order, PauseByCustomer
from ledger import Ledger

Act = Callable[[Subscription], Awaitable[str]]


class Leaving:
    """Pauses and cancels subscriptions for their customers."""

    def __init__(self, calls: StripeCalls, ledger: Ledger, reader: InvoiceReader) -> None:
        self._stripe = calls
        self._ledger = ledger
        self._reader = reader

    async def pause(self, order: Order) -> EffectDone:
        """Let nothing be billed until the pause ends, which Stripe does by itself."""
        action = order.action
        if not isinstance(action, PauseByCustomer):
            raise TypeError(f"a pause was given {action.kind}: schedule the activity that fits it")
        ends = int(action.until.timestamp())

        async def act(subscription: Subscription) -> str:
            if subscription.pause_collection is not None:
                return "Stripe's collection was paused already"
            value = {"behavior": PAUSED, "resumes_at": ends}
            await self._stripe.pause_collection(order.ref, subscription.id, value, "pause")
            return ""

        return await self._carried_out(order, "pause_by_customer", f"pause/{ends}", act)

    async def cancel(self, order: Order) -> EffectDone:
        """Cancel now, or with the end of the period."""
        action = order.action
        if not isinstance(action, CancelByCustomer):
            raise TypeError(f"a cancellation was given {action.kind}: schedule the activity that fits it")

        async def act(subscription: Subscription) -> str:
            if action.at_period_end:
                await self._stripe.cancel_at_period_end(order.ref, subscription.id)
                return "with the end of its period"
            await self._stripe.cancel(order.ref, subscription.id)
            return ""

        return await self._carried_out(order, "cancel_by_customer", "cancel", act)

    async def _carried_out(self, order: Order, effect: EffectName, name: str, act: Act) -> EffectDone:
        held = await held_back(self._ledger, order, effect)
        if held is not None:
            return held
        reading = await self._reader.read(order.ref, failure=False)
        facts, subscription = reading.facts, reading.told.subscription if reading.told else None
        if facts.status not in ("open", "uncollectible"):
            return done(effect, "not_needed", f"the invoice is {facts.status}", facts)
        key = f"{order.ref.case_id}/{name}"
        before = await self._ledger.effects.get(key)
        if before is not None and before.state == "done" and before.result is not None:
            return EffectDone.model_validate(before.result)
        if subscription is None or (subscription.status in ENDED and before is None):
            return done(effect, "not_needed", "there is no subscription that could end", facts)
        if order.shadow:
            return done(effect, "shadow")
        await self._ledger.effects.claim(key, {"effect": effect}, at=business_time())
        detail = await act(subscription) if subscription.status not in ENDED else ""
        end = done(effect, "done", detail)
        await self._ledger.effects.complete(key, end.model_dump(mode="json"), at=business_time())
        log(order.ref, "for the customer", effect=effect, detail=detail)
        return end
