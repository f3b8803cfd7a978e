"""Segments: which customers get which policy.

`segments.yaml` lists them beside the policies, the first that fits wins; who fits none gets the standard
policy. A start that names a policy is not asked about segments, and a running case keeps the policy it has.
"""

from __future__ import annotations

import hashlib
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from dunning.policy import PolicyName, parse_yaml
from dunning.risk import LEVELS, Level
from dunning.values import Section, Value

STANDARD = "standard"


def _lower(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(value.lower() for value in values)


def _upper(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(value.upper() for value in values)


class Traits(Value):
    """What segments go by. Amount in minor units of `currency`; `plans` are ids of prices and products."""

    customer: str = ""
    currency: str = "usd"
    amount: int = 0
    country: str | None = None
    plans: tuple[str, ...] = ()
    metadata: dict[str, str] = {}
    risk: Level = "none"


class When(Section):
    """What a customer must fulfil, all of it. `share` is a percentage of customers, always the same ones."""

    currencies: Annotated[tuple[str, ...], AfterValidator(_lower)] = ()
    amount_at_least: int | None = Field(default=None, ge=0)
    amount_below: int | None = Field(default=None, ge=1)
    countries: Annotated[tuple[str, ...], AfterValidator(_upper)] = ()
    plans: tuple[str, ...] = ()
    metadata: dict[str, str] = {}
    risk_at_least: Level | None = None
    share: float | None = Field(default=None, gt=0, le=100)

    @model_validator(mode="after")
    def _an_amount_has_one_currency(self) -> When:
        by_amount = self.amount_at_least is not None or self.amount_below is not None
        if by_amount and len(self.currencies) != 1:
            raise ValueError("an amount means nothing without its currency: name exactly one in currencies")
        return self


class Segment(Section):
    """Customers with a policy of their own."""

    policy: PolicyName
    when: When = When()


class Segments(Section):
    """The whole `segments.yaml`."""

    segments: tuple[Segment, ...] = ()


def parse_segments(text: str, where: str) -> Segments:
    """Read `segments.yaml`. Raises PolicyError with one line for each problem found."""
    return parse_yaml(Segments, text, where, "segments")


def choose(segments: Segments, traits: Traits) -> str:
    """The name of the policy for a customer's new case."""
    fitting = (segment.policy for segment in segments.segments if _fits(segment, traits))
    return next(fitting, STANDARD)


def _fits(segment: Segment, traits: Traits) -> bool:
    when = segment.when
    return (
        (not when.currencies or traits.currency.lower() in when.currencies)
        and (when.amount_at_least is None or traits.amount >= when.amount_at_least)
        and (when.amount_below is None or traits.amount < when.amount_below)
        and (not when.countries or (traits.country or "").upper() in when.countries)
        and (not when.plans or not set(when.plans).isdisjoint(traits.plans))
        and when.metadata.items() <= traits.metadata.items()
        and (when.risk_at_least is None or LEVELS.index(traits.risk) >= LEVELS.index(when.risk_at_least))
        and (when.share is None or _place(segment.policy, traits.customer) < when.share)
    )


def _place(policy: str, customer: str) -> float:
    """Where a customer stands between 0 and 100, by a hash: a larger share keeps those who were in it."""
    digest = hashlib.sha256(f"{policy}/{customer}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64 * 100
