"""What is known of a renewal to come, and what its reminder may do.

Like `dunning.case`, these values travel through histories: new fields need defaults, and no field and no
value is ever removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from dunning.case import MessageSent
from dunning.decision import Order, Send
from dunning.expiry.card import Renewal
from dunning.risk import Level
from dunning.start import parse_input
from dunning.values import Channel, Value


class ReminderOutcome(StrEnum):
    """How a reminder ended. Values are never removed: they stand in histories and in the ledger."""

    REMINDED = "reminded"  # a provider took the message, or may have taken it
    NOT_REMINDED = "not_reminded"  # it was due and found no way or no room
    NOT_NEEDED = "not_needed"  # the policy asks for none, or nothing will be charged on that day
    STOPPED = "stopped"  # a person ended it


class ReminderStart(Value):
    """The validated input of `RenewalReminder`."""

    subscription_id: str
    policy: str | None = None
    account: str = ""


class ReminderRef(Value):
    """What names a reminder: in the ledger by `case_id`, at Stripe by subscription and charge."""

    case_id: str
    subscription: str
    charge_at: datetime
    account: str = ""


class Upcoming(Value):
    """A subscription's next charge as Stripe showed it at `read_at`.

    `amount` is what the customer will pay, discounts and tax included, in minor units of the renewal's
    currency; None: Stripe will make no invoice.
    """

    subscription: str
    read_at: datetime
    renewal: Renewal | None = None  # None: Stripe does not know the subscription, or it has no period
    amount: int | None = None
    customer: str = ""
    zone: str | None = None
    zones: tuple[str, ...] = ()  # those in which the customer may live, when no single one is known for sure
    place: str = ""  # whose holidays count: ISO 3166, or nothing
    channels: tuple[Channel, ...] = ()
    dunned: bool = False  # the customer hears of a failed invoice at present
    risk: Level = "none"
    livemode: bool = False


class ReminderDecision(Value):
    """One of: `send` now (not after `not_after`), wait until `until`, or the `outcome`."""

    reason: str
    send: Send | None = None
    not_after: datetime | None = None
    until: datetime | None = None
    outcome: ReminderOutcome | None = None


class ReminderQuestion(Value):
    """What the look at a renewal is asked. `heard`: what became of messages so far, the latest last."""

    start: ReminderStart
    workflow_id: str
    run_id: str
    ref: ReminderRef | None = None  # None: it is not opened yet
    policy: str | None = None  # the one it was opened with
    heard: tuple[MessageSent, ...] = ()
    failed_at: datetime | None = None  # a provider did not answer
    canceled: bool = False  # an operator cancels in the Temporal UI: that ends the reminder


class ReminderStep(Value):
    """The recorded answer: carry out `order`, wait until `until`, or end with `outcome`. And why."""

    reason: str
    ref: ReminderRef | None = None
    policy: str | None = None
    order: Order | None = None
    until: datetime | None = None
    outcome: ReminderOutcome | None = None
    facets: dict[str, Any] = {}  # search attributes
    details: str = ""  # the current details, in Markdown


class Reminded(Value):
    """How a reminder ended: the result of `RenewalReminder`."""

    outcome: ReminderOutcome
    reason: str


def parse_reminder(args: Sequence[Any]) -> ReminderStart:
    """The input of `RenewalReminder`. Raises ValueError with one sentence that says what to change."""
    given = parse_input(args, "subscription_id", "a subscription", ("sub_",))
    return ReminderStart(
        subscription_id=given["subscription_id"],
        policy=given.get("policy"),
        account=given.get("account") or "",
    )
