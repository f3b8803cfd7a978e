"""Customers who pause or cancel: what they may do, what is done at Stripe, and what the case does then.

A pause is a hold of the customer's own: nothing is charged or said, the debt stays, and later dates move by
the time that was paused. Neither ever credits time that was not paid for.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from dunning.calendar import end_of_day, local_date
from dunning.case import CaseState, EffectDone, Hold
from dunning.decision import CancelByCustomer, PauseByCustomer
from dunning.due import EFFECT_WITHIN, Due
from dunning.lever_payloads import Cancel, Pause, Refused
from dunning.policy import Policy
from dunning.values import Outcome, Stage

_ENDED = ("canceled", "incomplete_expired")


def pause(state: CaseState, payload: Pause, policy: Policy, at: datetime) -> tuple[CaseState, str]:
    """Pause the subscription for as long as the policy says, counted in whole days of the customer's."""
    rules = policy.page.pause
    _has_subscription(state)
    if rules is None:
        raise Refused("this policy lets no customer pause (page.pause): give more time, or hold the case")
    if state.stage is Stage.SUSPENDED:
        raise Refused("the subscription is suspended already: take the payment, or agree on a day")
    if state.hold is not None or state.pause_until is not None:
        raise Refused("the case is on hold already: release it first")
    if state.pauses >= rules.count:
        raise Refused(f"the policy allows {rules.count} pauses a case, and it had them")
    if state.human is not None or state.invoice.processing:
        raise Refused("the case waits for a person or the bank: that comes first")
    day = local_date(at, state.plan.zone) + timedelta(days=rules.days)
    until = end_of_day(day, state.plan.zone)
    text = f"pausing to the end of {day:%a %d %b %Y}: nothing is billed or said, the invoice stays open"
    return state.model_copy(update={"pause_until": until}), text


def cancel(state: CaseState, payload: Cancel, policy: Policy, at: datetime) -> tuple[CaseState, str]:
    """Cancel the subscription, now or at the end of its period, as the policy says."""
    how = policy.page.cancel
    _has_subscription(state)
    if how == "never":
        raise Refused("this policy lets no customer cancel (page.cancel): cancel at Stripe, or stop the case")
    if state.leaving or state.cancel_asked:
        raise Refused("the subscription is canceled already")
    text = "canceling now: the case ends" if how == "now" else "canceling with the end of the period"
    return state.model_copy(update={"cancel_asked": how}), f"{text}; nothing is credited"


def _has_subscription(state: CaseState) -> None:
    if state.invoice.subscription is None:
        raise Refused("the invoice belongs to no subscription")
    if state.subscription_finalized or state.invoice.subscription_status in _ENDED:
        raise Refused("the subscription has ended already")


def wish_due(state: CaseState, now: datetime) -> Due | None:
    """What the customer asked to be done to the subscription."""
    latest = now + EFFECT_WITHIN
    if state.cancel_asked:
        at_end = state.cancel_asked == "at_period_end"
        why = "the customer cancels the subscription" + (" with its period" if at_end else "")
        return Due(now, 0, why, CancelByCustomer(at_period_end=at_end), not_after=latest)
    if state.pause_until is not None:
        why = f"the customer pauses the subscription to {state.pause_until:%a %d %b}"
        return Due(now, 0, why, PauseByCustomer(until=state.pause_until), not_after=latest)
    return None


def paused(state: CaseState, event: EffectDone) -> CaseState:
    """The case waits until the pause ends."""
    until = state.pause_until
    state = state.model_copy(update={"pause_until": None})
    if until is None or event.result == "not_needed":
        return state
    day = local_date(until - timedelta(seconds=1), state.plan.zone)
    hold = Hold(
        since=event.at, until=until, by="customer", reason="the subscription is paused", pause=True
    )
    answers = (*state.answers_due, f"paused_by_customer:{day.isoformat()}")
    return state.model_copy(update={"hold": hold, "pauses": state.pauses + 1, "answers_due": answers})


def left(state: CaseState, event: EffectDone) -> CaseState:
    """The subscription is canceled: at once, which ends the case, or with its period, and the debt stays."""
    how = state.cancel_asked
    state = state.model_copy(update={"cancel_asked": ""})
    if not how or event.result == "not_needed":
        return state
    if how == "at_period_end":
        answers = (*state.answers_due, "canceled_by_customer")
        return state.model_copy(update={"leaving": how, "answers_due": answers})
    ended = {
        "leaving": how,
        "subscription_finalized": True,
        "ending": Outcome.CANCELED,
        "ending_reason": "the customer canceled the subscription",
        "answers_due": (),
        "human": None,
    }
    return state.model_copy(update=ended)
