"""What an event of Stripe's says of a customer beyond any case: a pause, a smaller plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dunning.risk import SignalKind
from starter.webhooks.stripe import StripeEvent

#: How many months a unit of an interval has (Stripe API reference: Price.recurring.interval).
_MONTHS = {"day": 12 / 365, "week": 12 / 52, "month": 1, "year": 12}


@dataclass(frozen=True, slots=True)
class Told:
    """A signal of a customer."""

    kind: SignalKind
    customer: str


def signals_of(event: StripeEvent) -> tuple[Told, ...]:
    """What the event tells. What the engine did itself is none of the customer's doing."""
    customer = event.object.get("customer")
    if event.own or not isinstance(customer, str):
        return ()
    if event.type == "customer.subscription.paused":
        return (Told("paused", customer),)
    if event.type != "customer.subscription.updated":
        return ()
    kinds: list[SignalKind] = []
    if "pause_collection" in event.previous and event.object.get("pause_collection"):
        kinds.append("paused")
    before, after = _price(event.previous.get("items")), _price(event.object.get("items"))
    if before is not None and after is not None:
        if after.monthly < before.monthly:
            kinds.append("downgraded")
        if before.interval == "year" and after.interval == "month":
            kinds.append("monthly_after_yearly")
    return tuple(Told(kind, customer) for kind in kinds)


@dataclass(frozen=True, slots=True)
class _Price:
    monthly: float  # minor units a month
    interval: str


def _price(items: Any) -> _Price | None:
    """What the items of a subscription cost together; None for what is not as the API reference says."""
    try:
        rows: list[Mapping[str, Any]] = items["data"]
        costs = [
            row["price"]["unit_amount"] * (row.get("quantity") or 1) / _months(row["price"]["recurring"])
            for row in rows
        ]
        return _Price(sum(costs), rows[0]["price"]["recurring"]["interval"])
    except (KeyError, TypeError, IndexError, ZeroDivisionError):
        return None


def _months(recurring: Mapping[str, Any]) -> float:
    return float(_MONTHS[recurring["interval"]]) * int(recurring.get("interval_count") or 1)
