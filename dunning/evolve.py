"""`evolve`: what an event does to the state of a case. Pure; it decides nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from dunning import correspondence, deliveries
from dunning.asking import answered
from dunning.case import (
    Attempt,
    BillingEvent,
    CaseState,
    Charged,
    EffectDone,
    EffectFailed,
    Event,
    Fault,
    InvoiceRead,
    Lever,
    MessageSent,
    Sent,
    Turn,
    Verdict,
    Waiting,
)
from dunning.declines import classify
from dunning.facts import Failure, Invoice
from dunning.forgetting import ERASED, forgotten
from dunning.grace import denied, grace_from, release_hold
from dunning.leaving import left, paused
from dunning.levers import command
from dunning.opening import judge
from dunning.policy import Policy
from dunning.promises import broken, settled
from dunning.reports import FREEZING, REPORTS
from dunning.suspension import back_in_grace
from dunning.values import RETRYABLE, Channel, DeclineClass, RecoveredVia, Stage
from dunning.words import LIFE_OF_A_MESSAGE

#: A hint older than what was read tells nothing new; the clocks of two companies may differ by a little.
CLOCK_SKEW = timedelta(seconds=5)
#: Whoever lifts a halt tells every case; this is for a case that did not hear it.
LOOK_AGAIN_AFTER_HALT = timedelta(hours=12)
_FIRST_PAUSE = timedelta(minutes=15)
_LONGEST_PAUSE = timedelta(hours=6)
_REMEMBERED_REPORTS = 20


def evolve(state: CaseState, event: Event, policy: Policy) -> CaseState:
    """The state after the event. An event that a closed case meets changes nothing but its record."""
    if state.stage is Stage.CLOSED:
        return state
    match event:
        case InvoiceRead():
            return _healed(_read(state, event.invoice), "read_invoice")
        case Charged():
            return _charged(state, event)
        case MessageSent():
            return _message(state, event)
        case EffectDone():
            return _effect(state, event, policy)
        case EffectFailed():
            return _failed(state, event)
        case BillingEvent():
            return _hint(state, event)
        case Lever():
            return command(state, event, policy).state
        case Turn():
            return _turn(state, event, policy)


def _with(state: CaseState, **changes: Any) -> CaseState:
    return state.model_copy(update=changes)


def _read(state: CaseState, invoice: Invoice | None) -> CaseState:
    """Take over what was read; a failure that is newer than the one known is judged."""
    if invoice is None or invoice.read_at < state.invoice.read_at:
        return state
    changes: dict[str, Any] = {"invoice": invoice, "stale": False}
    failure = None if invoice.sent or _of_backup(state, invoice.failure) else invoice.failure
    if state.invoice.sent != invoice.sent and invoice.status == "open":  # who collects it has changed
        changes["verdict"] = _judged(state, judge(invoice, invoice.read_at))
    elif failure is not None and (state.verdict is None or failure.at > state.verdict.at):
        changes["verdict"] = _judged(state, classify(failure))
    if invoice.method is not None and invoice.method.identity != _identity(state.invoice):
        changes |= {"postponed_until": None, "postponed_why": ""}  # the limits spoke of another method
    if invoice.status == "paid" and state.invoice.status != "paid" and state.recovered_via is None:
        changes["recovered_via"] = _paid_by(state, invoice)
    read = _with(state, **changes)
    if invoice.status == "paid":
        read = settled(read, "kept")
    if invoice.method_lock is not None and read.verdict is not None and not read.verdict.locked:
        return _locked(read, invoice.method_lock)
    return read


def _identity(invoice: Invoice) -> str | None:
    return invoice.method.identity if invoice.method else None


def _of_backup(state: CaseState, failure: Failure | None) -> bool:
    """A backup card's decline says nothing about the default."""
    backups = {attempt.identity for attempt in state.attempts if attempt.backup}
    return failure is not None and failure.method is not None and failure.method.identity in backups


def _judged(state: CaseState, verdict: Verdict | None) -> Verdict | None:
    """No later failure softens a dispute or a warning of fraud; only a person does."""
    frozen = state.verdict is not None and state.verdict.code in FREEZING.values() and not state.reviewed
    return state.verdict if frozen else verdict


def _locked(state: CaseState, why: str) -> CaseState:
    """The present method must not be charged any more: from now on only the customer can help."""
    method, verdict = state.invoice.method, state.verdict
    if method is None or verdict is None or verdict.identity not in (None, method.identity):
        return state
    cls = DeclineClass.NEW_METHOD if verdict.cls in RETRYABLE else verdict.cls
    locked = {"cls": cls, "locked": True, "words": why, "identity": method.identity, "max_retries": 0}
    return _with(state, verdict=verdict.model_copy(update=locked), retry_asked=False)


def _paid_by(state: CaseState, invoice: Invoice) -> RecoveredVia:
    if invoice.paid_out_of_band:
        return RecoveredVia.OUT_OF_BAND
    stripe_tried = state.invoice.next_payment_attempt
    if stripe_tried is not None and stripe_tried <= invoice.read_at:
        return RecoveredVia.STRIPE
    return RecoveredVia.CUSTOMER


