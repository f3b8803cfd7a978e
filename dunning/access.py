"""The ladder of access: what a customer may still use. The backend opens and locks the doors by it."""

from __future__ import annotations

from datetime import datetime

from dunning.case import CaseState, Turn
from dunning.due import Due
from dunning.policy import Policy
from dunning.policy_sections import AccessLevel
from dunning.values import Stage

#: Subscriptions that give nothing any more (Stripe API reference: Subscription.status).
ENDED = frozenset({"canceled", "incomplete_expired"})


def access(state: CaseState, policy: Policy) -> AccessLevel:
    """What the customer may use now, as far as this case is concerned."""
    if state.subscription_finalized or state.invoice.subscription_status in ENDED:
        return "none"
    if state.suspended_at is not None and not state.suspension_lifted:
        return "none" if state.access_ended else policy.access.suspended
    if state.stage is Stage.GRACE:
        return policy.access.grace
    return policy.access.recovering if state.stage is Stage.RECOVERING else "full"


def access_due(state: CaseState, policy: Policy, now: datetime) -> Due | None:
    """The moment at which limited access ends, too."""
    after = policy.access.none_after
    if state.suspended_at is None or after is None or state.access_ended:
        return None
    at = state.suspended_at + state.final_shift + after
    return Due(at, 4, "limited access ends", turn=Turn(to="access_ended", at=now))
