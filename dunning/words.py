"""Which message is due, on which channel, and when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import islice

from dunning.calendar import Where, closing, decent, end_of_day, local_moment, local_time
from dunning.case import CaseState, Sent
from dunning.contacts import Contact
from dunning.decision import Send
from dunning.grace import due_day
from dunning.messages import ANSWERS_ABOUT_A_DAY, NAMES_LAST_DAY
from dunning.policy import AnswerMessage, Policy
from dunning.retries import next_retry
from dunning.values import RETRYABLE, Channel, DeclineClass, MessageGroup, Stage

#: A message that a provider could not take for so long has lost its moment.
LIFE_OF_A_MESSAGE = timedelta(hours=24)
#: Answers to what the customer did. They go out at once and count against no limit.
ANSWERS = frozenset({"recovered", "restored", "extension_granted", "extension_denied", *ANSWERS_ABOUT_A_DAY})
_NEAR = timedelta(hours=24)
_LEFT = frozenset({"accepted", "unknown", "shadow"})
_SAID = _LEFT | {"merged"}


@dataclass(frozen=True)
class Word:
    """A message of one step on one channel, due at `at`. `order` ranks the steps of the sequence."""

    at: datetime
    step: str
    template: str
    channel: Channel
    order: int
    why: str = ""  # it waits: for what


def planned(state: CaseState, policy: Policy) -> list[Word]:
    """The messages of the sequence that have not gone out, in the order of their moments."""
    if state.stage is Stage.RECOVERING:
        words = list(_before_grace(state, policy))
    elif state.stage is Stage.GRACE:
        words = [*_before_grace(state, policy), *_in_grace(state, policy)]
    else:
        words = []
    words = [_with_room(w, state, policy) for w in words if not state.was_sent(w.step, w.channel)]
    return sorted(words, key=lambda w: (w.at, w.order, w.channel))


def overtaken(words: list[Word], state: CaseState, now: datetime) -> list[Word]:
    """Those of the planned messages whose moment passed while a later one is due too: two would confuse."""
    due = [w for w in words if w.at <= now]
    if not due:
        return []
    newest = max(w.order for w in due)
    told = _told_of_a_broken_promise(state)
    return [w for w in words if w.order < newest or (told is not None and w.at <= told)]


def _told_of_a_broken_promise(state: CaseState) -> datetime | None:
    """That message named the last day: what was due before it need not be said as well."""
    return max((s.at for s in state.sent if s.step.startswith("promise_broken:")), default=None)


def pointless(words: list[Word], state: CaseState) -> list[tuple[str, Channel]]:
    """Messages that wait for room within the limits and will have lost their moment when they find it.

    `words` are those that are planned.
    """
    coming = {(w.step, w.channel): w.at for w in words}
    ends = end_of_day(state.plan.last_day, state.plan.zone)
    waiting = [
        (w.step, w.channel) for w in state.waiting if w.step not in (*state.answers_due, "written_off")
    ]
    return [message for message in waiting if coming.get(message, ends) >= ends]


def answer_due(steps: tuple[str, ...], state: CaseState, policy: Policy, now: datetime) -> Word | None:
    """The first of these answers that has not gone out on all its channels."""
    for step in steps:
        message = answer_message(policy, step)
        for channel in message.channels if message else ():
            if message and not state.was_sent(step, channel):
                return _with_room(Word(now, step, message.template, channel, 0), state, policy)
    return None


def contacts(sent: Iterable[Sent]) -> list[Contact]:
    """What of it counts against the contact limits."""
    return [Contact(at=s.at, channel=s.channel) for s in sent if s.fate in _LEFT and _counts(s.step)]


def answer_message(policy: Policy, step: str) -> AnswerMessage | None:
    """The policy's message for an answer such as `recovered` or `extension_granted:2026-12-24`."""
    message: AnswerMessage | None = getattr(policy.messages.answers, step.split(":", maxsplit=1)[0], None)
    return message


def order_of(word: Word, state: CaseState, policy: Policy, now: datetime) -> Send:
    """The effect that sends it, with the true dates of this moment."""
    retry = next_retry(state, policy, now)
    verdict = state.verdict
    counts = _counts(word.step)
    days = (
        state.extensions[-1].days if word.step.startswith("extension_granted") and state.extensions else None
    )
    return Send(
        step=word.step,
        template=word.template,
        channel=word.channel,
        cls=verdict.cls if verdict else None,
        hide_reason=bool(verdict and verdict.hide_reason),
        last_day=state.plan.last_day,
        names_last_day=word.template in NAMES_LAST_DAY,
        next_attempt_on=retry.at.date() if retry and retry.blind else None,
        due_on=due_day(state),
        days=days,
        day=_day_in(word.step),
        to_debtor=word.step.split(":")[0] not in ("recovered", "restored"),
        group=_group_of(word.step, policy),
        counts=counts,
        limits=policy.messages.limits if counts else None,
        merge=counts and policy.messages.merge,
        unsaid=state.unsaid,
        content=policy.messages.whatsapp.get(word.template, {}) if word.channel is Channel.WHATSAPP else {},
        extra=state.stage is Stage.GRACE and _said_elsewhere(word, state),
    )


def _group_of(step: str, policy: Policy) -> MessageGroup:
    """Whether the step's message changes something or only reminds."""
    name = step.split(":", maxsplit=1)[0]
    groups = {message.step: message.group for message in policy.messages.before_grace}
    groups |= {message.step: message.group for message in policy.messages.grace}
    answer = answer_message(policy, step)
    return groups.get(name, answer.group if answer else "critical")


