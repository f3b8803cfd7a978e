"""What will happen next, and when, if nothing changes: the same `decide` and `evolve`, run ahead."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from dunning.case import CaseState, Charged, EffectDone, Event, InvoiceRead, MessageSent
from dunning.contacts import Contact, slot
from dunning.decide import decide
from dunning.decision import Action, Charge, ReadInvoice, Send
from dunning.evolve import evolve
from dunning.facts import Failure
from dunning.lever_payloads import Refused
from dunning.policy import Policy
from dunning.policy_change import adopted
from dunning.values import Value
from dunning.words import contacts

_MOST_STEPS = 400


class Expected(Value):
    """A step to come: when, what, and why."""

    at: datetime
    what: str
    reason: str


class Difference(Value):
    """What another policy would change, shown before it does."""

    policy: str  # name and version
    gone: tuple[Expected, ...] = ()  # steps that would not come any more
    new: tuple[Expected, ...] = ()  # steps that would come instead


def forecast(state: CaseState, policy: Policy, now: datetime) -> list[Expected]:
    """The coming steps if every attempt fails as the last one did and every message is accepted."""
    steps: list[Expected] = []
    for _ in range(_MOST_STEPS):
        decision = decide(state, policy, now)
        if decision.done:
            return steps
        if decision.until is not None:
            now = max(decision.until, now)
            continue
        if decision.turn is not None:
            if decision.turn.to in ("grace", "human", "closed", "hold_ended", "promise_broken"):
                steps.append(Expected(at=now, what=decision.turn.to, reason=decision.reason))
            state = evolve(state, decision.turn, policy)
            continue
        assert decision.action is not None
        if decision.action.kind != "read_invoice":
            steps.append(Expected(at=now, what=decision.action.key, reason=decision.reason))
        state = evolve(state, _assumed(decision.action, state, now), policy)
    return steps


def difference(state: CaseState, present: Policy, new: Policy, now: datetime) -> Difference:
    """How the forecast would differ under another policy. Raises Refused when the case cannot take it."""
    before = forecast(state, present, now)
    after = forecast(adopted(state, present, new), new, now)
    known, wanted = {(e.at, e.what) for e in before}, {(e.at, e.what) for e in after}
    return Difference(
        policy=f"{new.name} {new.version}",
        gone=tuple(e for e in before if (e.at, e.what) not in wanted),
        new=tuple(e for e in after if (e.at, e.what) not in known),
    )


def preview(state: CaseState, present: Policy, args: Sequence[Any], now: datetime) -> Difference | str:
    """The difference that the policy in `args` would make, or one sentence that says why there is none."""
    try:
        return difference(state, present, Policy.model_validate(args[0] if len(args) == 1 else None), now)
    except ValidationError as error:
        field = ".".join(str(part) for part in error.errors()[0]["loc"]) or "policy"
        return f"{field}: this is no whole policy: {error.errors()[0]['msg']}"
    except Refused as refusal:
        return str(refusal)


def _assumed(action: Action, state: CaseState, now: datetime) -> Event:
    match action:
        case ReadInvoice():
            invoice = state.invoice.model_copy(update={"read_at": now, "processing": False})
            return InvoiceRead(invoice=invoice)
        case Charge():
            return _declined_again(action, state, now)
        case Send():
            return _taken(action, state, now)
        case _:
            return EffectDone(effect=action.kind, at=now)


def _taken(action: Send, state: CaseState, now: datetime) -> MessageSent:
    """Accepted, if the contact limits have room for it beside what this case said."""
    named = action.last_day if action.names_last_day else None
    sent = MessageSent(step=action.step, channel=action.channel, at=now, fate="accepted", named_day=named)
    if action.limits is None:
        return sent
    wanted = Contact(at=now, channel=action.channel, extra=action.extra)
    room = slot(wanted, contacts(state.sent), action.limits)
    if room.granted:
        return sent
    return sent.model_copy(update={"fate": "postponed", "retry_at": room.until, "detail": room.reason})


def _declined_again(action: Charge, state: CaseState, now: datetime) -> Charged:
    last = state.invoice.failure
    update = {"at": now, "method": state.invoice.method}
    failure = (
        last.model_copy(update=update)
        if last
        else Failure(at=now, decline_code="generic_decline", method=state.invoice.method)
    )
    return Charged(
        number=action.number,
        at=now,
        result="declined",
        blind=action.blind,
        backup=action.backup,
        method=None if action.backup else state.invoice.method,
        failure=failure,
    )
