"""What an operator sees: search attributes, the current details, the status."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from dunning.access import access
from dunning.asking import asking
from dunning.case import CaseState, Entry
from dunning.decision import Decision
from dunning.grace import due_day, grace_ends_at
from dunning.money import Money
from dunning.policy import Policy
from dunning.values import RETRYABLE, DeclineClass, Outcome, RecoveredVia, Stage, Value, WaitingOn


class Status(Value):
    """Where a case stands, for people and backends. Amounts in minor units."""

    case_id: str
    invoice_id: str
    account: str = ""
    stage: Stage
    waiting_on: WaitingOn | None = None
    outcome: Outcome | None = None
    recovered_via: RecoveredVia | None = None
    reason: str
    next_at: datetime | None = None
    amount_remaining: int
    currency: str
    attempts: int
    messages: int
    last_day: str
    grace_ends_at: datetime
    needs_human: bool
    policy: str
    access: str = "full"
    promised_on: date | None = None  # in the customer's zone


def waiting_on(state: CaseState) -> WaitingOn | None:
    """What moves the case on, steady over a stage: a retry, the customer, the bank, a person, or a date."""
    if state.stage is Stage.CLOSED:
        return None
    if state.hold is not None:
        return WaitingOn.HOLD
    if state.human is not None or state.request is not None:
        return WaitingOn.HUMAN
    if state.invoice.processing:
        return WaitingOn.BANK
    if state.promise is not None:
        return WaitingOn.DATE
    verdict = state.verdict
    if state.stage is Stage.RECOVERING and verdict and verdict.cls in RETRYABLE and not verdict.locked:
        return WaitingOn.RETRY
    return WaitingOn.CUSTOMER


def needs_human(state: CaseState) -> bool:
    """A person must decide or read, the world does not answer, or a code came that nobody knows yet."""
    strange = state.verdict is not None and state.verdict.unknown
    asked = state.human is not None or state.request is not None or state.reply_waits
    return asked or bool(state.faults) or strange


def facets(state: CaseState, decision: Decision, policy: Policy) -> dict[str, Any]:
    """The search attributes by name. Only facts that are worth a filter, and nothing personal."""
    waits = waiting_on(state)
    known = {"DunningRisk": state.risk} if state.risk is not None else {}
    return known | {
        "DunningStage": str(state.stage),
        "DunningWaitingOn": str(waits) if waits else None,
        "DunningOutcome": str(state.outcome) if state.outcome else None,
        "DunningCustomer": state.invoice.customer or None,
        "DunningAccount": state.ref.account or None,
        "DunningPolicy": policy.name,
        "DunningDeclineCode": state.verdict.code if state.verdict else None,
        "DunningCurrency": state.invoice.currency,
        "DunningAmountRemaining": state.invoice.amount_remaining,
        "DunningGraceEndsAt": grace_ends_at(state).isoformat(),
        "DunningNeedsHuman": needs_human(state),
    }


def status(state: CaseState, decision: Decision, policy: Policy) -> Status:
    """The answer to the query `status`."""
    return Status(
        case_id=state.ref.case_id,
        invoice_id=state.ref.invoice_id,
        account=state.ref.account,
        stage=state.stage,
        waiting_on=waiting_on(state),
        outcome=state.outcome,
        recovered_via=state.recovered_via,
        reason=decision.reason,
        next_at=decision.until,
        amount_remaining=state.invoice.amount_remaining,
        currency=state.invoice.currency,
        attempts=len(state.attempts),
        messages=sum(1 for s in state.sent if s.fate == "accepted"),
        last_day=state.plan.last_day.isoformat(),
        grace_ends_at=grace_ends_at(state),
        needs_human=needs_human(state),
        policy=f"{policy.name} {policy.version}",
        access=access(state, policy),
        promised_on=state.promise.on if state.promise else None,
    )


def details(state: CaseState, decision: Decision, policy: Policy, entries: list[Entry]) -> str:
    """The current details in Markdown: where it stands, what is next, what was tried, what support may do.

    Lists, not tables: the UI shows tables without borders.
    """
    lines = [f"## {_headline(state)}", "", *_asked(state, policy)]
    if decision.until is not None and decision.waiting_on is not WaitingOn.HUMAN:
        lines.append(f"- **Next:** {decision.until:%a %d %b %Y %H:%M} UTC, {decision.reason}")
    elif decision.action is not None:
        lines.append(f"- **Now:** {decision.reason}")
    if state.verdict is not None:
        lines.append(f"- **Why it failed:** {state.verdict.words or state.verdict.code}")
    sent, due = sum(1 for s in state.sent if s.fate == "accepted"), due_day(state)
    tried = f"{state.retries_used} of {policy.retries.max} retries"
    if due is not None:
        tried = f"sent, not charged, due {due:%a %d %b %Y}"
    lines.append(f"- **Tried:** {tried}, {sent} message{'' if sent == 1 else 's'}")
    if state.stage in (Stage.RECOVERING, Stage.GRACE):
        moves = "; it moves by the time on hold" if state.hold else ""
        lines.append(f"- **Last day of grace:** {state.plan.last_day:%a %d %b %Y} ({state.plan.zone}){moves}")
    if access(state, policy) != "full":
        lines.append(f"- **Access:** {access(state, policy)}")
    if state.promise is not None:
        lines.append(f"- **Promised for:** {state.promise.on:%a %d %b %Y} by {state.promise.by}")
    lines += [f"- **Note by {e.by}:** {e.text.removeprefix('noted: ')}" for e in _notes(entries)]
    lines.append(f"- **At Stripe:** {_stripe_links(state)}")
    if state.preview:
        lines.append(f"- **The customer's page:** [what the customer sees]({state.preview})")
    lines += ["", "### What happened"]
    for entry in entries[-12:]:
        by = "" if entry.by == "engine" else f" (by {entry.by})"
        lines.append(f"- {entry.at:%d %b %H:%M}: {entry.text}{by}")
    lines += ["", "### What support may do", *_possible(state)]
    if state.stage is not Stage.CLOSED:
        lines.append("\nMore Actions › Send an Update shows the answer at once; a signal only asks.")
    return "\n".join(lines)


def _asked(state: CaseState, policy: Policy) -> list[str]:
    """What a person should do something about."""
    lines, asked = [], asking(state, policy)
    if state.human is not None and asked is not None:
        until = f" by {asked.until:%a %d %b}" if asked.until else ""
        lines.append(f"- **A person must decide{until}:** {state.human}; else {asked.otherwise}")
    if state.request is not None:
        wish = f"{state.request.days} days asked by {state.request.by}: {state.request.reason}"
        lines.append(f"- **More time asked for:** {wish}; answer by {state.request.answer_by:%a %d %b}")
    if state.reply_waits:
        lines.append("- **The customer wrote:** a person must read it, `dunning show` has the words")
    lines += [f"- **Not answering:** {f.what} since {f.since:%d %b %H:%M}: {f.error}" for f in state.faults]
    return lines


def _notes(entries: list[Entry]) -> list[Entry]:
    """The newest remarks of people; older ones stand in the timeline."""
    return [entry for entry in entries if entry.what == "lever.add_note"][-3:]


def _headline(state: CaseState) -> str:
    match state.stage:
        case Stage.CLOSED:
            via = f" via {state.recovered_via}" if state.recovered_via else ""
            return f"Closed: {state.outcome}{via}".replace("_", " ")
        case Stage.SUSPENDED:
            words = f"Suspended since {state.suspended_at:%a %d %b}"
        case Stage.GRACE:
            words = f"Grace to the end of {state.plan.last_day:%a %d %b}"
        case Stage.RECOVERING:
            words = "Recovering"
    if state.hold is not None:
        words += ", paused by the customer" if state.hold.pause else ", on hold"
    if needs_human(state):
        words += ", needs a person"
    return f"{words}: {_money(state)}"


def _money(state: CaseState) -> str:
    owed = Money(amount=state.invoice.amount_remaining, currency=state.invoice.currency)
    return f"{owed.decimal:,} {owed.currency}"


def _possible(state: CaseState) -> list[str]:
    if state.stage is Stage.CLOSED:
        return ["- nothing: the case is closed"]
    levers = []
    if state.stage is Stage.SUSPENDED:
        levers.append('- access without a payment: `restore_now` `{"reason": "…", "by": "you"}`')
    else:
        days = state.request.days if state.request else 7
        levers.append(f'- more time: `grant_extension` `{{"days": {days}, "reason": "…", "by": "you"}}`')
    if state.promise is None and state.human is None:
        levers.append('- a pay-day: `promise_to_pay` `{"on": "2026-12-24", "by": "you"}`')
    if state.request is not None:
        levers.append('- no more time: `deny_extension` `{"reason": "…", "by": "you"}`')
    if state.hold is not None or state.human is not None:
        levers.append('- go on: `release` `{"by": "you"}`')
    else:
        levers.append('- wait: `hold` `{"reason": "…", "by": "you"}`')
    if (
        state.verdict is not None
        and state.verdict.cls is not DeclineClass.REVIEW
        and not state.verdict.locked
    ):
        levers.append('- charge now: `retry_now` `{"by": "you"}`')
    levers.append('- a remark: `add_note` `{"text": "…", "by": "you"}`')
    levers.append('- end it: `stop` `{"outcome": "stopped", "reason": "…", "by": "you"}`')
    return levers


def _stripe_links(state: CaseState) -> str:
    """The invoice and its customer in Stripe's dashboard."""
    account = f"{state.ref.account}/" if state.ref.account else ""
    mode = "" if state.invoice.livemode else "test/"
    base, customer = f"https://dashboard.stripe.com/{account}{mode}", state.invoice.customer
    links = [f"[{state.ref.invoice_id}]({base}invoices/{state.ref.invoice_id})"]
    return ", ".join(links + ([f"[{customer}]({base}customers/{customer})"] if customer else []))
