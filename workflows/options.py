"""Time-outs and retry policies of every activity, in one place.

Infrastructure faults are retried here, for minutes. Business retries are timers of the case, for days.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio.common import RetryPolicy

from activities.interface import (
    STRIPE_TASK_QUEUE,
    TASK_QUEUE,
    BillingActivities,
    CardActivities,
    EmailActivities,
    ReminderActivities,
    SmsActivities,
)
from dunning.decision import Action, Send
from dunning.values import Channel


@dataclass
class Patience:
    """How long activities may take. A try outlasts its HTTP calls with the SDK's own retries.

    Settings, not policy: the worker sets them once before it starts; tests set seconds.
    """

    one_try: timedelta = timedelta(seconds=120)
    all_tries: timedelta = timedelta(minutes=10)
    between_openings: timedelta = timedelta(minutes=15)
    silence: timedelta = timedelta(minutes=1)  # whoever goes through a list and says nothing so long is dead


PATIENCE = Patience()
_RETRIES = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1))


@dataclass(frozen=True)
class Effect:
    """An activity, and the task queue that serves it."""

    activity: Callable[..., Awaitable[Any]]
    task_queue: str

    def options(self) -> dict[str, Any]:
        return {
            "task_queue": self.task_queue,
            "start_to_close_timeout": PATIENCE.one_try,
            "schedule_to_close_timeout": PATIENCE.all_tries,
            "retry_policy": _RETRIES,
        }


OPEN_CARD = Effect(CardActivities.open_card_case, STRIPE_TASK_QUEUE)
READ_CARD = Effect(CardActivities.read_card, STRIPE_TASK_QUEUE)
LOOK_AT_RENEWAL = Effect(ReminderActivities.look_at_renewal, STRIPE_TASK_QUEUE)
OPEN = Effect(BillingActivities.open_case, STRIPE_TASK_QUEUE)
_EFFECTS: dict[str, Effect] = {
    "read_invoice": Effect(BillingActivities.read_invoice, STRIPE_TASK_QUEUE),
    "charge": Effect(BillingActivities.charge, STRIPE_TASK_QUEUE),
    "take_over": Effect(BillingActivities.take_over, STRIPE_TASK_QUEUE),
    "give_back": Effect(BillingActivities.give_back, STRIPE_TASK_QUEUE),
    "move_default": Effect(BillingActivities.move_default, STRIPE_TASK_QUEUE),
    "suspend": Effect(BillingActivities.suspend, STRIPE_TASK_QUEUE),
    "restore": Effect(BillingActivities.restore, STRIPE_TASK_QUEUE),
    "mark_uncollectible": Effect(BillingActivities.mark_uncollectible, STRIPE_TASK_QUEUE),
    "cancel_subscription": Effect(BillingActivities.cancel_subscription, STRIPE_TASK_QUEUE),
    "pause_by_customer": Effect(BillingActivities.pause_by_customer, STRIPE_TASK_QUEUE),
    "cancel_by_customer": Effect(BillingActivities.cancel_by_customer, STRIPE_TASK_QUEUE),
}
_SENDERS: dict[Channel, Effect] = {
    Channel.EMAIL: Effect(EmailActivities.send_email, TASK_QUEUE),
    Channel.SMS: Effect(SmsActivities.send_sms, TASK_QUEUE),
    Channel.WHATSAPP: Effect(SmsActivities.send_whatsapp, TASK_QUEUE),
}

#: The recorded step. It touches only the ledger, and waits for it as long as it takes.
DECIDE: dict[str, Any] = {
    "start_to_close_timeout": timedelta(seconds=30),
    "retry_policy": RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1)),
}


def effect_of(action: Action) -> Effect:
    """The activity that carries an action out."""
    return _SENDERS[action.channel] if isinstance(action, Send) else _EFFECTS[action.kind]
