"""The activities as workflows know them: names and types, no code that acts.

Implementations override these methods (same `name`). This module imports nothing that a workflow's
sandbox would refuse: an activity module that imports stripe keeps a worker from starting.
"""

from __future__ import annotations

from temporalio import activity

from dunning.case import Charged, EffectDone, InvoiceRead, MessageSent, Opened
from dunning.decision import OpenOrder, Order, Question, Step

#: Workflows, messages and the ledger.
TASK_QUEUE = "dunning"
#: Calls to Stripe, rate-limited.
STRIPE_TASK_QUEUE = "dunning-stripe"


class BillingActivities:
    """Effects at Stripe."""

    @activity.defn(name="open_case")
    async def open_case(self, order: OpenOrder) -> Opened:
        """Claim the case in the ledger, read the invoice, choose the policy."""
        raise NotImplementedError

    @activity.defn(name="read_invoice")
    async def read_invoice(self, order: Order) -> InvoiceRead:
        """Read the invoice and its last failure."""
        raise NotImplementedError

    @activity.defn(name="charge")
    async def charge(self, order: Order) -> Charged:
        """Charge the invoice once. A decline is a result, not an error."""
        raise NotImplementedError

    @activity.defn(name="take_over")
    async def take_over(self, order: Order) -> EffectDone:
        """Turn Stripe's own retries of the invoice off."""
        raise NotImplementedError

    @activity.defn(name="give_back")
    async def give_back(self, order: Order) -> EffectDone:
        """Let Stripe go on with the invoice as it did before."""
        raise NotImplementedError

    @activity.defn(name="move_default")
    async def move_default(self, order: Order) -> EffectDone:
        """Put the customer's new method where the failed one is set."""
        raise NotImplementedError

    @activity.defn(name="suspend")
    async def suspend(self, order: Order) -> EffectDone:
        """Suspend the subscription."""
        raise NotImplementedError

    @activity.defn(name="restore")
    async def restore(self, order: Order) -> EffectDone:
        """Undo the suspension."""
        raise NotImplementedError

    @activity.defn(name="mark_uncollectible")
    async def mark_uncollectible(self, order: Order) -> EffectDone:
        """Mark the invoice uncollectible."""
        raise NotImplementedError

    @activity.defn(name="cancel_subscription")
    async def cancel_subscription(self, order: Order) -> EffectDone:
        """Cancel the subscription."""
        raise NotImplementedError


class EmailActivities:
    """Effects at SendGrid."""

    @activity.defn(name="send_email")
    async def send_email(self, order: Order) -> MessageSent:
        """Send one e-mail, once."""
        raise NotImplementedError


class SmsActivities:
    """Effects at Twilio."""

    @activity.defn(name="send_sms")
    async def send_sms(self, order: Order) -> MessageSent:
        """Send one SMS, once."""
        raise NotImplementedError


class RecordActivities:
    """The recorded step (a local activity)."""

    @activity.defn(name="decide")
    async def decide(self, question: Question) -> Step:
        """Fold the inbox into the state, decide, and remember both in the ledger."""
        raise NotImplementedError
