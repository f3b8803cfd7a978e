"""`decide` for a renewal: one reminder, to whom the policy names, and only while it is true. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from dunning.calendar import Where, closing, decent, local_date
from dunning.case import CaseRef, Fate, MessageSent
from dunning.decision import NextCharge, Order, Send
from dunning.evolve import LOOK_AGAIN_AFTER_HALT
from dunning.expiry.card import Renewal
from dunning.expiry.timing import expired_from
from dunning.policy import Policy
from dunning.policy_sections import Renewals
from dunning.renewals.reminder import (
    ReminderDecision,
    ReminderOutcome,
    ReminderQuestion,
    ReminderRef,
    ReminderStep,
    Upcoming,
)
from dunning.renewals.view import details, facets
from dunning.risk import LEVELS, Level
from dunning.values import Channel

#: The step and the template of the reminder.
STEP = "renewal_upcoming"
#: So long before its moment a scan opens a reminder: it runs once a day.
OPENS = timedelta(days=2)
#: A reminder later than so long before the charge leaves no time to do anything about it.
LATEST = timedelta(days=1)
_SEND_WITHIN = timedelta(hours=6)
_TRY_AGAIN = timedelta(hours=1)
_SAID: frozenset[Fate] = frozenset({"accepted", "unknown", "shadow"})
_AGAIN: frozenset[Fate] = frozenset({"postponed", "held"})


def remind_nobody(policies: Sequence[Policy]) -> str:
    """One sentence if none of these policies reminds of renewals: then nothing needs to be read."""
    silent = all(policy.renewals is None for policy in policies)
    return "no policy has a section renewals: nobody is reminded" if silent else ""


def soon(renewal: Renewal, policies: Sequence[Policy], now: datetime) -> bool:
    """Whether a reminder may be due by one of these policies: worth a closer look."""
    rules = (policy.renewals for policy in policies if policy.renewals is not None)
    return renewal.charges and any(_is_time(renewal, each, now) for each in rules)


def needs_reminder(renewal: Renewal, risk: Level, policy: Policy, now: datetime) -> bool:
    """Whether a scan opens the reminder. What will be due at last is not known yet: opening asks for it."""
    rules = policy.renewals
    return rules is not None and _is_time(renewal, rules, now) and _chosen(renewal, rules, risk, None)


def unwanted(facts: Upcoming, policy: Policy) -> str:
    """Why nobody is reminded of this charge, in one sentence; nothing when somebody is."""
    rules, renewal = policy.renewals, facts.renewal
    if rules is None:
        return f"the policy {policy.name} has no section renewals: nobody is reminded"
    if renewal is None or not renewal.charges or not facts.amount:
        return "nothing will be charged: canceled, ending, paused, or nothing is due"
    if facts.dunned:
        return "the customer hears of a failed invoice at present"
    if policy.card_expiry is not None and _card_is_gone(facts, renewal, policy):
        return f"the card {renewal.method} expires before the charge: its own case speaks of that"
    if not _chosen(renewal, rules, facts.risk, facts.amount):
        return f"the policy {policy.name} reminds of other renewals: {', '.join(rules.remind)}"
    return ""


def open_reminder(facts: Upcoming, policy: Policy, now: datetime) -> str:
    """Why no reminder is opened now, in one sentence; nothing when one is."""
    if refusal := unwanted(facts, policy):
        return refusal
    assert facts.renewal is not None
    at = facts.renewal.at
    if now >= at - LATEST:
        return f"the charge on {at:%d %b %Y} is too near: a reminder leaves no time to do anything about it"
    return ""


def decide(
    ref: ReminderRef,
    facts: Upcoming,
    policy: Policy,
    heard: Sequence[MessageSent],
    now: datetime,
    *,
    failed_at: datetime | None = None,
    canceled: bool = False,
) -> ReminderDecision:
    """The next step of a reminder at `now`, by what was just read. It never names a message twice."""
    if canceled:
        return _end(ReminderOutcome.STOPPED, "canceled in Temporal")
    said = any(sent.fate in _SAID for sent in heard)
    why = _untrue(ref, facts, policy)
    if why:
        return _end(ReminderOutcome.REMINDED if said else ReminderOutcome.NOT_NEEDED, why)
    left = sorted(_left(ref, facts, policy, heard, now))
    if not left and said:
        return _end(ReminderOutcome.REMINDED, "everything is said")
    if not left:
        return _end(ReminderOutcome.NOT_REMINDED, _why_not(facts, policy, heard))
    at, channel = left[0]
    reason = f"renewal reminder by {channel}: charged on {ref.charge_at:%a %d %b}"
    if failed_at is not None and failed_at + _TRY_AGAIN > at:
        at, reason = failed_at + _TRY_AGAIN, "the provider does not answer: trying again"
    if at > now:
        return ReminderDecision(until=at, reason=reason)
    return ReminderDecision(
        send=_send(ref, facts, policy, channel),
        not_after=_not_after(ref, facts, policy, channel, now),
        reason=reason,
    )


def answer(question: ReminderQuestion, facts: Upcoming, policy: Policy) -> ReminderStep:
    """The step that follows from a question about an opened reminder."""
    ref = question.ref
    assert ref is not None
    decision = decide(
        ref,
        facts,
        policy,
        question.heard,
        facts.read_at,
        failed_at=question.failed_at,
        canceled=question.canceled,
    )
    send = decision.send
    order = send and Order(
        ref=CaseRef(case_id=ref.case_id, invoice_id="", account=ref.account),
        action=send,
        policy=policy.name,
        shadow=policy.shadow,
        not_after=decision.not_after,
    )
    return ReminderStep(
        reason=decision.reason,
        ref=ref,
        policy=policy.name,
        order=order,
        until=decision.until,
        outcome=decision.outcome,
        facets=facets(ref, facts, policy, decision),
        details=details(ref, facts, decision),
    )


def still_true(facts: Upcoming, charge: NextCharge) -> bool:
    """Whether a message about this charge is still true, by what was just read."""
    renewal = facts.renewal
    return bool(renewal and renewal.charges and renewal.at == charge.at and facts.amount and not facts.dunned)


def _untrue(ref: ReminderRef, facts: Upcoming, policy: Policy) -> str:
    if facts.renewal is not None and facts.renewal.at != ref.charge_at:
        return f"the charge moved to {facts.renewal.at:%d %b %Y}: that one gets its own reminder"
    return unwanted(facts, policy)


def _is_time(renewal: Renewal, rules: Renewals, now: datetime) -> bool:
    return renewal.at - rules.before - OPENS <= now < renewal.at - LATEST


def _card_is_gone(facts: Upcoming, renewal: Renewal, policy: Policy) -> bool:
    if renewal.expiry is None:
        return False
    return renewal.at >= expired_from(renewal.expiry, policy.timezone, facts.zone or policy.timezone)


def _chosen(renewal: Renewal, rules: Renewals, risk: Level, amount: int | None) -> bool:
    """Whether one of the policy's reasons holds; an `amount` that is not known yet may be enough."""
    least = rules.amount_from.get(renewal.currency)
    reasons = {
        "always": True,
        "yearly": renewal.yearly,
        "amount": least is not None and (amount is None or amount >= least),
        "at_risk": LEVELS.index(risk) >= LEVELS.index(rules.risk_from),
    }
    return any(reasons[name] for name in rules.remind)


