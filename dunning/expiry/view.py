"""What an operator sees of a card's case: search attributes, current details, status, timeline."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dunning.case import BillingEvent, EffectFailed, Entry, Lever, MessageSent
from dunning.expiry.card import (
    CardDecision,
    CardEvent,
    CardOutcome,
    CardRead,
    CardState,
    CardTurn,
)
from dunning.expiry.evolve import read_stop
from dunning.policy import Policy
from dunning.timeline import FATES, named, spoken
from dunning.values import Value, WaitingOn


class CardStatus(Value):
    """Where a card's case stands, for people and backends."""

    case_id: str
    payment_method_id: str
    expiry: str
    account: str = ""
    outcome: CardOutcome | None = None
    reason: str
    next_at: datetime | None = None
    charge_at: datetime
    messages: int
    needs_human: bool
    policy: str


def facets(state: CardState, policy: Policy) -> dict[str, Any]:
    """The search attributes by name; a card's case is `recovering` until it is closed."""
    return {
        "DunningStage": "closed" if state.outcome else "recovering",
        "DunningWaitingOn": None if state.outcome else str(WaitingOn.CUSTOMER),
        "DunningOutcome": str(state.outcome) if state.outcome else None,
        "DunningCustomer": state.card.customer or None,
        "DunningAccount": state.ref.account or None,
        "DunningPolicy": policy.name,
        "DunningNeedsHuman": state.fault is not None,
    }


def status(state: CardState, decision: CardDecision, policy: Policy) -> CardStatus:
    """The answer to the query `status`."""
    return CardStatus(
        case_id=state.ref.case_id,
        payment_method_id=state.ref.method,
        expiry=state.ref.expiry,
        account=state.ref.account,
        outcome=state.outcome,
        reason=decision.reason,
        next_at=decision.until,
        charge_at=state.charge_at,
        messages=_accepted(state),
        needs_human=state.fault is not None,
        policy=f"{policy.name} {policy.version}",
    )


def details(state: CardState, decision: CardDecision, entries: list[Entry]) -> str:
    """The current details in Markdown: where it stands, what is next, what support may do."""
    card, charges = state.card, [r for r in state.card.renewals if r.charges and r.method == state.ref.method]
    where = f"Closed: {state.outcome}" if state.outcome else f"Expires {state.ref.expiry}"
    lines = [f"## {where}", "", f"- **Charged next:** {state.charge_at:%a %d %b %Y %H:%M} UTC"]
    if decision.until is not None:
        lines.append(f"- **Next:** {decision.until:%a %d %b %Y %H:%M} UTC, {decision.reason}")
    elif decision.action is not None:
        lines.append(f"- **Now:** {decision.reason}")
    lines.append(f"- **Said:** {_accepted(state)} messages; {len(charges)} subscriptions use the card")
    mode = "" if card.livemode else "test/"
    account = f"{state.ref.account}/" if state.ref.account else ""
    page = f"https://dashboard.stripe.com/{account}{mode}customers/{card.customer}"
    lines.append(f"- **Customer:** [{card.customer}]({page}), payment method {state.ref.method}")
    if state.fault is not None:
        lines.append(f"- **Not answering:** {state.fault.what}: {state.fault.error}")
    lines += ["", "### What happened", *(f"- {e.at:%d %b %H:%M}: {e.text}" for e in entries[-12:])]
    if state.outcome is None:
        lines += ["", "### What support may do", '- end it: `stop` `{"reason": "…", "by": "you"}`']
    return "\n".join(lines)


def _accepted(state: CardState) -> int:
    return sum(1 for sent in state.sent if sent.fate == "accepted")


def opened(state: CardState, policy: Policy) -> Entry:
    """The first line of a card's case."""
    text = (
        f"opened: the card expires in {state.ref.expiry} and is charged on {state.charge_at:%a %d %b %Y}; "
        f"policy {policy.name} {policy.version}"
    )
    return Entry(at=state.opened_at, what="card.opened", text=text)


def narrate(before: CardState, event: CardEvent, after: CardState) -> Entry | None:
    """The line of one event; None for what changed nothing worth a line."""
    match event:
        case CardRead():
            if after.charge_at == before.charge_at:
                return None
            text = f"the charge moved to {after.charge_at:%a %d %b %Y}"
            return Entry(at=event.card.read_at, what="card.moved", text=text)
        case MessageSent():
            if event.fate == "held" and before.halted_until is not None:
                return None  # one line a halt
            text = f"{spoken(event.channel)} {named(event.step)}: {FATES.get(event.fate, event.fate)}"
            text += f" to {event.retry_at:%a %d %b %H:%M}" if event.retry_at else ""
            text += f": {event.detail}" if event.detail else ""
            return Entry(at=event.at, what=f"message.{event.fate}", text=text)
        case EffectFailed():
            text = f"{event.effect.split('/')[0]} failed, trying again later: {event.error}"
            return Entry(at=event.at, what="effect.failed", text=text)
        case BillingEvent():
            return None
        case Lever():
            stop = read_stop(before, event)
            what = "lever.stop" if stop.accepted else "lever.refused"
            text = stop.text if stop.accepted else f"refused: {stop.text}"
            return Entry(at=event.at, what=what, text=text, by=stop.by, data={"lever": event.name})
        case CardTurn():
            return _turned(event)


def _turned(turn: CardTurn) -> Entry:
    if turn.to == "closed":
        return Entry(at=turn.at, what="card.closed", text=f"closed: {turn.outcome}: {turn.reason}")
    words = {"superseded": "messages dropped", "unreachable": "message not sent"}[turn.to]
    steps = ", ".join(f"{spoken(channel)} {named(step)}" for step, channel in turn.steps)
    return Entry(at=turn.at, what=f"turn.{turn.to}", text=f"{words}: {steps}: {turn.reason}")
