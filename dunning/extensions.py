"""More time: granted by a person, asked for by the customer, denied. Bounded by the policy."""

from __future__ import annotations

from datetime import date, datetime

from dunning.calendar import local_date
from dunning.case import CaseState, Extension, Request
from dunning.grace import days_granted, denied, extended
from dunning.lever_payloads import DenyExtension, GrantExtension, Refused, RequestExtension
from dunning.policy import Policy
from dunning.values import Stage


def grant(state: CaseState, payload: GrantExtension, policy: Policy, at: datetime) -> tuple[CaseState, str]:
    """A person gives more time."""
    _comes_back(state, policy)
    base = _counts_from(state, at)
    if payload.until is not None:
        days = (payload.until - base).days
        if days < 1:
            named = "today" if base > state.plan.last_day else "the last day"
            raise Refused(f"until: {payload.until} is not after {named} {base}; write a later date")
    else:
        days = payload.days or 0
    _within_total(state, days, policy)
    return _extend(state, days, payload.by, payload.reason, at, by_customer=False)


def request(
    state: CaseState, payload: RequestExtension, policy: Policy, at: datetime
) -> tuple[CaseState, str]:
    """The customer asks: granted at once within the policy, else a person answers in time."""
    _comes_back(state, policy)
    if state.request is not None:
        raise Refused(
            f"a request of {state.request.by} waits for an answer already; grant or deny that first"
        )
    rules = policy.grace.extensions
    had = [e for e in state.extensions if e.by_customer]
    total = days_granted(state) + payload.days
    at_once = len(had) < rules.by_customer.count and payload.days <= rules.by_customer.days
    if at_once and total <= rules.max_total:
        return _extend(state, payload.days, payload.by, payload.reason, at, by_customer=True)
    wish = Request(
        days=payload.days, at=at, by=payload.by, reason=payload.reason, answer_by=at + rules.answer_within
    )
    day = local_date(wish.answer_by, state.plan.zone).isoformat()
    answers = (*state.answers_due, f"extension_requested:{day}")
    text = f"a person answers by {wish.answer_by:%a %d %b %H:%M} UTC; nothing is suspended before"
    return state.model_copy(update={"request": wish, "answers_due": answers}), text


def deny(state: CaseState, payload: DenyExtension, policy: Policy, at: datetime) -> tuple[CaseState, str]:
    """No to the request that waits."""
    if state.request is None:
        raise Refused("nobody asked for an extension; there is nothing to deny")
    return denied(state, at), f"denied: the last day stays {state.plan.last_day:%a %d %b}"


def _comes_back(state: CaseState, policy: Policy) -> None:
    """After the suspension more time means access without payment: the policy says whether that is wanted."""
    if state.stage is Stage.SUSPENDED and policy.grace.extensions.after_suspension == "refuse":
        raise Refused(
            "the subscription is suspended already, and this policy gives no time after that: take the "
            "payment, agree on a day (promise_to_pay), or give access back (restore_now)"
        )


def _within_total(state: CaseState, days: int, policy: Policy) -> None:
    limit = policy.grace.extensions.max_total
    left = max(limit - days_granted(state), 0)
    if days > left:
        raise Refused(f"{days} days are too many: the policy allows {limit} in all, {left} are left")


def _counts_from(state: CaseState, at: datetime) -> date:
    """Days count from the last promised day, or from today when that day has already passed."""
    return max(state.plan.last_day, local_date(at, state.plan.zone))


def _extend(
    state: CaseState, days: int, by: str, reason: str, at: datetime, *, by_customer: bool
) -> tuple[CaseState, str]:
    last_day = date.fromordinal(_counts_from(state, at).toordinal() + days)
    extension = Extension(days=days, at=at, by=by, reason=reason, by_customer=by_customer)
    state = extended(state, extension, last_day)
    text = f"granted: the new last day is {last_day:%a %d %b %Y}"
    if state.stage is not Stage.SUSPENDED:
        return state, text
    return state.model_copy(update={"restore_asked": f"more time by {by}"}), f"{text}; access comes back now"