def _left(
    ref: ReminderRef, facts: Upcoming, policy: Policy, heard: Sequence[MessageSent], now: datetime
) -> Iterator[tuple[datetime, Channel]]:
    """The channels that may still carry the message, each with its moment."""
    assert policy.renewals is not None
    latest = {sent.channel: sent for sent in heard}
    for channel in policy.renewals.channels:
        before = latest.get(channel)
        if channel not in facts.channels or (before is not None and before.fate not in _AGAIN):
            continue
        at = max(ref.charge_at - policy.renewals.before, _again(before) or now, now)
        hours = policy.messages.quiet_hours
        if channel in hours.channels:
            at = decent(at, _where(facts, policy), hours)
        if at < ref.charge_at - LATEST:
            yield at, channel


def _again(sent: MessageSent | None) -> datetime | None:
    """When a message is tried again that was postponed, or held by a halt."""
    return None if sent is None else sent.retry_at or sent.at + LOOK_AGAIN_AFTER_HALT


def _why_not(facts: Upcoming, policy: Policy, heard: Sequence[MessageSent]) -> str:
    assert policy.renewals is not None
    if not any(channel in facts.channels for channel in policy.renewals.channels):
        return "no address or no consent"
    refused = [sent for sent in heard if sent.fate not in _AGAIN]
    if refused:
        return f"{refused[-1].fate}: {refused[-1].detail}"
    return "no room within contact limits and quiet hours before the charge"


def _send(ref: ReminderRef, facts: Upcoming, policy: Policy, channel: Channel) -> Send:
    renewal = facts.renewal
    assert renewal is not None
    charge = NextCharge(
        at=ref.charge_at,
        on=local_date(ref.charge_at, facts.zone or policy.timezone),
        method=renewal.method or "",
        subscription=ref.subscription,
        zone=policy.timezone,
    )
    return Send(
        step=STEP,
        template=STEP,
        channel=channel,
        group="optional",
        limits=policy.messages.limits,
        charge=charge,
    )


def _not_after(
    ref: ReminderRef, facts: Upcoming, policy: Policy, channel: Channel, now: datetime
) -> datetime:
    hours = policy.messages.quiet_hours
    limit = min(now + _SEND_WITHIN, ref.charge_at - LATEST)
    return min(limit, closing(now, _where(facts, policy), hours)) if channel in hours.channels else limit


def _where(facts: Upcoming, policy: Policy) -> Where:
    return Where(facts.zones or (facts.zone or policy.timezone,), facts.place)


def _end(outcome: ReminderOutcome, reason: str) -> ReminderDecision:
    return ReminderDecision(outcome=outcome, reason=reason)
