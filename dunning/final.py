"""The end of a case that nobody paid, and of one that was paid too late."""

from __future__ import annotations

from datetime import datetime, timedelta

from dunning.access import ENDED
from dunning.case import CaseState, Turn
from dunning.decision import Action, CancelSubscription, MarkUncollectible, ReadInvoice
from dunning.due import EFFECT_WITHIN, Due
from dunning.policy import Policy
from dunning.values import Outcome, WaitingOn


def final_action(state: CaseState, policy: Policy, now: datetime) -> Due:
    """What is left to do when nobody came back, each after its own delay; then the case ends."""
    final = policy.final_action
    invoice_after, subscription_after = (
        final.invoice_after or final.after,
        final.subscription_after or final.after,
    )
    steps: list[tuple[timedelta, str, Action]] = []
    if final.invoice == "mark_uncollectible" and not state.invoice_finalized:
        steps.append((invoice_after, "the invoice becomes uncollectible", MarkUncollectible()))
    if final.subscription == "cancel" and state.invoice.subscription and not state.subscription_finalized:
        steps.append((subscription_after, "the subscription is canceled", CancelSubscription()))
    assert state.suspended_at is not None
    since = state.suspended_at + state.final_shift
    if steps:
        after, what, action = min(steps, key=lambda step: step[0])
        return Due(since + after, 5, f"final action: {what}", action, not_after=now + EFFECT_WITHIN)
    why = "suspended for so long that the policy's final action was taken"
    turn = Turn(to="ending", at=now, outcome=Outcome.WRITTEN_OFF, reason=why)
    return Due(since + max(invoice_after, subscription_after), 5, "final action", turn=turn)


def came_too_late(state: CaseState) -> bool:
    """Paid, but what the customer paid for exists no longer, because this case took it away."""
    return state.suspended_at is not None and state.invoice.subscription_status in ENDED


def ask_about_late_money(state: CaseState, policy: Policy, now: datetime) -> Due | None:
    """A cancellation is final: a person decides whether the money goes back or a new one begins."""
    if not came_too_late(state) or state.reviewed:
        return None
    why = "paid after the subscription was canceled, which is final: refund it, or begin a new one"
    if state.human is None:
        return Due(now, 0, why, turn=Turn(to="human", at=now, reason=why))
    until = (state.human_since or now) + policy.human.deadline
    if now >= until:
        return None
    return Due(until, 1, f"waiting for a person: {why}", ReadInvoice(), on=WaitingOn.HUMAN)
