"""Sections of a policy about people and the subscription: time, promises, access, suspension, the end.

The other sections and the whole are in `dunning.policy`; the standard policy documents every field.
"""

from __future__ import annotations

from datetime import time, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from dunning.durations import Duration
from dunning.risk import Level
from dunning.values import Channel, Section

_DAY = timedelta(days=1)


def _whole_days(value: timedelta) -> timedelta:
    if value < _DAY or value % _DAY:
        raise ValueError("write whole days, at least 1d, so that the last day is a date")
    return value


WholeDays = Annotated[Duration, AfterValidator(_whole_days)]
Currency = Annotated[str, Field(pattern=r"^[a-z]{3}$")]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Price = Annotated[str, Field(pattern=r"^price_\w+$")]


class CustomerExtensions(Section):
    """What a customer is granted at once."""

    count: int = Field(ge=0, le=12)
    days: int = Field(ge=1, le=60)


class Extensions(Section):
    """How much more time can be had, in days."""

    by_customer: CustomerExtensions
    max_total: int = Field(ge=0, le=365)
    answer_within: Duration
    after_suspension: Literal["refuse", "restore"] = "refuse"


class Grace(Section):
    """The grace period: when it starts (since the first failure) and how long it is."""

    starts: Duration
    length: WholeDays
    extensions: Extensions


class Holds(Section):
    """How long a hold lasts that names no end."""

    max: Duration


class Promises(Section):
    """Days on which customers promise to pay: how many a case, how far ahead, and what is done then."""

    count: int = Field(2, ge=0, le=12)
    max_days: int = Field(14, ge=1, le=60)
    at: time = time(9)  # of the promised day, in the customer's zone: the charge
    leaves: WholeDays = timedelta(days=2)  # announced days that are left after a broken one


#: How a subscription is suspended. Sources: Stripe, "Pause payment collection", "Pause a subscription".
SuspensionKind = Literal["event_only", "pause_collection", "pause_subscription", "cancel"]
AccessLevel = Literal["full", "limited", "none"]


class AccessLadder(Section):
    """What the customer may still use: told to the business's backend, which opens and locks the doors."""

    recovering: AccessLevel = "full"
    grace: AccessLevel = "full"
    suspended: AccessLevel = "none"
    none_after: Duration | None = None  # since the suspension; for `suspended: limited`

    @model_validator(mode="after")
    def _only_downwards(self) -> AccessLadder:
        steps = ("full", "limited", "none")
        ladder = [steps.index(level) for level in (self.recovering, self.grace, self.suspended)]
        if ladder != sorted(ladder):
            raise ValueError("access only shrinks, from recovering over grace to suspended")
        if self.none_after is not None and self.suspended != "limited":
            raise ValueError("none_after needs `suspended: limited`")
        return self


class CustomerPause(Section):
    """A customer pauses the subscription instead of losing it: for how many days, how often a case."""

    days: int = Field(ge=1, le=180)
    count: int = Field(1, ge=1, le=12)


class CustomerPage(Section):
    """What customers may do on their page beside paying, naming a day and asking for time."""

    pause: CustomerPause | None = None
    cancel: Literal["never", "at_period_end", "now"] = "never"
    switch_to: tuple[Price, ...] = ()  # prices of Stripe's, confirmed by the customer in Stripe's portal


class Suspension(Section):
    """What suspension does, and what must have been said before."""

    how: SuspensionKind
    notice: Duration
    notice_retries: Duration
    by_hand: Literal["announced", "unannounced"] = "announced"  # what `suspend_now` needs


class FinalAction(Section):
    """What happens when a suspended customer does not come back."""

    after: Duration
    invoice: Literal["leave", "mark_uncollectible"]
    subscription: Literal["leave", "cancel"]
    invoice_after: Duration | None = None  # each may have a delay of its own; None: `after`
    subscription_after: Duration | None = None


Remind = Literal["always", "yearly", "amount", "at_risk"]


class Renewals(Section):
    """The optional reminder before a renewal. A renewal is reminded of when one of `remind` holds."""

    remind: Annotated[tuple[Remind, ...], Field(min_length=1)]
    before: WholeDays  # the charge
    channels: Annotated[tuple[Channel, ...], Field(min_length=1)]
    amount_from: dict[Currency, Annotated[int, Field(gt=0)]] = {}  # for `amount`: minor units, as charged
    risk_from: Level = "elevated"  # for `at_risk`

    @model_validator(mode="after")
    def _says_what_it_goes_by(self) -> Renewals:
        if ("amount" in self.remind) != bool(self.amount_from):
            raise ValueError("renewals: `remind: [amount]` and `amount_from` go together: write both or none")
        if self.before <= _DAY:
            raise ValueError("renewals.before: write 2d or more: a reminder needs time to act on it")
        if self.risk_from == "none":
            raise ValueError("renewals.risk_from: none means everybody: write `remind: [always]`")
        return self


class Ask(Section):
    """A step before which a person is asked, and what happens when nobody answers in time."""

    name: Name
    before: Literal["suspension", "final_action"]
    amount_from: dict[Currency, Annotated[int, Field(gt=0)]] = {}  # minor units; other currencies ask nobody
    risk_from: Level | None = None  # the customer's; with an amount both must hold
    deadline: Duration
    otherwise: Literal["go_on", "stop"]

    @model_validator(mode="after")
    def _asks_about_something(self) -> Ask:
        if not self.amount_from and self.risk_from is None:
            raise ValueError(f"{self.name}: say about whom to ask: amount_from, risk_from or both")
        return self


class Human(Section):
    """How long a case waits for a person, and which steps wait for one."""

    deadline: Duration
    ask_when: tuple[Ask, ...] = ()

    @model_validator(mode="after")
    def _names_are_unique(self) -> Human:
        names = [ask.name for ask in self.ask_when]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"ask_when: {twice[0]} stands twice: every question needs a name of its own")
        return self
