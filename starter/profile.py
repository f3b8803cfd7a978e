"""A customer's profile: all that the ledger knows of one customer, over all cases, as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from ledger import Ledger
from ledger.records import AttemptRecord, CaseRecord, ExtensionRecord, PromiseRecord, SurveyRecord
from starter.cli_risk import risk_json
from starter.errors import CaseNotFound
from starter.views import case_json, entry_json, message_json, plain, reply_json, statement_json

#: A customer with more cases than this has other problems.
MOST_CASES = 200


async def profile(ledger: Ledger, account: str, customer: str, *, timelines: bool = False) -> dict[str, Any]:
    """Risk, cases, attempts, messages, granted time, promises, consents, surveys and replies, oldest first.

    With `timelines` each case tells all its lines. Raises CaseNotFound for a customer without a case.
    """
    page = await ledger.cases.find(account=account, customer=customer, limit=MOST_CASES)
    cases = sorted(page.cases, key=lambda case: case.opened_at)
    if not cases:
        raise CaseNotFound(f"{customer} has no case: the ledger knows nothing of such a customer")
    ids = [case.id for case in cases]
    attempts = [tried for case in ids for tried in await ledger.attempts.of_case(case)]
    messages = [sent for case in ids for sent in await ledger.dispatches.of_case(case)]
    replies = [reply for case in ids for reply in await ledger.replies.of_case(case)]
    return {
        "customer": customer,
        "account": account,
        "risk": await _risk(ledger, account, customer),
        "cases": [await _case(ledger, case, timelines) for case in cases],
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
    return {"at": plain(tried.reserved_at)} | {name: plain(getattr(tried, name)) for name in names}


def _plain(records: Iterable[ExtensionRecord | PromiseRecord | SurveyRecord]) -> list[dict[str, Any]]:
    return [{name: plain(value) for name, value in asdict(record).items()} for record in records]