def _charged(state: CaseState, event: Charged) -> CaseState:
    if event.number != state.next_number:  # a late answer to an attempt that is already known
        return _read(state, event.invoice)
    if event.result == "held":
        return _with(state, halted_until=event.at + LOOK_AGAIN_AFTER_HALT)
    if event.result == "too_late":
        return _healed(state, "charge")
    if event.result == "postponed":
        until = event.retry_at or event.at + _FIRST_PAUSE
        postponed = _with(state, postponed_until=until, postponed_why=event.words)
        return _healed(_read(postponed, event.invoice), "charge")
    if event.backup:
        state = _with(state, backup_tried=True)
    if event.result == "not_needed":
        state = _with(state, next_number=state.next_number + 1)
        return _healed(_read(state, event.invoice), "charge")
    verdict = classify(event.failure) if event.result in ("declined", "needs_authentication") else None
    attempt = Attempt(
        number=event.number,
        at=event.at,
        result=event.result,
        cls=verdict.cls if verdict else None,
        identity=event.method.identity if event.method else None,
        blind=event.blind,
        backup=event.backup,
    )
    if event.result == "succeeded":
        via = RecoveredVia.ENGINE if event.blind else RecoveredVia.NEW_METHOD
        state = _with(state, recovered_via=via)
    state = _with(
        state,
        attempts=(*state.attempts, attempt),
        next_number=event.number + 1,
        retries_used=state.retries_used + (1 if event.blind and event.result != "forbidden" else 0),
        retry_asked=False,
        postponed_until=None,
        postponed_why="",
        halted_until=None,
    )
    state = _read(state, event.invoice)
    if event.backup:
        return _healed(state, "charge")
    if verdict is not None:
        state = _with(state, verdict=_judged(state, verdict))
    if event.result == "forbidden":
        state = _locked(state, event.words)
    return _healed(state, "charge")


def _message(state: CaseState, event: MessageSent) -> CaseState:
    if event.fate == "held":
        return _with(state, halted_until=event.at + LOOK_AGAIN_AFTER_HALT)
    state = _without(_healed(_read(state, event.invoice), "send"), (event.step, event.channel))
    if event.fate == "postponed":
        until = event.retry_at or event.at + LOOK_AGAIN_AFTER_HALT
        waits = Waiting(step=event.step, channel=event.channel, until=until, why=event.detail)
        return _with(state, waiting=(*state.waiting, waits))
    if event.fate in ("too_late", "not_needed") or state.was_sent(event.step, event.channel):
        return state  # too late: decide again; not needed: the invoice that was read says what comes now
    at = event.said_at or event.at
    sent = Sent(
        step=event.step,
        channel=event.channel,
        at=at,
        fate=event.fate,
        named_day=event.named_day,
        said_by=event.said_by,
    )
    return _with(deliveries.remembered(state, sent), halted_until=None)


def _without(state: CaseState, *messages: tuple[str, Channel]) -> CaseState:
    """These messages wait for no room any more."""
    left = tuple(w for w in state.waiting if (w.step, w.channel) not in messages)
    return _with(state, waiting=left) if left != state.waiting else state


def _effect(state: CaseState, event: EffectDone, policy: Policy) -> CaseState:
    if event.result == "held":
        return _with(state, halted_until=event.at + LOOK_AGAIN_AFTER_HALT)
    state = _healed(_read(state, event.invoice), event.effect)
    if event.result == "too_late" or (event.result == "not_needed" and _settled(event.invoice)):
        return state
    match event.effect:
        case "suspend":
            again = any(s.step.startswith("suspended") for s in state.sent)
            word = f"suspended:{event.at.date().isoformat()}" if again else "suspended"
            answers = (*state.answers_due, word)
            return _with(
                state,
                stage=Stage.SUSPENDED,
                suspended_at=event.at,
                answers_due=answers,
                suspend_asked="",
                access_ended=False,
                subscription_finalized=state.subscription_finalized or event.ended,
            )
        case "restore" if state.restore_asked and not _settled(state.invoice):
            return back_in_grace(state, policy, event.at)
        case "restore":
            return _with(state, suspension_lifted=True, restored=event.result in ("done", "shadow"))
        case "mark_uncollectible":
            return _with(state, invoice_finalized=True)
        case "cancel_subscription":
            return _with(state, subscription_finalized=True)
        case "pause_by_customer":
            return paused(state, event)
        case "cancel_by_customer":
            return left(state, event)
        case "take_over":
            found = (
                state.invoice.auto_advance if state.found_auto_advance is None else state.found_auto_advance
            )
            return _with(state, taken_over=True, found_auto_advance=found)
        case "give_back":
            return _with(state, give_back=False)
        case "move_default":
            moved = state.invoice.customer_method
            known = (*state.moved_defaults, moved.id) if moved else state.moved_defaults
            return _with(state, moved_defaults=known, stale=True)


