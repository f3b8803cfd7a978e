"""The timeline: every event of a case as a line that says what happened, by whom, and why."""

from __future__ import annotations

from typing import Any

from dunning import correspondence, deliveries
from dunning.case import (
    BillingEvent,
    CaseState,
    Charged,
    EffectDone,
    EffectFailed,
    Entry,
    Event,
    InvoiceRead,
    Lever,
    MessageSent,
    Turn,
)
from dunning.grace import due_day
from dunning.levers import Commanded
from dunning.money import Money
from dunning.reports import line
from dunning.values import Channel

_ATTEMPTS = {
    "succeeded": "paid",
    "declined": "declined",
    "needs_authentication": "the bank wants the customer to authenticate",
    "processing": "the bank is processing it",
    "not_needed": "not made: the invoice is no longer open",
    "unknown": "outcome unknown: not repeated blindly",
    "shadow": "not made: the policy runs in shadow",
    "held": "not made: the engine is halted",
    "too_late": "not made: its moment had passed",
    "postponed": "not made: no slot in the card's budget",
    "forbidden": "not made: this card must not be charged",
}
#: What became of a message, in operators' words.
FATES = {
    "accepted": "accepted by the provider",
    "unknown": "outcome unknown: not sent again",
    "failed": "refused by the provider",
    "unreachable": "not sent: no address or no consent",
    "shadow": "not sent: the policy runs in shadow",
    "not_needed": "not sent: the invoice is no longer open",
    "held": "not sent: the engine is halted",
    "told_before": "said before the charge",
    "too_late": "not sent: its moment had passed",
    "postponed": "postponed",
    "undelivered": "taken by the provider, not delivered",
    "merged": "not sent: said with another invoice",
}
_EFFECTS = {
    "suspend": "suspended",
    "restore": "restored",
    "mark_uncollectible": "invoice marked uncollectible",
    "cancel_subscription": "subscription canceled",
    "pause_by_customer": "subscription paused for the customer",
    "cancel_by_customer": "subscription canceled for the customer",
    "take_over": "Stripe's own retries turned off for the invoice",
    "give_back": "invoice given back to Stripe as it was found",
    "move_default": "the customer's new payment method replaces the failed one",
}
_TURNS = {
    "grace": "grace started",
    "hold_ended": "hold ended",
    "request_expired": "request for more time expired",
    "date_moved": "last day moved",
    "superseded": "messages dropped",
    "unreachable": "message not sent",
    "human": "waiting for a person",
    "ending": "ending",
    "closed": "closed",
    "halt_over": "halt over",
    "promise_broken": "promise broken",
    "access_ended": "limited access ended",
    "human_silent": "going on",
}


_CHANNELS = {"email": "e-mail", "sms": "SMS", "whatsapp": "WhatsApp"}


def spoken(channel: Channel) -> str:
    """A channel in operators' words."""
    return _CHANNELS[channel.value]


def named(step: str) -> str:
    """A step without the date that tells its repeats apart: `grace reminder`."""
    return step.split(":", maxsplit=1)[0].replace("_", " ")


def opened(state: CaseState, policy_name: str, policy_version: str) -> Entry:
    """The first line of a case."""
    verdict, last_day = state.verdict, f"{state.plan.last_day:%a %d %b %Y}"
    due = due_day(state)
    why = "a payment came for a suspended case"
    if verdict is not None:
        why = f"{verdict.words or verdict.code} ({verdict.cls})"
    elif due is not None and state.invoice.status == "open":
        why = f"collected by sending, due {due:%a %d %b %Y}"
    text = f"opened: {why}; policy {policy_name} {policy_version}; grace to {last_day}"
    told = next((sent for sent in state.sent if sent.fate == "told_before"), None)
    if told is not None:
        text += f"; told on {told.at:%a %d %b} that the card expires: {named(told.step)} is not repeated"
    return Entry(at=state.opened_at, what="case.opened", text=text)


