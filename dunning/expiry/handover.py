"""What an invoice's case knows of the conversation about its card: it does not start over."""

from __future__ import annotations

from datetime import datetime

from dunning.case import CaseState, Sent
from dunning.expiry.timing import expired_from, written_expiry
from dunning.facts import Invoice, Method
from dunning.policy import Policy

#: Codes that say the card's time is over (docs.stripe.com/declines/codes).
_EXPIRED = "expired_card"


def expired_method(invoice: Invoice) -> Method | None:
    """The card that failed because it had expired; None when it failed for another reason."""
    failure = invoice.failure
    method = (failure.method if failure else None) or invoice.method
    if failure is None or method is None or method.exp_year is None or method.exp_month is None:
        return None
    dead_from = expired_from(written_expiry(method.exp_year, method.exp_month))
    said = _EXPIRED in (failure.code, failure.decline_code)
    return method if said or dead_from <= failure.at else None


def not_said_twice(state: CaseState, policy: Policy, told_at: datetime) -> CaseState:
    """The case of a customer who heard at `told_at` that the card will expire: that was the first notice."""
    if not policy.messages.before_grace:
        return state
    first = policy.messages.before_grace[0]
    said = [
        Sent(step=first.step, channel=channel, at=told_at, fate="told_before") for channel in first.channels
    ]
    return state.model_copy(update={"sent": (*state.sent, *said)})
