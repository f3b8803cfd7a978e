"""The activities as workflows know them: names and types, no code that acts.

Implementations override these methods (same `name`). This module imports nothing that a workflow's
sandbox would refuse: an activity module that imports stripe keeps a worker from starting.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from temporalio import activity

from dunning.case import Charged, EffectDone, InvoiceRead, MessageSent, Opened
from dunning.decision import OpenOrder, Order, Question, Step
from dunning.endpoints import Delivered, DeliveryOrder
from dunning.expiry.card import CardOpened, CardOpenOrder, CardOrder, CardQuestion, CardRead, CardStep
from dunning.expiry.scan import ScanOrder, ScanPage
from dunning.reconciliation import (
    BeginTour,
    Examined,
    ExamineOrder,
    FinishOrder,
    LookOrder,
    Reconciled,
    Seen,
    Tour,
)
from dunning.renewals.reminder import ReminderQuestion, ReminderStep
from dunning.reports import UnknownPayment
from dunning.risk import Reviewed, ReviewOrder

#: Workflows, messages and the ledger.
TASK_QUEUE = "dunning"
#: Calls to Stripe, rate-limited.
STRIPE_TASK_QUEUE = "dunning-stripe"
#: Calls to the business's own systems: one that hangs keeps no message waiting.
EVENTS_TASK_QUEUE = "dunning-events"


class BillingActivities(ABC):
    """Effects at Stripe."""

    @activity.defn(name="open_case")
    @abstractmethod
    async def open_case(self, order: OpenOrder) -> Opened:
        """Claim the case in the ledger, read the invoice, choose the policy."""

    @activity.defn(name="read_invoice")
    @abstractmethod
    async def read_invoice(self, order: Order) -> InvoiceRead:
        """Read the invoice and its last failure."""

    @activity.defn(name="charge")
    @abstractmethod
    async def charge(self, order: Order) -> Charged:
        """Charge the invoice once. A decline is a result, not an error."""

    @activity.defn(name="take_over")
    @abstractmethod
    async def take_over(self, order: Order) -> EffectDone:
        """Turn Stripe's own retries of the invoice off."""

    @activity.defn(name="give_back")
    @abstractmethod
    async def give_back(self, order: Order) -> EffectDone:
        """Let Stripe go on with the invoice as it did before."""

    @activity.defn(name="move_default")
    @abstractmethod
    async def move_default(self, order: Order) -> EffectDone:
        """Put the customer's new method where the failed one is set."""

    @activity.defn(name="suspend")
    @abstractmethod
    async def suspend(self, order: Order) -> EffectDone:
        """Suspend the subscription."""

    @activity.defn(name="restore")
    @abstractmethod
    async def restore(self, order: Order) -> EffectDone:
        """Undo the suspension."""

    @activity.defn(name="mark_uncollectible")
    @abstractmethod
    async def mark_uncollectible(self, order: Order) -> EffectDone:
        """Mark the invoice uncollectible."""

    @activity.defn(name="cancel_subscription")
    @abstractmethod
    async def cancel_subscription(self, order: Order) -> EffectDone:
        """Cancel the subscription."""

    @activity.defn(name="pause_by_customer")
    @abstractmethod
    async def pause_by_customer(self, order: Order) -> EffectDone:
        """Pause the subscription as the customer wishes."""

    @activity.defn(name="cancel_by_customer")
    @abstractmethod
    async def cancel_by_customer(self, order: Order) -> EffectDone:
        """Cancel the subscription as the customer wishes."""


class EmailActivities(ABC):
    """Effects at SendGrid."""

    @activity.defn(name="send_email")
    @abstractmethod
    async def send_email(self, order: Order) -> MessageSent:
        """Send one e-mail, once."""


class SmsActivities(ABC):
    """Effects at Twilio."""

    @activity.defn(name="send_sms")
    @abstractmethod
    async def send_sms(self, order: Order) -> MessageSent:
        """Send one SMS, once."""

    @activity.defn(name="send_whatsapp")
    @abstractmethod
    async def send_whatsapp(self, order: Order) -> MessageSent:
        """Send one WhatsApp message, once."""


class ReconcilingActivities(ABC):
    """Compares Stripe with the engine, and mends what is safe to mend."""

    @activity.defn(name="begin_reconciliation")
    @abstractmethod
    async def begin(self, order: BeginTour) -> Tour:
        """Write down that it begins, and since when events and invoices are to be looked at."""

    @activity.defn(name="look_for_suspects")
    @abstractmethod
    async def look(self, order: LookOrder) -> Seen:
        """One page of one list: replay what got lost, and name what may be wrong."""

    @activity.defn(name="examine_suspect")
    @abstractmethod
    async def examine(self, order: ExamineOrder) -> Examined:
        """Read the suspect's invoice; write down what is wrong, and mend it."""

    @activity.defn(name="finish_reconciliation")
    @abstractmethod
    async def finish(self, order: FinishOrder) -> Reconciled:
        """Write down how it ended."""


class RiskActivities(ABC):
    """Early warning, from the ledger alone."""

    @activity.defn(name="review_risks")
    @abstractmethod
    async def review_risks(self, order: ReviewOrder) -> Reviewed:
        """Assess the next customers."""


class PaymentReportActivities(ABC):
    """Whose payment it is that a dispute or a warning is about."""

    @activity.defn(name="tell_payer")
    @abstractmethod
    async def tell_payer(self, report: UnknownPayment) -> bool:
        """Ask Stripe who paid, and tell the open cases of that customer; whether there were any."""


class CardActivities(ABC):
    """What cards that expire read at Stripe."""

    @activity.defn(name="open_card_case")
    @abstractmethod
    async def open_card_case(self, order: CardOpenOrder) -> CardOpened:
        """Read the card, choose the policy, claim the case in the ledger."""

    @activity.defn(name="read_card")
    @abstractmethod
    async def read_card(self, order: CardOrder) -> CardRead:
        """Read the card and what it will be charged for."""


class ScanActivities(ABC):
    """Looks for cards that expire before their next charge."""

    @activity.defn(name="scan_page")
    @abstractmethod
    async def scan_page(self, order: ScanOrder) -> ScanPage:
        """Look at one page of subscriptions."""


class ReminderActivities(ABC):
    """The reminder before a renewal."""

    @activity.defn(name="look_at_renewal")
    @abstractmethod
    async def look_at_renewal(self, question: ReminderQuestion) -> ReminderStep:
        """Read the renewal at Stripe, claim its reminder, and say what comes next."""


class CardRecordActivities(ABC):
    """The recorded step of a card's case (a local activity)."""

    @activity.defn(name="decide_card")
    @abstractmethod
    async def decide_card(self, question: CardQuestion) -> CardStep:
        """Fold the inbox into the state, decide, and remember both in the ledger."""


class RecordActivities(ABC):
    """The recorded step (a local activity)."""

    @activity.defn(name="decide")
    @abstractmethod
    async def decide(self, question: Question) -> Step:
        """Fold the inbox into the state, decide, and remember both in the ledger."""


class EventActivities(ABC):
    """Events for the business's own systems."""

    @activity.defn(name="deliver_event")
    @abstractmethod
    async def deliver_event(self, order: DeliveryOrder) -> Delivered:
        """Post one event to one endpoint; a failure is retried for three days."""
