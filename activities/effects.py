"""What every effect at Stripe has in common: when it is held back, and how it reports."""

from __future__ import annotations

from typing import Literal

from activities.context import business_time, too_late
from dunning.case import EffectDone, EffectName
from dunning.decision import Order
from dunning.facts import Invoice
from ledger import Ledger


async def held_back(ledger: Ledger, order: Order, effect: EffectName) -> EffectDone | None:
    """Why the effect must not be carried out now: the engine is halted, or its moment has passed."""
    if await ledger.switches.halted() is not None:
        return done(effect, "held")
    return done(effect, "too_late") if too_late(order) else None


def done(
    effect: EffectName,
    result: Literal["done", "not_needed", "shadow", "held", "too_late"],
    detail: str = "",
    invoice: Invoice | None = None,
    *,
    ended: bool = False,
) -> EffectDone:
    """How the effect ended, at the time of this try."""
    at = business_time()
    return EffectDone(effect=effect, at=at, result=result, detail=detail, invoice=invoice, ended=ended)
