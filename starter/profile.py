"""A customer's profile: all that the ledger knows of one customer, over all cases, as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from ledger import Ledger
from ledger.cards import CardCaseRecord
from ledger.records import AttemptRecord, CaseRecord, ExtensionRecord, PromiseRecord, SurveyRecord
from starter.cli_risk import risk_json
from starter.errors import CaseNotFound
from starter.views import case_json, entry_json, message_json, plain, reply_json, statement_json

#: A customer with more cases than this has other problems.
MOST_CASES = 200
_AHEAD = ("workflow_id", "opened_at", "charge_at", "outcome", "closed_at", "closed_reason")
_CARD, _REMINDER = ("method", "expiry", *_AHEAD), ("subscription", *_AHEAD)


async def profile(ledger: Ledger, account: str, customer: str, *, timelines: bool = False) -> dict[str, Any]:
    """Risk, cases, cards, reminders, attempts, messages, granted time, promises, consents, surveys, replies.

    All oldest first. With `timelines` each case tells all its lines. Raises CaseNotFound for a customer
    who has neither a case nor a reminder.
    """
    page = await ledger.cases.find(account=account, customer=customer, limit=MOST_CASES)
    cases = sorted(page.cases, key=lambda case: case.opened_at)
    cards = await ledger.cards.of_customer(account, customer)
    reminders = await ledger.reminders.of_customer(account, customer)
    if not cases and not cards and not reminders:
        raise CaseNotFound(f"{customer} has no case: the ledger knows nothing of such a customer")
    ids = [case.id for case in cases]
    owners = [*ids, *(card.id for card in cards), *(reminder.id for reminder in reminders)]
    attempts = [tried for case in ids for tried in await ledger.attempts.of_case(case)]
    messages = [sent for owner in owners for sent in await ledger.dispatches.of_case(owner)]
    known = await ledger.risks.history(account, customer)
    replies = [reply for case in ids for reply in await ledger.replies.of_case(case)]
    return {
        "customer": customer,
        "account": account,
        "risk": await _risk(ledger, account, customer),
        "signals": [signal.model_dump(mode="json") for signal in known.signals],
        "cases": [await _case(ledger, case, timelines) for case in cases],
        "cards": [await _card(ledger, card, timelines) for card in cards],
        "reminders": [_named(reminder, _REMINDER) for reminder in reminders],
        "attempts": [_attempt(tried) for tried in attempts],
        "messages": [message_json(sent) for sent in messages],
        "extensions": _plain(await ledger.people.extensions(ids)),
        "promises": _plain(await ledger.people.promises(ids)),
        "consents": [statement_json(said) for said in await ledger.consents.history(account, customer)],
        "surveys": _plain([said for case in ids for said in await ledger.surveys.of_case(case)]),
        "replies": [reply_json(reply) for reply in replies],
    }


async def _risk(ledger: Ledger, account: str, customer: str) -> dict[str, Any] | None:
    found = await ledger.risks.get(account, customer)
    return None if found is None else risk_json(found)


async def _case(ledger: Ledger, case: CaseRecord, timelines: bool) -> dict[str, Any]:
    told = case_json(case)
    if timelines:
        told["timeline"] = [entry_json(line) for line in await ledger.cases.entries(case.id)]
    return told


def _attempt(tried: AttemptRecord) -> dict[str, Any]:
    names = ("invoice_id", "number", "amount", "currency", "outcome", "decline_class", "charge_id")
    return {"at": plain(tried.reserved_at)} | _named(tried, names)


async def _card(ledger: Ledger, card: CardCaseRecord, timelines: bool) -> dict[str, Any]:
    told = _named(card, _CARD)
    if timelines:
        told["timeline"] = [entry_json(line) for line in await ledger.cases.entries(card.id)]
    return told


def _named(record: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: plain(getattr(record, name)) for name in names}


def _plain(records: Iterable[ExtensionRecord | PromiseRecord | SurveyRecord]) -> list[dict[str, Any]]:
    return [{name: plain(value) for name, value in asdict(record).items()} for record in records]
