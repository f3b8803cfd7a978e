"""What people may do to a case: checked here, and refused with one sentence that says what to change.

A lever arrives raw, from the Temporal UI, a CLI or the API. Nothing about it is trusted, and nothing is
lost by a refusal: it stands in the timeline.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from dunning.calendar import end_of_day, local_date
from dunning.case import CaseState, Extension, Hold, Lever, Request
from dunning.grace import days_granted, extended, release_hold
from dunning.policy import Policy
from dunning.retries import earliest_retry
from dunning.values import Outcome, Stage

_REMEMBERED_REQUESTS = 50
_WANTED = {"by": "who does it", "reason": "why", "days": "how many days, such as 7"}
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
Days = Annotated[int, Field(strict=True, ge=1, le=365)]


class Refused(Exception):
    """A lever that cannot be pulled; the text says why and what to do instead."""


class Payload(BaseModel):
    """What every lever carries: who pulls it, and an id that makes a repeat harmless."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    by: Line
    request_id: Line | None = None


class GrantExtension(Payload):
    """More time, as days added to the last day or as the new last day."""

    days: Days | None = None
    until: date | None = None
    reason: Line

    @model_validator(mode="after")
    def _one_of_both(self) -> GrantExtension:
        if (self.days is None) == (self.until is None):
            raise ValueError("write either days (a whole number) or until (the new last day, as 2026-12-24)")
        return self


class RequestExtension(Payload):
    """A customer's wish for more time."""

    days: Days
    reason: Line = "no reason given"


class DenyExtension(Payload):
    """No to the pending wish."""

    reason: Line


class HoldCase(Payload):
    """Nothing is charged, said or suspended until then."""

    until: date | None = None
    reason: Line


class Release(Payload):
    """End a hold, or go on with a case that a person looked at."""


class RetryNow(Payload):
    """Charge as soon as the gap between attempts and the networks allow."""


class Stop(Payload):
    """Close the case by a person's decision."""

    outcome: Literal["stopped", "written_off", "canceled", "voided"] = "stopped"
    reason: Line
    give_back: bool = False  # let Stripe go on with the invoice as it was found


@dataclass(frozen=True)
class Commanded:
    """What became of a lever."""

    state: CaseState
    accepted: bool
    text: str
    by: str = "somebody"


def command(state: CaseState, lever: Lever, policy: Policy) -> Commanded:
    """Pull a lever. Never raises: a refusal is an answer too."""
    by = "somebody"
    try:
        if lever.name not in LEVERS:
            raise Refused(f"there is no lever {lever.name!r}: the levers are {', '.join(LEVERS)}")
        if state.stage is Stage.CLOSED:
            raise Refused(
                f"the case is closed ({state.outcome}): start a new one for the invoice if it fails again"
            )
        model, apply = LEVERS[lever.name]
        payload = _payload(model, lever)
        by = payload.by
        if payload.request_id is not None and payload.request_id in state.request_ids:
            return Commanded(
                state, True, f"request {payload.request_id} was already answered; nothing changed", by
            )
        state, text = apply(state, payload, policy, lever.at)
        if payload.request_id is not None:
            known = (*state.request_ids, payload.request_id)[-_REMEMBERED_REQUESTS:]
            state = state.model_copy(update={"request_ids": known})
        return Commanded(state, True, text, by)
    except Refused as refusal:
        return Commanded(state, False, f"{lever.name}: {refusal}", by)


def _payload(model: type[Payload], lever: Lever) -> Payload:
    fields = ", ".join(model.model_fields)
    if len(lever.args) != 1 or not isinstance(lever.args[0], dict):
        got = (
            "nothing"
            if not lever.args
            else f"{len(lever.args)} inputs"
            if len(lever.args) > 1
            else "another shape"
        )
        raise Refused(f"give one JSON object with the fields {fields}; {got} arrived")
    try:
        return model.model_validate(lever.args[0])
    except ValidationError as error:
        raise Refused("; ".join(_mistake(each, fields) for each in error.errors())) from error


def _mistake(error: Any, fields: str) -> str:
    field = ".".join(str(part) for part in error["loc"]) or "input"
    text = {
        "missing": f"is missing: write {_WANTED.get(field, 'it')}",
        "extra_forbidden": f"is not a field of this lever; its fields are {fields}",
        "int_type": "write a whole number, such as 7",
        "date_from_datetime_parsing": "write a date, such as 2026-12-24",
        "date_parsing": "write a date, such as 2026-12-24",
    }.get(error["type"], error["msg"].removeprefix("Value error, "))
    return f"{field}: {text}"