def _day_in(step: str) -> date | None:
    """The day that an answer such as `promise_made:2026-12-24` is about."""
    name, _, day = step.partition(":")
    return date.fromisoformat(day) if name in ANSWERS_ABOUT_A_DAY else None


def not_at_night(word: Word, state: CaseState, policy: Policy, now: datetime) -> Word:
    """A message that was held up until a quiet hour waits for the next decent one."""
    return replace(word, at=_decent(now, word.channel, state, policy)) if word.at < now else word


def latest(word: Word, state: CaseState, policy: Policy, now: datetime) -> datetime:
    """The last moment at which this message may still be handed over."""
    hours = policy.messages.quiet_hours
    limit = now + timedelta(hours=6)
    return min(limit, closing(now, _where(state), hours)) if word.channel in hours.channels else limit


def _counts(step: str) -> bool:
    return step.split(":", maxsplit=1)[0] not in ANSWERS


def _said_elsewhere(word: Word, state: CaseState) -> bool:
    return any(s.step == word.step and s.channel != word.channel and s.fate in _SAID for s in state.sent)


def _with_room(word: Word, state: CaseState, policy: Policy) -> Word:
    """The message at the moment from which the contact limits have room for it."""
    waits = next((w for w in state.waiting if (w.step, w.channel) == (word.step, word.channel)), None)
    if waits is None or waits.until <= word.at:
        return word
    return replace(word, at=_decent(waits.until, word.channel, state, policy), why=waits.why)


def _before_grace(state: CaseState, policy: Policy) -> Iterator[Word]:
    if state.invoice.sent:
        yield from _of_sent(state, policy)
        return
    verdict = state.verdict
    retryable = verdict is not None and verdict.cls in RETRYABLE and not verdict.locked
    for order, message in enumerate(policy.messages.before_grace):
        after = message.retryable if retryable else message.customer
        if verdict and verdict.cls is DeclineClass.REVOKED and order > 0 and not state.reviewed:
            return  # who withdrew consent is asked once
        at = state.plan.anchor + state.shift + after
        if retryable and order == 0:
            at = _after_a_silent_retry(at, state, policy)
        for channel in _channels(message.step, message.channels, state, policy):
            yield Word(_decent(at, channel, state, policy), message.step, message.template, channel, order)


def _of_sent(state: CaseState, policy: Policy) -> Iterator[Word]:
    """Reminders about an invoice that is sent; no early one whose moment was over when the case opened."""
    reminders = policy.sent_invoices.reminders if policy.sent_invoices else ()
    due = state.invoice.due_date or state.plan.anchor
    for order, reminder in enumerate(reminders, start=-len(reminders)):  # all of them come before grace
        if reminder.before_due is not None:
            at = due - reminder.before_due
            if at < state.opened_at:
                continue
        else:
            assert reminder.after_due is not None
            at = due + reminder.after_due + state.shift
        for channel in _channels(reminder.step, reminder.channels, state, policy):
            yield Word(_decent(at, channel, state, policy), reminder.step, reminder.template, channel, order)


def _after_a_silent_retry(at: datetime, state: CaseState, policy: Policy) -> datetime:
    """Nothing is said for the first time while a retry that may spare the customer the trouble is near."""
    retry = next_retry(state, policy, at)
    return max(at, retry.at) if retry and retry.blind and retry.at <= at + _NEAR else at


def _in_grace(state: CaseState, policy: Policy) -> Iterator[Word]:
    plan, first = state.plan, len(policy.messages.before_grace)
    for order, message in enumerate(policy.messages.grace, start=first):
        if message.after_start is not None:
            at, step = plan.grace_starts_at + message.after_start, message.step
        else:
            assert message.before_end is not None
            # A reminder belongs to the date it names: when the date moves, it is due again for the new one.
            at = (
                local_moment(plan.last_day, local_time(plan.anchor, plan.zone), plan.zone)
                - message.before_end
            )
            step = f"{message.step}:{plan.last_day.isoformat()}"
        for channel in _channels(step, message.channels, state, policy):
            yield Word(_decent(at, channel, state, policy), step, message.template, channel, order)


def _channels(
    step: str, channels: tuple[Channel, ...], state: CaseState, policy: Policy
) -> tuple[Channel, ...]:
    """The step's channels; once all of them are dead, the first other one that reaches the customer, too."""
    tried = {sent.channel: sent for sent in state.sent if sent.step == step}
    if not set(channels) <= set(tried) or not all(_is_dead(sent, state) for sent in tried.values()):
        return channels
    others = (channel for channel in policy.messages.failover if channel not in channels)
    usable = (channel for channel in others if channel in state.invoice.channels or channel in tried)
    return (*channels, *islice(usable, 1))


def _is_dead(sent: Sent, state: CaseState) -> bool:
    """Whether the channel cannot reach the customer. Who unsubscribed from reminders is left in peace."""
    unwanted = sent.channel is Channel.EMAIL and Channel.EMAIL in state.invoice.channels
    return sent.fate == "undelivered" or (sent.fate == "unreachable" and not unwanted)


def _decent(at: datetime, channel: Channel, state: CaseState, policy: Policy) -> datetime:
    hours = policy.messages.quiet_hours
    return decent(at, _where(state), hours) if channel in hours.channels else at


def _where(state: CaseState) -> Where:
    """By what is known now; the plan's zone, in which the promised day ends, never changes."""
    return Where(state.invoice.zones or (state.plan.zone,), state.invoice.place)
