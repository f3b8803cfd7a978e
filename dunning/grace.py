"""The promised dates of a case, and what may move them: later, never earlier."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from dunning.calendar import end_of_day, local_date
from dunning.case import CaseState, Extension, Plan
from dunning.facts import Invoice
from dunning.policy import Policy
from dunning.values import Stage


def make_plan(anchor: datetime, zone: str | None, policy: Policy) -> Plan:
    """The dates of a new case. The last day is the local day of start plus length, to its end."""
    zone = zone or policy.timezone
    starts = anchor + policy.grace.starts
    return Plan(
        anchor=anchor,
        grace_starts_at=starts,
        last_day=local_date(starts + policy.grace.length, zone),
        zone=zone,
    )


def plan_of_sent(invoice: Invoice, policy: Policy, now: datetime) -> Plan | None:
    """The dates of a case of an invoice that is sent: they count from its due date.

    Of a case that opens late the last reminder goes out at once, and what follows keeps its distance from it.
    None when the policy leaves such invoices alone, or Stripe tells no due date.
    """
    rules, due = policy.sent_invoices, invoice.due_date
    if rules is None or due is None:
        return None
    plan = make_plan(due, invoice.zone, policy)
    reminded = max((r.after_due for r in rules.reminders if r.after_due is not None), default=timedelta())
    starts = max(due + rules.grace_after, now + max(rules.grace_after - reminded, timedelta()))
    last_day = local_date(starts + policy.grace.length, plan.zone)
    return plan.model_copy(update={"grace_starts_at": starts, "last_day": last_day})


def due_day(state: CaseState) -> date | None:
    """The day, in the customer's zone, by which an invoice that is sent asks to be paid."""
    due = state.invoice.due_date
    return local_date(due, state.plan.zone) if state.invoice.sent and due is not None else None


def grace_ends_at(state: CaseState) -> datetime:
    """The first moment after the last promised day."""
    return end_of_day(state.plan.last_day, state.plan.zone)


def days_granted(state: CaseState) -> int:
    """Days of extension that were granted so far, by anybody."""
    return sum(extension.days for extension in state.extensions)


def extended(state: CaseState, extension: Extension, last_day: date) -> CaseState:
    """The case with more time, and the answer to the customer that names the new date."""
    plan = state.plan.model_copy(update={"last_day": max(last_day, state.plan.last_day)})
    return state.model_copy(
        update={
            "plan": plan,
            "extensions": (*state.extensions, extension),
            "request": None,
            "suspend_asked": "",
            "answers_due": (*_without_receipt(state), f"extension_granted:{plan.last_day.isoformat()}"),
        }
    )


def denied(state: CaseState, at: datetime) -> CaseState:
    """The case without the request for more time, and the answer to the customer that says no."""
    answers = (*_without_receipt(state), f"extension_denied:{at.date().isoformat()}")
    return state.model_copy(update={"request": None, "answers_due": answers})


def _without_receipt(state: CaseState) -> tuple[str, ...]:
    """The answers that are due; once a request is answered, nobody says any more that it came."""
    return tuple(word for word in state.answers_due if not word.startswith("extension_requested:"))


def grace_from(state: CaseState, policy: Policy, at: datetime) -> Plan:
    """The dates once grace has started. When Stripe retried for longer than planned, grace is still whole."""
    if policy.retries.owner == "engine":
        return state.plan
    day = local_date(at + policy.grace.length, state.plan.zone)
    starts = max(at, state.plan.grace_starts_at)
    return state.plan.model_copy(
        update={"grace_starts_at": starts, "last_day": max(day, state.plan.last_day)}
    )


def release_hold(state: CaseState, at: datetime) -> CaseState:
    """End a hold and give the held time back: every later date moves by it, whole days for the last day."""
    if state.hold is None:
        return state
    held = max(at - state.hold.since, timedelta())
    state = _deadlines_moved(state, state.hold.since, at)
    if state.stage is Stage.SUSPENDED:
        return state.model_copy(update={"hold": None, "final_shift": state.final_shift + held})
    plan = state.plan
    days = -(-held // timedelta(days=1))
    starts = plan.grace_starts_at + held if state.stage is Stage.RECOVERING else plan.grace_starts_at
    moved = plan.model_copy(
        update={"grace_starts_at": starts, "last_day": plan.last_day + timedelta(days=days)}
    )
    return state.model_copy(update={"hold": None, "plan": moved, "shift": state.shift + held})


def _deadlines_moved(state: CaseState, since: datetime, at: datetime) -> CaseState:
    """People get back the time that was held; a promised day is a pay-day and stays, unless it has passed."""
    changes: dict[str, Any] = {}
    if state.request is not None:
        held = at - max(since, state.request.at)
        changes["request"] = state.request.model_copy(update={"answer_by": state.request.answer_by + held})
    if state.human_since is not None:
        changes["human_since"] = state.human_since + (at - max(since, state.human_since))
    if state.promise is not None and state.promise.on < local_date(at, state.plan.zone):
        today = state.promise.model_copy(update={"on": local_date(at, state.plan.zone)})
        changes["promises"] = (*state.promises[:-1], today)
    return state.model_copy(update=changes) if changes else state
