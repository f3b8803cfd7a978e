"""When the engine charges again, if at all. One pure function a reviewer can hold in the head."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from dunning.calendar import end_of_day, local_moment
from dunning.case import Attempt, CaseState, Promise, Verdict
from dunning.policy import Policy
from dunning.timing import Moment, best_moment
from dunning.timing import rules as pay_day_rules
from dunning.values import RETRYABLE, DeclineClass, Stage

_JUDGED = frozenset({"declined", "needs_authentication", "unknown"})
_MAX_FRESH_METHODS = 20
_LAST_WINDOW = timedelta(days=2)


@dataclass(frozen=True)
class Retry:
    """A planned charge. `blind`: nothing the customer did leads to it."""

    at: datetime
    blind: bool
    reason: str
    backup: bool = False


def next_retry(state: CaseState, policy: Policy, now: datetime) -> Retry | None:
    """The next charge of this case, or None when only the customer or a person can move it on."""
    invoice = state.invoice
    if state.stage == Stage.CLOSED or invoice.sent or invoice.processing or invoice.method is None:
        return None
    verdict = state.verdict
    if verdict and verdict.cls in (DeclineClass.REVIEW, DeclineClass.REVOKED) and not state.reviewed:
        return None
    if has_fresh_method(state) and policy.retries.owner != "stripe":
        at = max(state.invoice.read_at, state.postponed_until or state.invoice.read_at)
        return Retry(at, blind=False, reason="the customer has another payment method")
    if may_use_backup(state, policy):
        at = max(state.invoice.read_at, state.postponed_until or state.invoice.read_at)
        return Retry(at, blind=True, reason="another card of the customer's, as agreed", backup=True)
    if verdict is None or policy.retries.owner == "stripe":
        return None  # in `stripe` mode a new card waits for Stripe, too
    floor = _floor(state, policy)
    if state.retry_asked and not verdict.locked:
        return Retry(floor, blind=False, reason="a person asked for a retry")
    if state.promise is not None:
        return _promised(state.promise, verdict, floor, state, policy)
    if policy.retries.owner != "engine":
        return None  # Stripe retries; the engine charges only when somebody acted
    if state.stage == Stage.SUSPENDED or verdict.cls not in RETRYABLE or verdict.locked:
        return None
    due = _ladder(state, policy)
    if due is None:
        return None
    moment = _timed(max(due, floor), state, policy)
    if moment.at >= end_of_day(state.plan.last_day, state.plan.zone):
        return None
    number = state.retries_used + 1
    words = [f"{verdict.words or verdict.code}: retry {number} of {policy.retries.max}", moment.reason]
    if state.postponed_until == floor:
        words.append(state.postponed_why)
    return Retry(moment.at, blind=True, reason=", ".join(word for word in words if word))


def _promised(
    promise: Promise, verdict: Verdict, floor: datetime, state: CaseState, policy: Policy
) -> Retry | None:
    """The charge of the promised morning: once, unless nobody judged it. Gap and budget still hold."""
    morning = local_moment(promise.on, policy.promises.at, state.plan.zone)
    since = [a for a in state.attempts if a.at >= max(morning, promise.at)]
    judged = any(a.cls is not DeclineClass.TECHNICAL for a in since)
    if judged or verdict.cls not in RETRYABLE or verdict.locked:
        return None  # only the customer can pay
    pauses = policy.retries.technical
    again = since[-1].at + pauses[min(len(since), len(pauses)) - 1] if since and pauses else morning
    at = max(floor, morning, again)
    if at >= end_of_day(promise.on, state.plan.zone):
        return None
    return Retry(at, blind=True, reason=f"the customer promised to pay on {promise.on:%a %d %b}")


def _timed(at: datetime, state: CaseState, policy: Policy) -> Moment:
    """The best moment from `at` to the next rung: for want of money, when there may be some."""
    verdict, method = state.verdict, state.invoice.method
    assert verdict is not None
    assert method is not None
    wants_money = verdict.cls is DeclineClass.SOFT and verdict.code in pay_day_rules().codes
    if not policy.retries.paydays or not wants_money or at >= _soft_end(state, policy):
        return Moment(at=at, reason="")
    following = state.retries_used + 1
    rungs = policy.retries.soft
    before = at + _LAST_WINDOW
    if following < len(rungs):
        before = state.plan.anchor + state.shift + rungs[following]
    return best_moment(
        at,
        max(at, min(before - timedelta(hours=1), _soft_end(state, policy))),
        code=verdict.code,
        funding=method.funding,
        country=method.country,
        zone=state.plan.zone,
        seed=state.ref.case_id,
        scheme=method.type,
    )


def _soft_end(state: CaseState, policy: Policy) -> datetime:
    """The last morning, which is a rung of its own, else the end of grace."""
    last = policy.retries.last_morning
    if last is None:
        return end_of_day(state.plan.last_day, state.plan.zone) - timedelta(minutes=1)
    return local_moment(state.plan.last_day, last, state.plan.zone)


def has_fresh_method(state: CaseState) -> bool:
    """Stripe would charge a method that has not failed in this case."""
    method = state.invoice.method
    if (
        method is None
        or state.invoice.method_lock is not None
        or len(state.attempts) >= _MAX_FRESH_METHODS + state.retries_used
    ):
        return False
    tried = {a.identity for a in state.attempts}
    if state.verdict is not None:
        tried.add(state.verdict.identity)
        if state.verdict.identity is None and state.verdict.code != "no_payment_method":
            return False  # it is not known what failed: the present method may be it
    return method.identity not in tried


def may_use_backup(state: CaseState, policy: Policy) -> bool:
    """The default was declined for good; policy and customer agree that another card is charged once."""
    verdict, retries = state.verdict, policy.retries
    agreed = retries.backup_methods == "consented" and state.invoice.backup_consent
    declined = verdict is not None and verdict.cls is DeclineClass.NEW_METHOD and verdict.identity is not None
    ours = retries.owner == "engine" and state.stage is not Stage.SUSPENDED
    return agreed and declined and ours and not state.backup_tried and state.retries_used < retries.max


def known_methods(state: CaseState) -> tuple[str, ...]:
    """What was charged in this case, and what would be by default."""
    verdict, method = state.verdict, state.invoice.method
    known = [attempt.identity for attempt in state.attempts]
    known += [verdict.identity if verdict else None, method.identity if method else None]
    return tuple(sorted({identity for identity in known if identity}))


def earliest_retry(state: CaseState, policy: Policy, now: datetime) -> datetime:
    """The earliest moment at which the gap between attempts and the networks' advice allow another charge."""
    return max(now, _floor(state, policy))


