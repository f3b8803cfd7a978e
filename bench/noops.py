"""The engine's worker with providers and ledger that answer at once: workflow and core are the real ones."""

from __future__ import annotations

from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker

from activities.context import business_time
from activities.interface import (
    STRIPE_TASK_QUEUE,
    TASK_QUEUE,
    BillingActivities,
    EmailActivities,
    RecordActivities,
    SmsActivities,
)
from activities.policy_book import PolicyBook
from bench.pretend import effect, opening
from dunning.case import Charged, EffectDone, InvoiceRead, MessageSent, Opened
from dunning.decision import OpenOrder, Order, Question, Step
from dunning.step import answer
from worker import WORKFLOWS

#: The attempt that succeeds: every case is recovered by the second retry.
PAYING = 2


def _effect(order: Order) -> Any:
    return effect(order.action, order.ref, business_time(), PAYING)


class NoStripe(BillingActivities):
    """Stripe, answering at once."""

    def __init__(self) -> None:
        self._policy = PolicyBook().load("standard")

    @activity.defn(name="open_case")
    async def open_case(self, order: OpenOrder) -> Opened:
        """Every invoice is a renewal that failed."""
        return opening(order.start.invoice_id, order.start.account, self._policy, business_time())

    @activity.defn(name="read_invoice")
    async def read_invoice(self, order: Order) -> InvoiceRead:
        """Still open."""
        read: InvoiceRead = _effect(order)
        return read

    @activity.defn(name="charge")
    async def charge(self, order: Order) -> Charged:
        """Declined until the one that pays."""
        charged: Charged = _effect(order)
        return charged

    @activity.defn(name="suspend")
    async def suspend(self, order: Order) -> EffectDone:
        """Done."""
        done: EffectDone = _effect(order)
        return done

    @activity.defn(name="restore")
    async def restore(self, order: Order) -> EffectDone:
        """Done."""
        done: EffectDone = _effect(order)
        return done

    @activity.defn(name="mark_uncollectible")
    async def mark_uncollectible(self, order: Order) -> EffectDone:
        """Done."""
        done: EffectDone = _effect(order)
        return done

    @activity.defn(name="cancel_subscription")
    async def cancel_subscription(self, order: Order) -> EffectDone:
        """Done."""
        done: EffectDone = _effect(order)
        return done

    @activity.defn(name="pause_by_customer")
    async def pause_by_customer(self, order: Order) -> EffectDone:
        """Done."""
        done: EffectDone = _effect(order)
        return done

    @activity.defn(name="cancel_by_customer")
    async def cancel_by_customer(self, order: Order) -> EffectDone:
        """Done."""
        done: EffectDone = _effect(order)
        return done

    @activity.defn(name="take_over")
    async def take_over(self, order: Order) -> EffectDone:
        """Done."""
        done: EffectDone = _effect(order)
        return done

    @activity.defn(name="give_back")
    async def give_back(self, order: Order) -> EffectDone:
        """Done."""
        done: EffectDone = _effect(order)
        return done

    @activity.defn(name="move_default")
    async def move_default(self, order: Order) -> EffectDone:
        """Done."""
        done: EffectDone = _effect(order)
        return done


class NoEmail(EmailActivities):
    """SendGrid, accepting at once."""

    @activity.defn(name="send_email")
    async def send_email(self, order: Order) -> MessageSent:
        """Accepted."""
        sent: MessageSent = _effect(order)
        return sent


class NoSms(SmsActivities):
    """Twilio, accepting at once."""

    @activity.defn(name="send_whatsapp")
    async def send_whatsapp(self, order: Order) -> MessageSent:
        """Accepted."""
        sent: MessageSent = _effect(order)
        return sent

    @activity.defn(name="send_sms")
    async def send_sms(self, order: Order) -> MessageSent:
        """Accepted."""
        sent: MessageSent = _effect(order)
        return sent


class NoLedger(RecordActivities):
    """The recorded step with the real core, remembering nothing."""

    @activity.defn(name="decide")
    async def decide(self, question: Question) -> Step:
        """The real decision."""
        return answer(question)


def engine_workers(client: Client, shared: dict[str, Any]) -> tuple[Worker, Worker]:
    """The two workers of `worker.make_workers`, with everything outside answering at once."""
    stripe = NoStripe()
    cases = Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=WORKFLOWS,
        activities=[NoEmail().send_email, NoSms().send_sms, NoLedger().decide],
        max_concurrent_activities=50,
        **shared,
    )
    calls = Worker(
        client,
        task_queue=STRIPE_TASK_QUEUE,
        activities=[
            stripe.open_case,
            stripe.read_invoice,
            stripe.charge,
            stripe.suspend,
            stripe.restore,
            stripe.mark_uncollectible,
            stripe.cancel_subscription,
        ],
        max_concurrent_activities=50,
        **shared,
    )
    return cases, calls