def _settled(invoice: Invoice | None) -> bool:
    return invoice is not None and invoice.status in ("paid", "void", "gone")


def _failed(state: CaseState, event: EffectFailed) -> CaseState:
    what = event.effect.split("/")[0]
    known = next((f for f in state.faults if f.what == what), None)
    since, count = (known.since, known.count + 1) if known else (event.at, 1)
    if what == "send" and event.at - since >= LIFE_OF_A_MESSAGE:
        _, step, channel = event.effect.split("/")
        sent = Sent(step=step, channel=Channel(channel), at=event.at, fate="failed")
        state = _without(state, (sent.step, sent.channel))
        return _healed(_with(state, sent=(*state.sent, sent)), "send")
    pause = min(_FIRST_PAUSE * 2 ** (count - 1), _LONGEST_PAUSE)
    fault = Fault(what=what, error=event.error, since=since, count=count, retry_at=event.at + pause)
    return _with(state, faults=(*(f for f in state.faults if f.what != what), fault))


def _healed(state: CaseState, what: str) -> CaseState:
    if not state.faults:
        return state
    return _with(state, faults=tuple(f for f in state.faults if f.what != what))


def _hint(state: CaseState, event: BillingEvent) -> CaseState:
    if event.type == "halt_lifted":
        return _with(state, halted_until=None)
    if event.type in REPORTS:
        return _reported(state, event)
    if event.type in deliveries.HINTS:
        return deliveries.take_in(state, event)
    if event.type in correspondence.HINTS:
        return correspondence.take_in(state, event)
    if event.type == ERASED:
        return forgotten(state)
    if event.type.startswith("sibling."):
        state = _with(state, postponed_until=None)  # the customer's other charge is over
    known = event.created is not None and event.created + CLOCK_SKEW < state.invoice.read_at
    over = state.invoice.status in ("paid", "void", "gone")  # what is left to do depends on nothing new
    return state if known or over else _with(state, stale=True)


def _reported(state: CaseState, event: BillingEvent) -> CaseState:
    """A refund, a dispute or a warning. One on this invoice or its card freezes the case for a person."""
    if event.report in state.reports:
        return state
    if event.report:
        state = _with(state, reports=(*state.reports, event.report)[-_REMEMBERED_REPORTS:])
    if state.invoice.status in ("paid", "void", "gone"):
        return state
    state = _with(state, stale=True)
    if event.type not in FREEZING or not _is_ours(state, event):
        return state
    method, before = state.invoice.method, state.verdict
    verdict = Verdict(
        cls=DeclineClass.REVIEW,
        code=FREEZING[event.type],
        at=event.created or event.at,
        max_retries=0,
        hide_reason=True,
        identity=method.identity if method else before.identity if before else None,
        words=f"{REPORTS[event.type].words} (never tell the customer)",
    )
    return _with(state, verdict=verdict, reviewed=False, human=None, human_since=None, retry_asked=False)


def _is_ours(state: CaseState, event: BillingEvent) -> bool:
    """Whether it is about this invoice or a card that the case charges. What is not known may be ours."""
    if not event.card or event.invoice == state.ref.invoice_id:
        return True
    charged = {attempt.identity.split("/")[0] for attempt in state.attempts if attempt.identity}
    failed = {state.verdict.identity.split("/")[0]} if state.verdict and state.verdict.identity else set()
    method = state.invoice.method
    present = {method.fingerprint} if method and method.fingerprint else set()
    return event.card in charged | failed | present


def _turn(state: CaseState, turn: Turn, policy: Policy) -> CaseState:
    match turn.to:
        case "grace":
            return _with(state, stage=Stage.GRACE, plan=grace_from(state, policy, turn.at))
        case "hold_ended":
            return release_hold(state, turn.at)
        case "request_expired":
            return denied(state, turn.at)
        case "date_moved":
            assert turn.last_day is not None
            plan = state.plan.model_copy(update={"last_day": max(turn.last_day, state.plan.last_day)})
            return _with(state, plan=plan, notice_wanted_since=state.notice_wanted_since or turn.at)
        case "superseded" | "unreachable":
            fate = "superseded" if turn.to == "superseded" else "unreachable"
            gone = [Sent(step=s, channel=c, at=turn.at, fate=fate) for s, c in turn.steps]
            return _with(_without(state, *turn.steps), sent=(*state.sent, *gone))
        case "human":
            return _with(state, human=turn.reason, human_since=turn.at, ask=turn.ask)
        case "human_silent":
            return answered(state)
        case "ending":
            return _with(state, ending=turn.outcome, ending_reason=turn.reason, human=None)
        case "access_ended":
            return _with(state, access_ended=True)
        case "promise_broken":
            return broken(state, policy, turn.at)
        case "closed":
            return _with(
                settled(state, "ended"),
                stage=Stage.CLOSED,
                outcome=turn.outcome,
                recovered_via=turn.via,
                closed_at=turn.at,
                closed_reason=turn.reason,
                human=None,
                request=None,
                hold=None,
            )
        case "halt_over":
            return _with(state, halted_until=None)
