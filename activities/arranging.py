"""Who charges an invoice, and with what: turn Stripe's own retries off and on, move a replaced default.

Each reads the invoice first, and the ledger keeps what was found before anything is changed. All calls may be
repeated safely, so a claim that an earlier try left behind is simply carried on with.
"""

from __future__ import annotations

from activities.context import business_time, log
from activities.effects import done, held_back
from activities.reader import InvoiceReader
from activities.stripe_calls import StripeCalls
from activities.stripe_objects import StripeInvoice
from activities.stripe_reading import customers_default, default_at
from dunning.case import CaseRef, EffectDone, EffectName
from dunning.decision import GiveBack, MoveDefault, Order
from dunning.facts import Invoice
from ledger import Ledger


class Arranging:
    """Arranges at Stripe who charges an invoice and which method is charged."""

    def __init__(self, calls: StripeCalls, ledger: Ledger, reader: InvoiceReader) -> None:
        self._stripe = calls
        self._ledger = ledger
        self._reader = reader

    # --- Stripe's own retries ---------------------------------------------------------------------------

    async def take_over(self, order: Order) -> EffectDone:
        """Turn `auto_advance` off; the ledger keeps what Stripe had. Stripe's own mails for it end, too."""
        held, told = await self._open_invoice(order, "take_over")
        if held is not None or told is None:
            return held or done("take_over", "not_needed")
        key, found = _key(order.ref, "take_over"), bool(told.auto_advance)
        if not found and await self._ledger.effects.get(key) is None:
            return done("take_over", "not_needed", "auto_advance was off already")
        await self._ledger.effects.claim(
            key, {"auto_advance": found}, at=business_time()
        )  # the first one stays
        if found:
            await self._stripe.set_auto_advance(order.ref, False, "take-over")
        return await self._finished(order.ref, key, done("take_over", "done"))

    async def give_back(self, order: Order) -> EffectDone:
        """Set `auto_advance` to what the ledger says it was; without such an entry to what the order says."""
        held, told = await self._open_invoice(order, "give_back")
        if held is not None or told is None:
            return held or done("give_back", "not_needed")
        wanted = order.action.auto_advance if isinstance(order.action, GiveBack) else True
        taken = await self._ledger.effects.get(_key(order.ref, "take_over"))
        if taken is not None:
            wanted = bool(taken.params.get("auto_advance", wanted))
        words = f"auto_advance is {'on' if wanted else 'off'}, as it was found"
        if bool(told.auto_advance) == wanted:
            return done("give_back", "not_needed", words)
        key = _key(order.ref, "give_back")
        await self._ledger.effects.claim(key, {"auto_advance": wanted}, at=business_time())
        await self._stripe.set_auto_advance(order.ref, wanted, "give-back")
        return await self._finished(order.ref, key, done("give_back", "done", words))

    # --- the method -------------------------------------------------------------------------------------

    async def move_default(self, order: Order) -> EffectDone:
        """Put the customer's new method where the failed one still stands; nothing else is touched."""
        action = order.action
        if not isinstance(action, MoveDefault):
            raise TypeError(
                f"move_default was given {action.kind}: schedule the activity that fits the action"
            )
        held, told = await self._open_invoice(order, "move_default")
        if held is not None or told is None:
            return held or done("move_default", "not_needed")
        key = f"{_key(order.ref, 'move_default')}/{action.set_on}/{action.to}"
        if why := _not_moved(action, told):
            known = await self._ledger.effects.get(key)
            if known is None or not _stands(action.to, action, told):
                return done("move_default", "not_needed", why)
            return await self._finished(order.ref, key, done("move_default", "done", action.to))
        params = {"set_on": action.set_on, "failed": action.failed, "to": action.to}
        await self._ledger.effects.claim(key, params, at=business_time())
        subscription = told.subscription_id if action.set_on == "subscription" else None
        await self._stripe.set_default(order.ref, action.to, subscription)
        return await self._finished(order.ref, key, done("move_default", "done", action.to))

    # --- what they share --------------------------------------------------------------------------------

    async def _open_invoice(
        self, order: Order, effect: EffectName
    ) -> tuple[EffectDone | None, StripeInvoice | None]:
        """The invoice as it is now; or the end of the effect, when nothing is to be done."""
        held = await held_back(self._ledger, order, effect)
        if held is not None:
            return held, None
        reading = await self._reader.read(order.ref, failure=False)
        facts: Invoice = reading.facts
        if reading.told is None or facts.status != "open":
            return done(effect, "not_needed", f"the invoice is {facts.status}", facts), None
        return (done(effect, "shadow"), None) if order.shadow else (None, reading.told)

    async def _finished(self, ref: CaseRef, key: str, end: EffectDone) -> EffectDone:
        await self._ledger.effects.complete(key, end.model_dump(mode="json"), at=business_time())
        log(ref, "arranged at Stripe", effect=end.effect, detail=end.detail)
        return end


def _key(ref: CaseRef, effect: EffectName) -> str:
    return f"{ref.case_id}/{effect}"


def _not_moved(action: MoveDefault, told: StripeInvoice) -> str:
    """Why the default stays as it is; empty when it is to be moved."""
    if not _stands(action.failed, action, told):
        return f"another method than {action.failed} is the {action.set_on}'s default now: left as it is"
    replaced = customers_default(told)
    if replaced is None or replaced.id != action.to:
        return f"{action.to} is not the customer's default any more: nothing was moved"
    return ""


def _stands(method: str, action: MoveDefault, told: StripeInvoice) -> bool:
    present = default_at(told, action.set_on)
    return present is not None and present.id == method
