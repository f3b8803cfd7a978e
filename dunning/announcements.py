"""What the business's own systems are told: what changed, as thin events for its backend.

Thin means ids, amounts, dates and where the case stands, and nothing personal: who wants more asks the API.
The id of an event is made of what happened, not of when it was written: a step of a case may be carried out
again, with more in its inbox, and what it says again is then known by its id.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from dunning.access import access
from dunning.case import Announcement, CaseState
from dunning.policy import Policy
from dunning.policy_sections import AccessLevel
from dunning.reconciliation import Counts, Kind, Tally, Tour
from dunning.risk import Assessment, Level, rises
from dunning.values import Outcome, RecoveredVia, Stage
from dunning.view import needs_human

#: Every type of event, and what it says: in the order of a case's life, then those of no case.
EVENTS = {
    "case.opened": "a payment failed, and a case was opened",
    "attempt.failed": "an attempt of the engine to charge failed",
    "message.sent": "a provider accepted a message to the customer",
    "grace.started": "the days of grace began",
    "extension.requested": "the customer asked for more time, and a person must answer",
    "extension.granted": "the last day of grace moved",
    "extension.denied": "no more time: the last day of grace stays",
    "human.needed": "a person must decide, or a provider does not answer",
    "access.changed": "what the customer may use is another level now",
    "suspended": "the service is suspended",
    "restored": "the suspension ended",
    "recovered": "the invoice is paid",
    "closed": "the case ended, and how",
    "risk.raised": "a customer's level of risk rose",
    "reconciliation.finished": "Stripe and the engine were compared",
}

_FAILED = ("declined", "needs_authentication")


class _News(NamedTuple):
    """One thing that happened. `key` tells it from others of its type in the same case."""

    type: str
    key: str
    data: dict[str, Any]


def announce(
    before: CaseState | None,
    after: CaseState,
    policy: Policy,
    at: datetime,
    *,
    before_policy: Policy | None = None,
) -> tuple[Announcement, ...]:
    """What one event of a case changed, for those outside. `before` is None when the case opens.

    `before_policy` is the one that the event replaced, if it did.
    """
    if before is after and before_policy in (None, policy):
        return ()
    had: AccessLevel = "full" if before is None else access(before, before_policy or policy)
    has = access(after, policy)
    news = [*_news(before, after, at), *_access(before, after, had, has, at)]
    return tuple(
        Announcement(
            id=_named(after.ref.case_id, each.type, each.key),
            type=each.type,
            at=at,
            data=_facts(after, has) | each.data,
        )
        for each in news
    )


def risk_raised(
    account: str, customer: str, before: Level | None, found: Assessment, policy: Policy, at: datetime
) -> tuple[Announcement, ...]:
    """What a new assessment of a customer tells: something if the level rose."""
    if policy.shadow or not rises(before, found.level):
        return ()
    data = {
        "customer": customer,
        "account": account or None,
        "level": found.level,
        "before": before or "none",
        "flags": [{"name": flag.name, "text": flag.told, "facts": list(flag.facts)} for flag in found.flags],
    }
    type = "risk.raised"
    return (Announcement(id=_named(type, account, customer, at.isoformat()), type=type, at=at, data=data),)


def reconciliation_finished(
    tour: Tour, counts: Counts, found: Mapping[Kind, Tally], policy: Policy, at: datetime
) -> tuple[Announcement, ...]:
    """What a reconciliation that came to its end tells."""
    if policy.shadow:
        return ()
    data = {
        "run": tour.run,
        "dry_run": tour.dry_run,
        "importing": tour.importing,
        "looked_at": counts.looked_at,
        "failed": counts.failed,
        "findings": {
            kind.value: {"found": n.found, "fixed": n.fixed, "reported": n.reported}
            for kind, n in found.items()
        },
    }
    type = "reconciliation.finished"
    return (Announcement(id=_named(type, tour.run), type=type, at=at, data=data),)


def body(announcement: Announcement) -> bytes:
    """The payload as it is signed and sent: `{type, timestamp, data}` (Standard Webhooks 1.0.0)."""
    told = {
        "type": announcement.type,
        "timestamp": announcement.at.isoformat().replace("+00:00", "Z"),
        "data": announcement.data,
    }
    return json.dumps(told, separators=(",", ":"), allow_nan=False).encode()


def _named(*names: str) -> str:
    named = "\n".join(names)
    return f"evt_{hashlib.sha256(named.encode()).hexdigest()[:24]}"


def _facts(state: CaseState, level: AccessLevel) -> dict[str, Any]:
    """What every event of a case carries."""
    return {
        "case_id": state.ref.case_id,
        "account": state.ref.account or None,
        "invoice": state.ref.invoice_id,
        "customer": state.invoice.customer or None,
        "subscription": state.invoice.subscription,
        "livemode": state.invoice.livemode,
        "stage": state.stage.value,
        "access": level,
        "amount_remaining": state.invoice.amount_remaining,
        "currency": state.invoice.currency,
        "last_day": state.plan.last_day.isoformat(),
    }


def _news(before: CaseState | None, after: CaseState, at: datetime) -> Iterator[_News]:
    if before is None:
        verdict = after.verdict
        reason = {"decline_code": verdict.code, "decline_class": verdict.cls.value} if verdict else {}
        yield _News("case.opened", "", reason)
    yield from _attempts(before, after)
    yield from _messages(before, after)
    if after.stage is Stage.GRACE and (before is None or before.stage is Stage.RECOVERING):
        yield _News("grace.started", "", {})
    if before is not None:
        yield from _more_time(before, after)
    yield from _human(before, after, at)
    yield from _service(before, after)
    yield from _end(before, after)


def _attempts(before: CaseState | None, after: CaseState) -> Iterator[_News]:
    for attempt in after.attempts[len(before.attempts) if before else 0 :]:
        if attempt.result in _FAILED:
            code = after.verdict.code if after.verdict else None
            data = {"attempt": attempt.number, "result": attempt.result, "decline_code": code}
            yield _News("attempt.failed", str(attempt.number), data)


def _messages(before: CaseState | None, after: CaseState) -> Iterator[_News]:
    for sent in after.sent[len(before.sent) if before else 0 :]:
        if sent.fate == "accepted":
            data = {"step": sent.step, "channel": sent.channel.value}
            yield _News("message.sent", f"{sent.step}/{sent.channel}", data)


def _more_time(before: CaseState, after: CaseState) -> Iterator[_News]:
    asked, granted = after.request, after.extensions[len(before.extensions) :]
    if asked is not None and asked != before.request:
        data = {"days": asked.days, "answer_by": asked.answer_by.isoformat()}
        yield _News("extension.requested", asked.at.isoformat(), data)
    for extension in granted:
        data = {"days": extension.days, "by_customer": extension.by_customer}
        yield _News("extension.granted", extension.at.isoformat(), data)
    answered = before.request is not None and asked is None
    if before.request is not None and answered and not granted and after.stage is not Stage.CLOSED:
        yield _News("extension.denied", before.request.at.isoformat(), {"days": before.request.days})


def _human(before: CaseState | None, after: CaseState, at: datetime) -> Iterator[_News]:
    """Once when nobody was needed before, and again for another question to decide."""
    asked_anew = after.human is not None and before is not None and after.human != before.human
    wrote = after.reply_waits and (before is None or not before.reply_waits)
    if wrote:
        text = "the customer wrote something that a person must read"
        yield _News("human.needed", f"reply {at}", {"why": "reply", "text": text})
    if not needs_human(after) or not (before is None or not needs_human(before) or asked_anew) or wrote:
        return
    if after.human is not None:
        yield _News("human.needed", f"{after.human} {at.date()}", {"why": "decision", "text": after.human})
    elif after.request is not None:
        text = f"the customer asks for {after.request.days} days more"
        yield _News("human.needed", after.request.at.isoformat(), {"why": "request", "text": text})
    elif after.faults:
        fault = after.faults[-1]
        text = f"{fault.what} does not work"
        yield _News("human.needed", f"{fault.what} {fault.since}", {"why": "fault", "text": text})
    elif after.verdict is not None and after.verdict.unknown:
        text = f"nobody knows the decline code {after.verdict.code}"
        yield _News("human.needed", after.verdict.code, {"why": "decline", "text": text})


def _access(
    before: CaseState | None, after: CaseState, had: AccessLevel, has: AccessLevel, at: datetime
) -> Iterator[_News]:
    if had != has:
        moved = before is None or _door(before) != _door(after)
        key = " ".join(map(str, _door(after))) if moved else at.isoformat()  # else: another policy
        yield _News("access.changed", f"{has} {key}", {"before": had})


def _door(state: CaseState) -> tuple[object, ...]:
    """What tells one change of access from another, whenever a step is carried out."""
    return state.stage, state.suspended_at, state.suspension_lifted, state.access_ended


def _service(before: CaseState | None, after: CaseState) -> Iterator[_News]:
    began = None if before is None else before.suspended_at
    if after.suspended_at is not None and after.suspended_at != began:
        yield _News("suspended", after.suspended_at.isoformat(), {})
    if before is not None and after.restored and not before.restored:
        yield _News("restored", str(after.suspended_at), {})


def _end(before: CaseState | None, after: CaseState) -> Iterator[_News]:
    via = after.recovered_via or RecoveredVia.CUSTOMER
    if after.invoice.status == "paid" and (before is None or before.invoice.status != "paid"):
        yield _News("recovered", "", {"via": via.value})
    if after.stage is Stage.CLOSED and (before is None or before.stage is not Stage.CLOSED):
        assert after.outcome is not None
        data = {"outcome": after.outcome.value}
        if after.outcome is Outcome.RECOVERED:
            data["via"] = via.value
        yield _News("closed", "", data)
