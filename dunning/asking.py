"""What waits for a person: for whom, until when, and what happens when nobody answers."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from dunning.case import CaseState, Turn
from dunning.decision import ReadInvoice
from dunning.due import Due
from dunning.money import Money
from dunning.policy import Policy
from dunning.policy_sections import Ask
from dunning.risk import LEVELS
from dunning.values import Outcome, Stage, Value, WaitingOn


class Asking(Value):
    """A line of the inbox. `until` None: as long as it lasts."""

    what: str
    whom: Literal["support", "operator"]
    until: datetime | None = None
    otherwise: str


def asking(state: CaseState, policy: Policy) -> Asking | None:
    """What a person should look at, the most pressing first; None when nobody is needed."""
    if state.stage is Stage.CLOSED:
        return None
    if state.human is not None:
        ask = _asked(state, policy)
        otherwise = "the case goes on" if ask and ask.otherwise == "go_on" else "the case is stopped"
        return Asking(what=state.human, whom="support", until=_deadline(state, policy), otherwise=otherwise)
    if state.request is not None:
        what = f"{state.request.days} days more for {state.request.by}: {state.request.reason}"
        until = state.request.answer_by
        return Asking(what=what, whom="support", until=until, otherwise="the request expires")
    if state.reply_waits:
        return Asking(what="the customer wrote back", whom="support", otherwise="the case goes on")
    if state.faults:
        fault = state.faults[0]
        what = f"{fault.what} fails since {fault.since:%d %b %H:%M}: {fault.error}"
        return Asking(what=what, whom="operator", otherwise="it is tried again")
    if state.verdict is not None and state.verdict.unknown:
        what = f"the decline code {state.verdict.code} is not known"
        return Asking(what=what, whom="operator", otherwise="it is treated with caution")
    return None


def ask_first(
    step: Literal["suspension", "final_action"], due: Due, state: CaseState, policy: Policy, now: datetime
) -> Due:
    """The question to a person in place of a step that the policy asks about; else the step itself."""
    owed, currency = state.invoice.amount_remaining, state.invoice.currency
    for ask in policy.human.ask_when:
        if ask.before != step or ask.name in state.asks_answered or not _concerns(ask, state):
            continue
        money, what = Money(amount=owed, currency=currency), step.replace("_", " ")
        why = f"{ask.name}: {money.decimal:,} {money.currency} are owed, a person decides before the {what}"
        return Due(due.at, due.rank, why, turn=Turn(to="human", at=now, reason=why, ask=ask.name))
    return due


def _concerns(ask: Ask, state: CaseState) -> bool:
    limit = ask.amount_from.get(state.invoice.currency)
    large = not ask.amount_from or (limit is not None and state.invoice.amount_remaining >= limit)
    risky = ask.risk_from is None or LEVELS.index(state.risk or LEVELS[0]) >= LEVELS.index(ask.risk_from)
    return large and risky


def for_a_person(state: CaseState, policy: Policy, now: datetime) -> Due:
    """The end of the time in which a person decides, with the fallback that the policy states.

    Before that the invoice is read again: whoever waited so long may have missed that it was paid.
    """
    until, ask = _deadline(state, policy) or now, _asked(state, policy)
    if until <= now and state.invoice.read_at < until:
        reason = f"nobody decided by {until:%d %b}: reading the invoice before the case goes its way"
        return Due(until, 1, reason, ReadInvoice(), on=WaitingOn.HUMAN)
    if ask is not None and ask.otherwise == "go_on":
        reason = f"waiting for a person: {state.human}; nobody by {until:%d %b}: the case goes on"
        turn = Turn(to="human_silent", at=now, reason=f"nobody decided in time: {state.human}")
        return Due(until, 1, reason, turn=turn, on=WaitingOn.HUMAN)
    reason = f"waiting for a person: {state.human}; nobody by {until:%d %b}: the case is stopped"
    days = (ask.deadline if ask else policy.human.deadline).days
    ending = f"nobody decided within {days} days: {state.human}"
    turn = Turn(to="ending", at=now, outcome=Outcome.STOPPED, reason=ending)
    return Due(until, 1, reason, turn=turn, on=WaitingOn.HUMAN)


def answered(state: CaseState) -> CaseState:
    """A person looked at the case, or the time to do so is over: it goes on."""
    going = {"human": None, "human_since": None, "notice_wanted_since": None, "ask": ""}
    if state.ask:
        return state.model_copy(update=going | {"asks_answered": (*state.asks_answered, state.ask)})
    return state.model_copy(update=going | {"reviewed": True})


def _asked(state: CaseState, policy: Policy) -> Ask | None:
    return next((ask for ask in policy.human.ask_when if ask.name == state.ask), None)


def _deadline(state: CaseState, policy: Policy) -> datetime | None:
    if state.human_since is None:
        return None
    ask = _asked(state, policy)
    return state.human_since + (ask.deadline if ask else policy.human.deadline)