def _grant(state: CaseState, payload: Any, policy: Policy, at: datetime) -> tuple[CaseState, str]:
    assert isinstance(payload, GrantExtension)
    _before_suspension(state)
    plan, limit = state.plan, policy.grace.extensions.max_total
    days = payload.days if payload.days is not None else (payload.until - plan.last_day).days  # type: ignore[operator]
    if days < 1:
        raise Refused(f"until: {payload.until} is not after the last day {plan.last_day}; write a later date")
    if days_granted(state) + days > limit:
        left = limit - days_granted(state)
        raise Refused(f"{days} days are too many: the policy allows {limit} in all, {max(left, 0)} are left")
    return _extend(state, days, payload.by, payload.reason, at, by_customer=False)


def _request(state: CaseState, payload: Any, policy: Policy, at: datetime) -> tuple[CaseState, str]:
    assert isinstance(payload, RequestExtension)
    _before_suspension(state)
    if state.request is not None:
        raise Refused(
            f"a request of {state.request.by} waits for an answer already; grant or deny that first"
        )
    rules = policy.grace.extensions
    had = [e for e in state.extensions if e.by_customer]
    total = days_granted(state) + payload.days
    if (
        len(had) < rules.by_customer.count
        and payload.days <= rules.by_customer.days
        and total <= rules.max_total
    ):
        return _extend(state, payload.days, payload.by, payload.reason, at, by_customer=True)
    request = Request(
        days=payload.days, at=at, by=payload.by, reason=payload.reason, answer_by=at + rules.answer_within
    )
    text = f"a person answers by {request.answer_by:%a %d %b %H:%M} UTC; nothing is suspended before"
    return state.model_copy(update={"request": request}), text


def _deny(state: CaseState, payload: Any, policy: Policy, at: datetime) -> tuple[CaseState, str]:
    assert isinstance(payload, DenyExtension)
    if state.request is None:
        raise Refused("nobody asked for an extension; there is nothing to deny")
    answers = (*state.answers_due, f"extension_denied:{at.date().isoformat()}")
    denied = state.model_copy(update={"request": None, "answers_due": answers})
    return denied, f"denied: the last day stays {state.plan.last_day:%a %d %b}"


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
    return state.model_copy(update={"hold": hold}), f"on hold until {until:%a %d %b %H:%M} UTC"


def _release(state: CaseState, payload: Any, policy: Policy, at: datetime) -> tuple[CaseState, str]:
    if state.hold is not None:
        moved = release_hold(state, at)
        return moved, f"released; the last day of grace is {moved.plan.last_day:%a %d %b}"
    if state.human is not None:
        going = {"human": None, "human_since": None, "reviewed": True, "notice_wanted_since": None}
        return state.model_copy(update=going), "released: the case goes on by its policy"
    raise Refused("the case is not on hold and waits for no person")


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


def _before_suspension(state: CaseState) -> None:
    if state.stage is Stage.SUSPENDED:
        raise Refused(
            "the subscription is suspended already: more time would not give it back; take the payment"
        )


def _extend(
    state: CaseState, days: int, by: str, reason: str, at: datetime, *, by_customer: bool
) -> tuple[CaseState, str]:
    # Days count from the last promised day, or from today when that day has already passed.
    base = max(state.plan.last_day, local_date(at, state.plan.zone))
    last_day = date.fromordinal(base.toordinal() + days)
    extension = Extension(days=days, at=at, by=by, reason=reason, by_customer=by_customer)
    return extended(state, extension, last_day), f"granted: the new last day is {last_day:%a %d %b %Y}"


Apply = Callable[[CaseState, Any, Policy, datetime], tuple[CaseState, str]]
LEVERS: dict[str, tuple[type[Payload], Apply]] = {
    "grant_extension": (GrantExtension, _grant),
    "request_extension": (RequestExtension, _request),
    "deny_extension": (DenyExtension, _deny),
    "hold": (HoldCase, _hold),
    "release": (Release, _release),
    "retry_now": (RetryNow, _retry),
    "stop": (Stop, _stop),
}
