"""What people may do to a case: checked here, and refused with one sentence that says what to change.

A lever arrives raw, from the Temporal UI, a CLI or the API. Nothing about it is trusted, and nothing is
lost by a refusal: it stands in the timeline.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dunning.asking import answered
from dunning.calendar import end_of_day
from dunning.case import CaseState, Hold, Lever
from dunning.extensions import deny, grant, request
from dunning.grace import release_hold
from dunning.leaving import cancel, pause
from dunning.lever_payloads import (
    AddNote,
    Cancel,
    DenyExtension,
    GrantExtension,
    HoldCase,
    Pause,
    Payload,
    PromiseToPay,
    Refused,
    Release,
    RequestExtension,
    RestoreNow,
    RetryNow,
    SendLink,
    SetPolicy,
    Stop,
    SuspendNow,
    read_payload,
)
from dunning.policy import Policy
from dunning.policy_change import Offers, adopted, offered
from dunning.promises import promise_to_pay
from dunning.retries import earliest_retry
from dunning.suspension import restore_now, suspend_now
from dunning.values import Outcome, Stage

_REMEMBERED_REQUESTS = 50


@dataclass(frozen=True)
class Commanded:
    """What became of a lever. `policy`: the case goes on by this one."""

    state: CaseState
    accepted: bool
    text: str
    by: str = "somebody"
    policy: Policy | None = None


def command(state: CaseState, lever: Lever, policy: Policy, offers: Offers | None = None) -> Commanded:
    """Pull a lever. Never raises: a refusal is an answer too. `offers`: the policies that it may name."""
    by = "somebody"
    try:
        if lever.name not in LEVERS:
            raise Refused(f"there is no lever {lever.name!r}: the levers are {', '.join(LEVERS)}")
        if state.stage is Stage.CLOSED:
            raise Refused(
                f"the case is closed ({state.outcome}): start a new one for the invoice if it fails again"
            )
        model, apply = LEVERS[lever.name]
        payload = read_payload(model, lever)
        by = payload.by
        if payload.request_id is not None and payload.request_id in state.request_ids:
            return Commanded(
                state, True, f"request {payload.request_id} was already answered; nothing changed", by
            )
        new = offered(offers or {}, payload.name) if isinstance(payload, SetPolicy) else None
        if new is not None:
            state, text = _set_policy(state, policy, new)
        else:
            state, text = apply(state, payload, policy, lever.at)
        if payload.request_id is not None:
            known = (*state.request_ids, payload.request_id)[-_REMEMBERED_REQUESTS:]
            state = state.model_copy(update={"request_ids": known})
        return Commanded(state, True, text, by, new)
    except Refused as refusal:
        return Commanded(state, False, f"{lever.name}: {refusal}", by)


def _hold(state: CaseState, payload: Any, policy: Policy, at: datetime) -> tuple[CaseState, str]:
    assert isinstance(payload, HoldCase)
    latest = at + policy.holds.max
    until = end_of_day(payload.until, state.plan.zone) if payload.until else latest
    if until <= at:
        raise Refused(f"until: {payload.until} has passed; write a later date or leave it out")
    if until > latest:
        raise Refused(
            f"until: the policy holds a case for {policy.holds.max.days} days at most, to {latest:%d %b}"
        )
    since = state.hold.since if state.hold else at
    hold = Hold(since=since, until=until, by=payload.by, reason=payload.reason)
    held = state.model_copy(update={"hold": hold, "suspend_asked": ""})
    return held, f"on hold until {until:%a %d %b %H:%M} UTC"


def _release(state: CaseState, payload: Any, policy: Policy, at: datetime) -> tuple[CaseState, str]:
    if state.hold is not None:
        moved = release_hold(state, at)
        return moved, f"released; the last day of grace is {moved.plan.last_day:%a %d %b}"
    if state.human is not None:
        return answered(state), "released: the case goes on by its policy"
    raise Refused("the case is not on hold and waits for no person")


def _send_link(state: CaseState, payload: Any, policy: Policy, at: datetime) -> tuple[CaseState, str]:
    if policy.messages.answers.new_link is None:
        raise Refused("this policy sends no links: name a message in messages.answers.new_link")
    step = f"new_link:{at.date().isoformat()}"
    if step in state.answers_due:
        return state, "a link was sent today already"
    return state.model_copy(update={"answers_due": (*state.answers_due, step)}), "a new link is being sent"


def _retry(state: CaseState, payload: Any, policy: Policy, at: datetime) -> tuple[CaseState, str]:
    if policy.retries.owner == "stripe":
        raise Refused(
            "this policy leaves charging to Stripe (retries.owner: stripe): retry in Stripe's dashboard"
        )
    if state.invoice.sent:
        raise Refused("this invoice is sent, not charged: only its customer can pay it")
    if state.invoice.method is None:
        raise Refused("there is no payment method to charge: ask the customer for one")
    if state.verdict is not None and state.verdict.locked:
        raise Refused(f"this card must not be charged again ({state.verdict.words}): another card is needed")
    asked = state.model_copy(update={"retry_asked": True})
    when = earliest_retry(asked, policy, at)
    text = (
        "charging now"
        if when <= at
        else f"charging at {when:%a %d %b %H:%M} UTC, the earliest the networks allow"
    )
    return asked, text


def _stop(state: CaseState, payload: Any, policy: Policy, at: datetime) -> tuple[CaseState, str]:
    assert isinstance(payload, Stop)
    reason = f"stopped by {payload.by}: {payload.reason}"
    ended = {
        "ending": Outcome(payload.outcome),
        "ending_reason": reason,
        "answers_due": (),
        "human": None,
        "give_back": payload.give_back,
    }
    return state.model_copy(update=ended), f"closing as {payload.outcome}"


def _set_policy(state: CaseState, present: Policy, new: Policy) -> tuple[CaseState, str]:
    state = adopted(state, present, new)
    return state, f"policy {new.name} {new.version}; the last day of grace is {state.plan.last_day:%a %d %b}"


def _note(state: CaseState, payload: Any, policy: Policy, at: datetime) -> tuple[CaseState, str]:
    assert isinstance(payload, AddNote)
    return state, f"noted: {payload.text}"


def _by_offer(state: CaseState, payload: Any, policy: Policy, at: datetime) -> tuple[CaseState, str]:
    raise AssertionError("a policy is not set without an offer")  # `command` sees to it


Apply = Callable[[CaseState, Any, Policy, datetime], tuple[CaseState, str]]
LEVERS: dict[str, tuple[type[Payload], Apply]] = {
    "grant_extension": (GrantExtension, grant),
    "request_extension": (RequestExtension, request),
    "deny_extension": (DenyExtension, deny),
    "promise_to_pay": (PromiseToPay, promise_to_pay),
    "hold": (HoldCase, _hold),
    "release": (Release, _release),
    "pause": (Pause, pause),
    "cancel": (Cancel, cancel),
    "send_link": (SendLink, _send_link),
    "retry_now": (RetryNow, _retry),
    "suspend_now": (SuspendNow, suspend_now),
    "restore_now": (RestoreNow, restore_now),
    "stop": (Stop, _stop),
    "set_policy": (SetPolicy, _by_offer),
    "add_note": (AddNote, _note),
}
