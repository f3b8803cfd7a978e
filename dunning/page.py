"""What the customer's page tells and offers about one case.

An offer is what the lever behind it would do now: each is tried on the state, and nothing is said twice.
"""

from __future__ import annotations

import hashlib
from datetime import date, datetime, timedelta
from typing import Any, Literal

from dunning.calendar import local_date
from dunning.case import CaseState, Lever
from dunning.levers import command
from dunning.policy import Policy
from dunning.values import Stage, Value

#: Who pulls the levers of the page, in the audit trail.
CUSTOMER = "customer"
_A_MOMENT = timedelta(seconds=1)
_SOON = 31  # days ahead that are tried for a promise


class MoreTime(Value):
    """An extension by so many days: the new last day if it is granted at once, else when a person answers."""

    days: int
    last_day: date | None = None
    answer_by: datetime | None = None


class Offers(Value):
    """Where a case stands for its customer, and what the customer may do. Days are in the customer's zone."""

    stage: Stage
    last_day: date
    zone: str = "UTC"
    processing: bool = False  # a payment is on its way
    more_time: MoreTime | None = None
    answer_by: datetime | None = None  # a request for more time waits for a person's answer
    promise_days: tuple[date, ...] = ()
    promised: date | None = None
    pause_until: date | None = None  # the customer may pause the subscription to the end of this day
    paused_until: date | None = None
    cancel: Literal["", "now", "at_period_end"] = ""  # how the customer may cancel
    leaving: bool = False  # canceled already, with the end of the period
    switch_to: tuple[str, ...] = ()  # prices of Stripe's
    subscription: str | None = None
    marker: str = ""  # changes with everything that a form of the page may change


def offers(state: CaseState, policy: Policy, now: datetime) -> Offers:
    """What the page shows of this case at `now`."""
    free = state.human is None and state.stage is not Stage.CLOSED and not state.invoice.processing
    return Offers(
        stage=state.stage,
        last_day=state.plan.last_day,
        zone=state.plan.zone,
        processing=state.invoice.processing,
        more_time=_more_time(state, policy, now) if free else None,
        answer_by=state.request.answer_by if state.request else None,
        promise_days=_promise_days(state, policy, now) if free else (),
        promised=state.promise.on if state.promise else None,
        pause_until=_pause_until(state, policy, now),
        paused_until=_paused_until(state),
        cancel=_cancel(state, policy, now),
        leaving=bool(state.leaving),
        switch_to=policy.page.switch_to if free and state.invoice.subscription else (),
        subscription=state.invoice.subscription,
        marker=_marker(state),
    )


def _would(state: CaseState, policy: Policy, now: datetime, lever: str, **payload: Any) -> CaseState | None:
    """The state after the customer pulled this lever; None if it is refused."""
    given = {"by": CUSTOMER, **payload}
    done = command(state, Lever(name=lever, args=(given,), at=now), policy)
    return done.state if done.accepted else None


def _more_time(state: CaseState, policy: Policy, now: datetime) -> MoreTime | None:
    days = policy.grace.extensions.by_customer.days
    after = _would(state, policy, now, "request_extension", days=days)
    if after is None:
        return None
    if after.request is not None:
        return MoreTime(days=days, answer_by=after.request.answer_by)
    return MoreTime(days=days, last_day=after.plan.last_day)


def _promise_days(state: CaseState, policy: Policy, now: datetime) -> tuple[date, ...]:
    today = local_date(now, state.plan.zone)
    days = (today + timedelta(days=ahead) for ahead in range(1, _SOON))
    return tuple(d for d in days if _would(state, policy, now, "promise_to_pay", on=d.isoformat()))


def _pause_until(state: CaseState, policy: Policy, now: datetime) -> date | None:
    after = _would(state, policy, now, "pause")
    until = after.pause_until if after is not None else None
    return local_date(until - _A_MOMENT, state.plan.zone) if until is not None else None


def _paused_until(state: CaseState) -> date | None:
    hold = state.hold
    return local_date(hold.until - _A_MOMENT, state.plan.zone) if hold and hold.pause else None


def _cancel(state: CaseState, policy: Policy, now: datetime) -> Literal["", "now", "at_period_end"]:
    after = _would(state, policy, now, "cancel")
    return after.cancel_asked if after is not None else ""


def _marker(state: CaseState) -> str:
    changing = {"stage", "plan", "extensions", "request", "promises", "hold", "leaving"}
    told = state.model_dump_json(include=changing)
    return hashlib.sha256(told.encode()).hexdigest()[:12]
