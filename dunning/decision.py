"""What a case does next: an effect to carry out, a turn to take, or a moment to wait for. And why."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from dunning.case import Announcement, CaseRef, CaseState, Entry, Event, Turn
from dunning.policy import ContactLimits, PolicySnapshot
from dunning.policy_sections import SuspensionKind
from dunning.values import Channel, DeclineClass, MessageGroup, Outcome, RecoveredVia, Value, WaitingOn


class ReadInvoice(Value):
    """Read the invoice again."""

    kind: Literal["read_invoice"] = "read_invoice"

    @property
    def key(self) -> str:
        return self.kind


class Charge(Value):
    """Charge the open invoice: attempt `number`, which is also part of the idempotency key."""

    kind: Literal["charge"] = "charge"
    number: int
    blind: bool = True  # no action of the customer's led to it
    backup: bool = False  # not with the default but with the customer's next card,
    tried: tuple[str, ...] = ()  # which is none of these (Method.identity)

    @property
    def key(self) -> str:
        return f"charge/{self.number}"


class NextCharge(Value):
    """What a message is about while there is no invoice: a charge to come.

    It is that of a card which is expired by then or, with a `subscription`, of that one's renewal.
    `zone` is the business's: where nobody knows better, a card's last day ends there.
    """

    at: datetime
    on: date  # in the customer's zone
    method: str
    expiry: str = ""  # "2031-09"
    zone: str = "UTC"
    subscription: str | None = None


class Send(Value):
    """Send the message of a step on one channel. The activity reads address, amount and link at Stripe."""

    kind: Literal["send"] = "send"
    step: str
    template: str
    channel: Channel
    cls: DeclineClass | None = None
    hide_reason: bool = False
    last_day: date | None = None  # the true last day of grace, in the customer's zone
    names_last_day: bool = False
    next_attempt_on: date | None = None
    due_on: date | None = None  # of an invoice that is sent instead of charged
    days: int | None = None  # of an extension
    day: date | None = None  # that an answer is about: promised, or when a person answers
    to_debtor: bool = True  # false for answers to a payment: they go out although the invoice is paid
    group: MessageGroup = "critical"
    counts: bool = True  # as a contact; answers to what the customer did do not
    limits: ContactLimits | None = None  # those it must keep; None: none
    content: dict[str, str] = {}  # WhatsApp: the approved template (Twilio's content_sid) by locale
    merge: bool = False  # lists all open invoices of the customer, and is not needed where another case did
    unsaid: tuple[str, ...] = ()  # messages that spoke of this case and did not arrive
    extra: bool = False  # the step was said on another channel: it leaves the last slot to others
    charge: NextCharge | None = None  # there is no invoice: the message is about a charge to come

    @property
    def key(self) -> str:
        return f"send/{self.step}/{self.channel}"


class TakeOver(Value):
    """Turn Stripe's own retries off for this invoice: this engine charges it."""

    kind: Literal["take_over"] = "take_over"

    @property
    def key(self) -> str:
        return self.kind


class GiveBack(Value):
    """Give the invoice back to Stripe as it was found."""

    kind: Literal["give_back"] = "give_back"
    auto_advance: bool = True

    @property
    def key(self) -> str:
        return self.kind


class MoveDefault(Value):
    """The customer replaced the failed method: it becomes the default where the failed one is set."""

    kind: Literal["move_default"] = "move_default"
    set_on: Literal["invoice", "subscription"]
    failed: str  # id of the method that failed; nothing is moved when another one stands there now
    to: str

    @property
    def key(self) -> str:
        return f"move_default/{self.to}"


class Suspend(Value):
    """Suspend the subscription the way the policy says."""

    kind: Literal["suspend"] = "suspend"
    how: SuspensionKind = "pause_collection"

    @property
    def key(self) -> str:
        return self.kind


class Restore(Value):
    """Undo the suspension, unless another open invoice still causes it."""

    kind: Literal["restore"] = "restore"

    @property
    def key(self) -> str:
        return self.kind


class MarkUncollectible(Value):
    """Give up the invoice at Stripe. It may still be paid."""

    kind: Literal["mark_uncollectible"] = "mark_uncollectible"

    @property
    def key(self) -> str:
        return self.kind


class CancelSubscription(Value):
    """Cancel the subscription, without proration and without a last invoice."""

    kind: Literal["cancel_subscription"] = "cancel_subscription"

    @property
    def key(self) -> str:
        return self.kind


class PauseByCustomer(Value):
    """Pause the subscription as the customer wishes: nothing is billed until it goes on by itself."""

    kind: Literal["pause_by_customer"] = "pause_by_customer"
    until: datetime

    @property
    def key(self) -> str:
        return self.kind


class CancelByCustomer(Value):
    """Cancel the subscription as the customer wishes; what was not paid for is not credited."""

    kind: Literal["cancel_by_customer"] = "cancel_by_customer"
    at_period_end: bool = False

    @property
    def key(self) -> str:
        return self.kind


Action = Annotated[
    ReadInvoice
    | Charge
    | Send
    | TakeOver
    | GiveBack
    | MoveDefault
    | Suspend
    | Restore
    | MarkUncollectible
    | CancelSubscription
    | PauseByCustomer
    | CancelByCustomer,
    Field(discriminator="kind"),
]


class Decision(Value):
    """One of: `action` now (not after `not_after`), `turn` now, wait until `until`, or nothing any more."""

    reason: str
    action: Action | None = None
    not_after: datetime | None = None
    turn: Turn | None = None
    until: datetime | None = None
    waiting_on: WaitingOn | None = None

    @property
    def done(self) -> bool:
        return self.action is None and self.turn is None and self.until is None


class Answer(Value):
    """What an update is told: accepted with a sentence, or refused with one."""

    ticket: str
    accepted: bool
    text: str


class Question(Value):
    """What the recorded step is asked: fold this inbox into this state, and decide."""

    state: CaseState
    inbox: tuple[Event, ...] = ()
    policy: PolicySnapshot
    now: datetime
    seq: int = 0  # timeline entries so far
    facets: dict[str, Any] = {}  # search attributes as last published


class Step(Value):
    """The recorded answer: what changed in the state, what to do, and everything that goes out with it.

    Only the fields that changed are recorded: a case's history grows with its story, not with its state.
    """

    changes: dict[str, Any] = {}  # fields of CaseState as JSON
    decision: Decision
    answers: tuple[Answer, ...] = ()
    entries: tuple[Entry, ...] = ()
    facets: dict[str, Any] | None = None  # search attributes, when they changed
    policy: PolicySnapshot | None = None  # the case goes on by this one
    forgets: bool = False  # the customer was erased: what people wrote before is gone from the timeline
    # What the ledger's outbox takes in the same step. It stands there, not in the history.
    announcements: tuple[Announcement, ...] = Field((), exclude=True)


class Order(Value):
    """An effect for an activity: what, for which case, and under which conditions."""

    ref: CaseRef
    action: Action
    policy: str
    shadow: bool = False
    not_after: datetime | None = None


class Start(Value):
    """The validated input of `InvoiceDunning`."""

    invoice_id: str
    policy: str | None = None
    account: str = ""
    reopen: bool = False


class OpenOrder(Value):
    """Open the case of an invoice."""

    start: Start
    workflow_id: str
    run_id: str


class Closed(Value):
    """How a case ended: the result of `InvoiceDunning`."""

    outcome: Outcome
    reason: str
    recovered_via: RecoveredVia | None = None
