"""The state of a case, and everything that can happen to it.

`CaseState` is all there is to know about a case; an `Event` is all that can change it (`dunning.evolve`).
Both travel through Temporal histories that live for weeks: new fields need defaults, and no field and no
enum value is ever removed.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from dunning.facts import Failure, Invoice, Method
from dunning.policy import PolicySnapshot
from dunning.risk import Level
from dunning.values import Channel, DeclineClass, Outcome, RecoveredVia, Stage, Value

AttemptResult = Literal[
    "succeeded", "declined", "needs_authentication", "processing", "not_needed", "unknown", "shadow", "held",
    "too_late", "postponed", "forbidden",
]  # fmt: skip
Fate = Literal[
    "accepted", "unknown", "failed", "unreachable", "shadow", "not_needed", "superseded", "held", "too_late",
    "postponed", "merged", "undelivered", "told_before",
]  # fmt: skip


EffectName = Literal[
    "take_over",
    "give_back",
    "move_default",
    "suspend",
    "restore",
    "mark_uncollectible",
    "cancel_subscription",
    "pause_by_customer",
    "cancel_by_customer",
]


# --- parts of the state -------------------------------------------------------------------------------


class CaseRef(Value):
    """What names a case: in the ledger by `case_id`, at Stripe by account and invoice."""

    case_id: str
    invoice_id: str
    account: str = ""
    episode: int = 1


class Plan(Value):
    """The promised dates. They move later, never earlier."""

    anchor: datetime  # the first failure; retries and messages count from here
    grace_starts_at: datetime
    last_day: date  # the last day of grace, in the customer's zone, to 23:59
    zone: str = "UTC"


class Attempt(Value):
    """A charge the engine asked for. `number` counts over all episodes of the case."""

    number: int
    at: datetime
    result: AttemptResult
    cls: DeclineClass | None = None
    identity: str | None = None  # Method.identity of what was charged
    blind: bool = True  # not caused by a customer's action: counts against retries.max
    backup: bool = False  # made with another card than the default


class Sent(Value):
    """A message of one step on one channel, and what became of it."""

    step: str
    channel: Channel
    at: datetime
    fate: Fate
    named_day: date | None = None  # the last day of grace that the message named
    said_by: str = ""  # merged: the message of another case, by its id in the ledger


class Waiting(Value):
    """A message that found no room within the contact limits, and may go out from `until` on."""

    step: str
    channel: Channel
    until: datetime
    why: str


class Verdict(Value):
    """What the latest failure asks for (see `dunning.declines`)."""

    cls: DeclineClass
    code: str
    at: datetime
    not_before: datetime | None = None
    max_retries: int | None = None  # for this code; None: the policy's number
    locked: bool = False  # the network forbids charging this method again
    hide_reason: bool = False
    identity: str | None = None  # the method that failed
    unknown: bool = False  # a code came that the rules do not know: a person should look
    words: str = ""


class Extension(Value):
    """More time that was granted."""

    days: int
    at: datetime
    by: str
    reason: str = ""
    by_customer: bool = False


class Request(Value):
    """More time that was asked for and waits for an answer."""

    days: int
    at: datetime
    by: str
    reason: str = ""
    answer_by: datetime


class Promise(Value):
    """A day on which the customer promised to pay: until then nothing is charged, said or suspended."""

    on: date  # in the customer's zone
    at: datetime
    by: str
    state: Literal["open", "kept", "broken", "ended"] = "open"  # ended: the case was over without a payment


class Hold(Value):
    """Nothing happens until `until`; then the plan moves by the time that was held."""

    since: datetime
    until: datetime
    by: str
    reason: str = ""
    pause: bool = False  # the customer paused the subscription


class Fault(Value):
    """Something the case needs does not answer."""

    what: str
    error: str
    since: datetime
    count: int
    retry_at: datetime


class CaseState(Value):
    """Everything that is known about a case."""

    ref: CaseRef
    invoice: Invoice
    plan: Plan
    opened_at: datetime
    stage: Stage = Stage.RECOVERING
    verdict: Verdict | None = None
    attempts: tuple[Attempt, ...] = ()
    next_number: int = 1
    retries_used: int = 0
    retry_asked: bool = False
    sent: tuple[Sent, ...] = ()
    waiting: tuple[Waiting, ...] = ()  # messages that the contact limits postponed
    answers_due: tuple[str, ...] = ()  # names in policy.messages.answers, in order
    extensions: tuple[Extension, ...] = ()
    request: Request | None = None
    hold: Hold | None = None
    faults: tuple[Fault, ...] = ()
    stale: bool = False  # a hint arrived: read the invoice before anything else
    halted_until: datetime | None = None  # `dunning halt` held an effect; look again then
    postponed_until: datetime | None = None  # the ledger refused a charge until then
    postponed_why: str = ""
    taken_over: bool = False  # Stripe's own retries are off for the invoice
    found_auto_advance: bool | None = None  # as Stripe had it before
    give_back: bool = False  # who stopped the case wants Stripe to go on with the invoice
    backup_tried: bool = False  # once a case
    moved_defaults: tuple[str, ...] = ()  # methods that were made the default
    suspended_at: datetime | None = None
    suspension_lifted: bool = False
    restored: bool = False  # lifted and nothing else keeps the subscription suspended
    invoice_finalized: bool = False
    subscription_finalized: bool = False
    human: str | None = None  # why a person must decide
    human_since: datetime | None = None
    ending: Outcome | None = None  # decided, but something must still be done before closing
    ending_reason: str = ""
    outcome: Outcome | None = None
    recovered_via: RecoveredVia | None = None
    closed_at: datetime | None = None
    closed_reason: str = ""
    request_ids: tuple[str, ...] = ()  # answered levers, newest last, bounded
    shift: timedelta = timedelta()  # time given back after holds
    final_shift: timedelta = timedelta()  # the same, of holds since the suspension
    notice_wanted_since: datetime | None = None  # the date first moved for want of a notice
    reviewed: bool = False  # a person looked at a frozen case and released it
    undelivered: tuple[tuple[str, Channel], ...] = ()  # messages of which that is known before their fate
    taken: tuple[tuple[str, Channel], ...] = ()  # likewise, those that a provider took
    unsaid: tuple[str, ...] = ()  # messages of other cases that spoke of this one and did not arrive
    reply_waits: bool = False  # the customer wrote something that a person must read
    risk: Level | None = None  # the customer's, when the case was opened
    reports: tuple[str, ...] = ()  # refunds, disputes and warnings that are known, newest last, bounded
    promises: tuple[Promise, ...] = ()  # at most the last one is open
    suspend_asked: str = ""  # who wants the suspension now, and why
    access_ended: bool = False  # `access.none_after` of the suspension has passed
    ask: str = ""  # the policy's question that the person is asked, by its name
    asks_answered: tuple[str, ...] = ()
    restore_asked: str = ""  # who gives access back without a payment, and why
    pause_until: datetime | None = None  # the customer wants the subscription paused until then
    pauses: int = 0  # how often the customer paused it
    cancel_asked: Literal["", "now", "at_period_end"] = ""  # the customer wants the subscription canceled
    leaving: Literal["", "now", "at_period_end"] = ""  # the customer canceled it
    preview: str = ""  # where an operator sees the customer's page

    def was_sent(self, step: str, channel: Channel) -> bool:
        return any(s.step == step and s.channel == channel for s in self.sent)

    @property
    def promise(self) -> Promise | None:
        """The promise that is open."""
        return self.promises[-1] if self.promises and self.promises[-1].state == "open" else None


# --- events: results of activities --------------------------------------------------------------------


class InvoiceRead(Value):
    """The invoice was read again."""

    kind: Literal["invoice_read"] = "invoice_read"
    invoice: Invoice


class Charged(Value):
    """An attempt ended, or was not made and says why."""

    kind: Literal["charged"] = "charged"
    number: int
    at: datetime
    result: AttemptResult
    blind: bool = True
    backup: bool = False
    method: Method | None = None
    failure: Failure | None = None
    invoice: Invoice | None = None
    retry_at: datetime | None = None  # postponed: the budget has a slot again
    words: str = ""  # postponed or forbidden: which rule, in words
    siblings: tuple[str, ...] = ()  # workflow ids of the customer's other open cases, when they must know


class MessageSent(Value):
    """A message was handed to a provider, or was not and says why."""

    kind: Literal["message_sent"] = "message_sent"
    step: str
    channel: Channel
    at: datetime
    fate: Fate
    named_day: date | None = None
    detail: str = ""
    invoice: Invoice | None = None
    retry_at: datetime | None = None  # postponed: there is room again; `detail` says which limit it was
    said_at: datetime | None = None  # merged: when the message of another case said it
    said_by: str = ""  # its id in the ledger


class EffectDone(Value):
    """An effect at Stripe was carried out, or found not needed: `detail` says why."""

    kind: Literal["effect_done"] = "effect_done"
    effect: EffectName
    at: datetime
    result: Literal["done", "not_needed", "shadow", "held", "too_late"] = "done"
    detail: str = ""
    invoice: Invoice | None = None
    ended: bool = False  # suspend: the subscription is canceled, which is final


class EffectFailed(Value):
    """An activity gave up after its retries: the world does not answer."""

    kind: Literal["effect_failed"] = "effect_failed"
    effect: str
    at: datetime
    error: str


# --- events: from outside -----------------------------------------------------------------------------


class BillingEvent(Value):
    """A hint that something changed at Stripe, or that a halt was lifted. Only a reason to look.

    Refunds, disputes and warnings of fraud name a payment instead, and what a provider of messages tells
    names a message: what is said of it stands in the hint.
    """

    kind: Literal["billing_event"] = "billing_event"
    type: str = ""
    id: str = ""
    created: datetime | None = None
    at: datetime
    report: str = ""  # id of the refund, dispute or warning
    status: str = ""  # Stripe's, of a dispute or refund
    charge: str = ""  # the payment it is about
    invoice: str = ""  # what that paid, if it is known
    card: str = ""  # the fingerprint of what paid, if it is known
    amount: int | None = None  # minor units of `currency`
    currency: str = ""
    step: str = ""  # of the message it is about
    channel: str = ""
    why: str = ""


class Lever(Value):
    """A signal or update as it arrived, unchecked. `ticket` names the update that waits for an answer."""

    kind: Literal["lever"] = "lever"
    name: str
    args: tuple[Any, ...] = ()
    at: datetime
    ticket: str | None = None


# --- events: turns the core takes by itself, without an effect ----------------------------------------


class Turn(Value):
    """The case turned a corner by the passing of time or by rule."""

    kind: Literal["turn"] = "turn"
    to: Literal[
        "grace", "hold_ended", "request_expired", "date_moved", "superseded", "unreachable", "human",
        "ending", "closed", "halt_over", "promise_broken",
        "access_ended", "human_silent",
    ]  # fmt: skip
    at: datetime
    reason: str = ""
    steps: tuple[tuple[str, Channel], ...] = ()
    outcome: Outcome | None = None
    via: RecoveredVia | None = None
    last_day: date | None = None
    ask: str = ""  # human: the policy's question


Event = Annotated[
    InvoiceRead | Charged | MessageSent | EffectDone | EffectFailed | BillingEvent | Lever | Turn,
    Field(discriminator="kind"),
]


class Entry(Value):
    """A line of the timeline: what happened, when, by whom, and why."""

    at: datetime
    what: str
    text: str
    by: str = "engine"
    data: dict[str, Any] = {}


class Announcement(Value):
    """What the business's own systems are told, if they want to know (see `dunning.announcements`)."""

    id: str  # the same however often a step is repeated
    type: str
    at: datetime
    data: dict[str, Any] = {}


class Opened(Value):
    """How a case began. `refused` says in one sentence why there is nothing to do."""

    state: CaseState | None = None
    policy: PolicySnapshot | None = None  # the snapshot that the case keeps
    refused: str = ""
    refused_at: datetime | None = None
