"""The state of a card's case, and everything that can happen to it.

Like `dunning.case`, these values travel through histories that live for weeks: new fields need defaults, and
no field and no value is ever removed.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from dunning.case import BillingEvent, EffectFailed, Entry, Fault, Lever, MessageSent, Sent, Waiting
from dunning.decision import Answer, Send
from dunning.policy import PolicySnapshot
from dunning.values import Channel, Value


class CardOutcome(StrEnum):
    """How a card's case ended. Values are never removed: they stand in histories and in the ledger."""

    UPDATED = (
        "updated"  # the same payment method got a later expiry, by the networks' updater or the customer
    )
    REPLACED = "replaced"  # Stripe charges something else, or would find something else that works
    ENDED = "ended"  # nothing is charged any more, or a person stopped it
    EXPIRED = "expired"  # the charge came with the old card: if it failed, its invoice has a case of its own


class CardRef(Value):
    """What names a card's case: in the ledger by `case_id`, at Stripe by account and payment method."""

    case_id: str
    method: str
    expiry: str  # "2031-09": valid through the last day of that month
    account: str = ""


class Renewal(Value):
    """The next charge of a subscription. `amount` in minor units of `currency`, before discounts and tax."""

    subscription: str
    at: datetime
    charges: bool = True  # False: canceled by then, paused, or sent as an invoice
    method: str | None = None  # what Stripe would charge, by its order
    expiry: str | None = None  # its expiry; None: it does not expire by itself
    backup: str | None = None  # another method that comes later in that order ...
    backup_expiry: str | None = None  # ... and when it expires; None: it does not
    amount: int = 0
    currency: str = "usd"
    yearly: bool = False


class CardFacts(Value):
    """A card as Stripe showed it at `read_at`, with everything that it will be charged for."""

    method: str
    read_at: datetime
    expiry: str | None = None  # None: no card that expires (gone, detached, a wallet's, another kind)
    customer: str = ""
    zone: str | None = None
    zones: tuple[str, ...] = ()  # those in which the customer may live, when no single one is known for sure
    place: str = ""  # whose holidays count: ISO 3166, or nothing
    channels: tuple[Channel, ...] = ()
    renewals: tuple[Renewal, ...] = ()
    dunned: bool = False  # the customer hears of a failed invoice at present
    livemode: bool = False


class CardState(Value):
    """Everything that is known about a card's case."""

    ref: CardRef
    card: CardFacts
    opened_at: datetime
    charge_at: datetime  # the first charge after the card's last day
    sent: tuple[Sent, ...] = ()
    waiting: tuple[Waiting, ...] = ()  # messages that the contact limits postponed
    stale: bool = False  # a hint arrived: read the card before anything else
    halted_until: datetime | None = None
    fault: Fault | None = None
    outcome: CardOutcome | None = None
    closed_at: datetime | None = None
    closed_reason: str = ""
    stopped: bool = False  # a person ended it: no scan begins again

    def was_sent(self, step: str, channel: Channel) -> bool:
        return any(s.step == step and s.channel == channel for s in self.sent)


class CardRead(Value):
    """The card was read again."""

    kind: Literal["card_read"] = "card_read"
    card: CardFacts


class CardTurn(Value):
    """A turn that the core takes by itself."""

    kind: Literal["turn"] = "turn"
    to: Literal["closed", "superseded", "unreachable"]
    at: datetime
    reason: str = ""
    steps: tuple[tuple[str, Channel], ...] = ()
    outcome: CardOutcome | None = None


CardEvent = Annotated[
    CardRead | MessageSent | EffectFailed | BillingEvent | Lever | CardTurn, Field(discriminator="kind")
]


class ReadCard(Value):
    """Read the card and what it will be charged for."""

    kind: Literal["read_card"] = "read_card"

    @property
    def key(self) -> str:
        return self.kind


class CardDecision(Value):
    """One of: `action` now (not after `not_after`), `turn` now, wait until `until`, or nothing any more."""

    reason: str
    action: Annotated[ReadCard | Send, Field(discriminator="kind")] | None = None
    not_after: datetime | None = None
    turn: CardTurn | None = None
    until: datetime | None = None


class CardQuestion(Value):
    """What the recorded step is asked: fold this inbox into this state, and decide."""

    state: CardState
    inbox: tuple[CardEvent, ...] = ()
    policy: PolicySnapshot
    now: datetime
    seq: int = 0  # timeline entries so far
    facets: dict[str, Any] = {}  # search attributes as last published


class CardStep(Value):
    """The recorded answer: the state, what to do, and everything that goes out with it."""

    state: CardState
    decision: CardDecision
    answers: tuple[Answer, ...] = ()
    entries: tuple[Entry, ...] = ()
    facets: dict[str, Any] | None = None  # search attributes, when they changed


class CardStart(Value):
    """The validated input of `CardExpiry`."""

    payment_method_id: str
    policy: str | None = None
    account: str = ""


class CardOpenOrder(Value):
    """Open the case of a card."""

    start: CardStart
    workflow_id: str
    run_id: str


class CardOpened(Value):
    """How a card's case began. `refused` says in one sentence why there is nothing to do."""

    state: CardState | None = None
    policy: PolicySnapshot | None = None
    refused: str = ""


class CardOrder(Value):
    """Read this card."""

    ref: CardRef


class CardClosed(Value):
    """How a card's case ended: the result of `CardExpiry`."""

    outcome: CardOutcome
    reason: str
