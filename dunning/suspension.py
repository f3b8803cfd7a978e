"""Suspension: when it comes, what must have been said before, and what a person may do about it at once."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from dunning.asking import ask_first
from dunning.calendar import end_of_day, local_date
from dunning.case import CaseState, Sent, Turn
from dunning.decision import Restore, Suspend
from dunning.due import EFFECT_WITHIN, Due
from dunning.lever_payloads import Refused, RestoreNow, SuspendNow
from dunning.policy import Policy
from dunning.values import Stage, WaitingOn

_TOLD = ("accepted", "shadow", "merged")


# --- by the calendar ----------------------------------------------------------------------------------


def suspension_due(state: CaseState, policy: Policy, now: datetime) -> Due:
    """The suspension with the end of the last day, if it was announced in time; else the date moves."""
    plan = state.plan
    ends = end_of_day(plan.last_day, plan.zone)
    reason = f"grace ends with {plan.last_day:%a %d %b}: suspension"
    if ends > now or _noticed(state, policy, ends):
        suspend = Suspend(how=policy.suspension.how)
        due = Due(ends, 4, reason, suspend, not_after=now + EFFECT_WITHIN)
        return ask_first("suspension", due, state, policy, now)
    wanted = state.notice_wanted_since or now
    if now - wanted >= policy.suspension.notice_retries:
        why = f"no notice that names the last day could be delivered since {wanted:%d %b}; not suspended"
        return Due(ends, 4, why, turn=Turn(to="human", at=now, reason=why))
    day = local_date(now + policy.suspension.notice, plan.zone)
    why = f"no provider accepted a notice of {plan.last_day:%d %b} in time: the last day moves to {day:%d %b}"
    return Due(ends, 4, why, turn=Turn(to="date_moved", at=now, reason=why, last_day=day))


def request_due(state: CaseState, now: datetime) -> Due | None:
    """The end of the time in which a person answers a request for more time."""
    if state.request is None:
        return None
    answer = f"an extension was asked for by {state.request.by}; an answer is due"
    turn = Turn(to="request_expired", at=now, reason="nobody answered in time")
    return Due(state.request.answer_by, 3, answer, turn=turn, on=WaitingOn.HUMAN)


def _noticed(state: CaseState, policy: Policy, ends: datetime) -> bool:
    """A provider accepted a message that named this very last day, long enough ago."""
    latest, last_day = ends - policy.suspension.notice, state.plan.last_day
    return any(sent.named_day == last_day and sent.at <= latest for sent in _notices(state))


def _notices(state: CaseState) -> list[Sent]:
    return [sent for sent in state.sent if sent.fate in _TOLD and sent.named_day is not None]


# --- by hand ------------------------------------------------------------------------------------------


def suspend_now(state: CaseState, payload: SuspendNow, policy: Policy, at: datetime) -> tuple[CaseState, str]:
    """Suspend although something still holds it: a hold, a request, a person's decision.

    What was promised is kept all the same: the last day that a message named must be over, and that message
    must be old enough. Whom no message named a day to may be suspended only if the policy says so.
    """
    if state.stage is Stage.SUSPENDED:
        raise Refused("the subscription is suspended already")
    if state.invoice.processing:
        raise Refused("the bank is processing a payment: nobody is suspended while money is on its way")
    if state.promise is not None:
        raise Refused(
            f"the customer may pay until {state.promise.on:%a %d %b}, as agreed: that day comes first"
        )
    notice = _notice_that_holds(state, policy, at)
    changed = {
        "suspend_asked": f"by {payload.by}: {payload.reason}",
        "hold": None,
        "request": None,
        "human": None,
        "human_since": None,
        "ask": "",
        "reviewed": True,
    }
    return state.model_copy(update=changed), f"suspending now: {notice}"


def _notice_that_holds(state: CaseState, policy: Policy, at: datetime) -> str:
    """Which notice was given, in words. Raises Refused while a promised day is still to come."""
    notices, last_day = _notices(state), state.plan.last_day
    if not notices and not state.extensions and policy.suspension.by_hand == "unannounced":
        return "no message named a date to the customer, and this policy allows that"
    if at < end_of_day(last_day, state.plan.zone) and (notices or state.extensions):
        raise Refused(f"the customer was promised access to the end of {last_day:%a %d %b %Y}: not before")
    told = [sent.at for sent in notices if sent.named_day == last_day]
    if not told:
        raise Refused(
            f"no message has named {last_day:%a %d %b} to the customer, and nobody is suspended unannounced "
            "(the policy's suspension.by_hand)"
        )
    hours = policy.suspension.notice / timedelta(hours=1)
    if at - min(told) < policy.suspension.notice:
        raise Refused(f"the notice went out {min(told):%a %d %b %H:%M} UTC: it must be {hours:g} hours old")
    return f"a message of {min(told):%a %d %b %H:%M} UTC named {last_day:%a %d %b} to the customer"


def restore_now(state: CaseState, payload: RestoreNow, policy: Policy, at: datetime) -> tuple[CaseState, str]:
    """Give access back before the money came. Grace begins anew, with a new last day that is announced."""
    if state.stage is not Stage.SUSPENDED:
        raise Refused("the subscription is not suspended: there is nothing to give back")
    if state.subscription_finalized:
        raise Refused("the subscription is canceled, which is final: the customer needs a new one")
    changed = {"restore_asked": f"by {payload.by}: {payload.reason}", "hold": None}
    day = _new_last_day(state, policy, at)
    text = f"restoring now without a payment; what is owed stays owed, the new last day is {day:%a %d %b %Y}"
    return state.model_copy(update=changed), text


def by_hand_due(state: CaseState, policy: Policy, now: datetime) -> Due | None:
    """What a person asked to be done to the subscription at once."""
    if state.restore_asked and state.stage is Stage.SUSPENDED:
        why = f"access is given back without a payment {state.restore_asked}"
        return Due(now, 0, why, Restore(), not_after=now + EFFECT_WITHIN)
    if state.suspend_asked and state.stage is not Stage.SUSPENDED and not state.invoice.processing:
        suspend = Suspend(how=policy.suspension.how)
        return Due(now, 0, f"suspension {state.suspend_asked}", suspend, not_after=now + EFFECT_WITHIN)
    return None


def back_in_grace(state: CaseState, policy: Policy, at: datetime) -> CaseState:
    """Access is back without a payment: a new grace, whose last day is announced before it counts."""
    plan = state.plan.model_copy(update={"last_day": _new_last_day(state, policy, at)})
    return state.model_copy(
        update={
            "stage": Stage.GRACE,
            "plan": plan,
            "restore_asked": "",
            "suspended_at": None,
            "final_shift": timedelta(),
            "notice_wanted_since": None,
            "answers_due": (*state.answers_due, f"restored:{at.date().isoformat()}"),
        }
    )


def _new_last_day(state: CaseState, policy: Policy, at: datetime) -> date:
    """After an extension the day that it granted, else a whole grace from today."""
    if state.plan.last_day > local_date(at, state.plan.zone):
        return state.plan.last_day
    return local_date(at + policy.grace.length, state.plan.zone)