def narrate(before: CaseState, event: Event, after: CaseState, answer: Commanded | None) -> Entry | None:
    """The line of one event; None for what changed nothing worth a line."""
    if getattr(event, "result", getattr(event, "fate", None)) == "held" and before.halted_until is not None:
        return None  # one line a halt
    match event:
        case InvoiceRead():
            return _reading(before, after, event)
        case Charged():
            return Entry(at=event.at, what=f"attempt.{event.result}", text=_attempted(event, after))
        case MessageSent():
            text = f"{spoken(event.channel)} {named(event.step)}: {FATES.get(event.fate, event.fate)}"
            if event.retry_at is not None:
                text += f" to {event.retry_at:%a %d %b %H:%M}"
            return Entry(at=event.at, what=f"message.{event.fate}", text=_and(text, event.detail))
        case EffectDone():
            text = _EFFECTS[event.effect] if event.result == "done" else f"{event.effect}: {event.result}"
            return Entry(at=event.at, what=f"{event.effect}.{event.result}", text=_and(text, event.detail))
        case EffectFailed():
            what = event.effect.split("/")[0]
            return Entry(
                at=event.at, what="effect.failed", text=f"{what} failed, trying again later: {event.error}"
            )
        case BillingEvent() if event.type in deliveries.HINTS:
            if all(getattr(before, known) == getattr(after, known) for known in deliveries.KNOWN):
                return None
            which = named(event.step) if event.step else "that spoke of this invoice, too"
            return deliveries.line(event, f"{spoken(Channel(event.channel))} {which}")
        case BillingEvent() if event.type in correspondence.HINTS:
            return correspondence.line(event, _CHANNELS.get(event.channel, ""))
        case BillingEvent():
            new = event.report not in before.reports or event.report == ""
            return line(event, recovered=after.invoice.status == "paid") if new else None
        case Lever():
            return _lever(event, answer)
        case Turn():
            return _turned(event, after)


def _attempted(event: Charged, after: CaseState) -> str:
    ended, words = _ATTEMPTS[event.result], event.words
    if event.backup and event.result == "not_needed" and words:
        return f"attempt {event.number}, with the customer's next card: not made: {words}"
    if event.backup:
        ended = f"with the customer's next card: {ended}"
    elif event.result == "declined" and after.verdict:
        words = after.verdict.words
    return _and(f"attempt {event.number}: {ended}", words)


def _reading(before: CaseState, after: CaseState, event: InvoiceRead) -> Entry | None:
    if before.invoice.status != after.invoice.status:
        text = f"Stripe shows the invoice {after.invoice.status}"
        return Entry(at=event.invoice.read_at, what=f"invoice.{after.invoice.status}", text=text)
    if before.verdict != after.verdict and after.verdict is not None:
        text = f"another failure at Stripe: {after.verdict.words or after.verdict.code}"
        return Entry(at=event.invoice.read_at, what="invoice.failed", text=text)
    owed, rest = before.invoice.amount_remaining, after.invoice.amount_remaining
    if owed != rest:
        money = Money(amount=rest, currency=after.invoice.currency)
        text = f"{money.decimal:,} {money.currency} remain to be paid"
        return Entry(at=event.invoice.read_at, what="invoice.amount_changed", text=text)
    old, new = before.invoice.method, after.invoice.method
    if new is not None and (old is None or old.identity != new.identity):
        return Entry(
            at=event.invoice.read_at, what="method.changed", text="the customer has another payment method"
        )
    return None


def _lever(event: Lever, answer: Commanded | None) -> Entry:
    accepted, text, by = (
        (answer.accepted, answer.text, answer.by) if answer else (False, "not answered", "somebody")
    )
    data: dict[str, Any] = {"lever": event.name}
    if accepted and isinstance(event.args[0], dict) and event.args[0].get("reason"):
        data["reason"] = str(event.args[0]["reason"])
        text = f'{text} ("{data["reason"]}")'
    what = f"lever.{event.name}" if accepted else "lever.refused"
    return Entry(at=event.at, what=what, text=text if accepted else f"refused: {text}", by=by, data=data)


def _turned(turn: Turn, after: CaseState) -> Entry:
    text = _TURNS[turn.to]
    if turn.to == "grace":
        text = f"grace started: the last day is {after.plan.last_day:%a %d %b %Y}"
    if turn.to in ("superseded", "unreachable"):
        text = f"{text}: {', '.join(f'{spoken(channel)} {named(step)}' for step, channel in turn.steps)}"
    if turn.to == "closed":
        text = f"closed: {turn.outcome}" + (f" via {turn.via}" if turn.via else "")
    what = f"turn.{turn.to}" if turn.to != "closed" else "case.closed"
    return Entry(at=turn.at, what=what, text=_and(text, turn.reason))


def _and(text: str, detail: str) -> str:
    return f"{text}: {detail}" if detail else text
