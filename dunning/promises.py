"""Promises to pay: a day that the customer named. Until then nothing is charged, said or suspended."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from dunning.calendar import end_of_day, local_date, local_moment
from dunning.case import CaseState, Promise, Turn
from dunning.due import Due
from dunning.lever_payloads import PromiseToPay, Refused
from dunning.policy import Policy
from dunning.retries import next_retry
from dunning.values import DeclineClass, Stage, WaitingOn


def promise_to_pay(
    state: CaseState, payload: PromiseToPay, policy: Policy, at: datetime
) -> tuple[CaseState, str]:
    """The customer names a day: today or later, within the policy, one at a time."""
    rules, today = policy.promises, local_date(at, state.plan.zone)
    _decided_by_nobody_else(state)
    if state.promise is not None:
        raise Refused(f"the promise for {state.promise.on:%a %d %b} is still open: that day comes first")
    if len(state.promises) >= rules.count:
        raise Refused(f"the policy takes {rules.count} promises a case, and it had them; give an extension")
    if payload.on < today:
        raise Refused(f"on: {payload.on} has passed where the customer lives; name {today} or a later day")
    latest = today + timedelta(days=rules.max_days)
    if payload.on > latest:
        raise Refused(
            f"on: {payload.on} is too far ahead: the policy takes promises for {rules.max_days} days, "
            f"to {latest}"
        )
    if state.hold is not None and payload.on < local_date(state.hold.until, state.plan.zone):
        raise Refused(
            f"on: the case is on hold to {state.hold.until:%a %d %b}: name a later day, or release it first"
        )
    promise = Promise(on=payload.on, at=at, by=payload.by)
    changed = {
        "promises": (*state.promises, promise),
        "suspend_asked": "",
        "human": None,
        "human_since": None,
        "notice_wanted_since": None,
        "answers_due": (*state.answers_due, f"promise_made:{promise.on.isoformat()}"),
    }
    made = state.model_copy(update=changed)
    charge = next_retry(made, policy, at)
    how = (
        f"charged from {rules.at:%H:%M} on"
        if charge and charge.blind
        else "the customer pays by the end of that day"
    )
    held = (
        "the final action waits" if state.stage is Stage.SUSPENDED else "nothing is said or suspended before"
    )
    return made, f"promised: {promise.on:%a %d %b %Y} in {state.plan.zone}, {how}; {held}"


def promise_due(promise: Promise, state: CaseState, policy: Policy, now: datetime) -> Due:
    """The end of an open promise: when its charge failed, at the latest when its day is over."""
    morning = local_moment(promise.on, policy.promises.at, state.plan.zone)
    failed = any(
        attempt.at >= max(morning, promise.at) and attempt.cls is not DeclineClass.TECHNICAL
        for attempt in state.attempts
    )
    why = "the charge of that day failed" if failed else "the day passed without a payment"
    turn = Turn(to="promise_broken", at=now, reason=why)
    at = now if failed else end_of_day(promise.on, state.plan.zone)
    return Due(at, 3, f"promised for {promise.on:%a %d %b}", turn=turn, on=WaitingOn.DATE)


def broken(state: CaseState, policy: Policy, at: datetime) -> CaseState:
    """Back to where the case was, with some announced days left. Who is suspended already just stays so."""
    promise = state.promise
    if promise is None:
        return state
    state = settled(state, "broken")
    if state.stage is Stage.SUSPENDED:
        return state
    zone = state.plan.zone
    enough = max(policy.promises.leaves, policy.suspension.notice)
    last_day = max(state.plan.last_day, local_date(at + enough, zone))
    return state.model_copy(
        update={
            "plan": state.plan.model_copy(update={"last_day": last_day}),
            "answers_due": (*state.answers_due, f"promise_broken:{promise.on.isoformat()}"),
        }
    )


def settled(state: CaseState, how: Literal["kept", "broken", "ended"]) -> CaseState:
    """The open promise, if there is one, came to this end."""
    if state.promise is None:
        return state
    promises = (*state.promises[:-1], state.promise.model_copy(update={"state": how}))
    return state.model_copy(update={"promises": promises})


def _decided_by_nobody_else(state: CaseState) -> None:
    """A frozen case waits for a person, and a promise is no decision. Who promises was reached, at least."""
    verdict = state.verdict
    frozen = verdict is not None and verdict.cls in (DeclineClass.REVIEW, DeclineClass.REVOKED)
    asked = state.human is not None and state.notice_wanted_since is None
    if asked or (frozen and not state.reviewed):
        why = f" ({state.human})" if state.human else ""
        raise Refused(f"a person must decide first{why}: release the case, then take the promise")