def _floor(state: CaseState, policy: Policy) -> datetime:
    verdict = state.verdict
    moments = [state.opened_at]
    judged = [a for a in state.attempts if a.result in _JUDGED and a.cls is not DeclineClass.TECHNICAL]
    if judged:
        moments.append(judged[-1].at + policy.retries.min_gap)
    if verdict is not None:
        if verdict.not_before is not None:
            moments.append(verdict.not_before)
        if verdict.cls is not DeclineClass.TECHNICAL:
            moments.append(verdict.at + policy.retries.min_gap)
    if state.postponed_until is not None:
        moments.append(state.postponed_until)
    return max(moments)


def _ladder(state: CaseState, policy: Policy) -> datetime | None:
    verdict, retries = state.verdict, policy.retries
    assert verdict is not None
    if state.retries_used >= retries.max:
        return None
    same = sum(1 for a in state.attempts if a.blind and a.cls is verdict.cls and a.result in _JUDGED)
    if verdict.max_retries is not None and same >= verdict.max_retries:
        return None
    if verdict.cls is DeclineClass.TECHNICAL:
        run = _trailing(state.attempts, DeclineClass.TECHNICAL)
        if run < len(retries.technical):
            return verdict.at + retries.technical[run]
    if verdict.cls is DeclineClass.UPDATER:
        return verdict.at + retries.updater[same] if same < len(retries.updater) else None
    keep = 1 if retries.last_morning else 0
    rung = state.retries_used
    if rung < len(retries.soft) and rung < retries.max - keep:
        return state.plan.anchor + state.shift + retries.soft[rung]
    return _last_morning(state, policy)


def _last_morning(state: CaseState, policy: Policy) -> datetime | None:
    if policy.retries.last_morning is None:
        return None
    at = local_moment(state.plan.last_day, policy.retries.last_morning, state.plan.zone)
    done = any(a.blind and a.at >= at - timedelta(hours=12) for a in state.attempts)
    return None if done else at


def _trailing(attempts: tuple[Attempt, ...], cls: DeclineClass) -> int:
    count = 0
    for attempt in reversed(attempts):
        if attempt.cls is not cls or not attempt.blind:
            break
        count += 1
    return count
