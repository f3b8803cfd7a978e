"""`decide`: what a case does next. A pure function; every rule of the sequence is here or one call away.

The order of the rules is the order of importance: facts before effects, the end before anything new,
money before words, words before suspension.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from dunning import words
from dunning.access import access_due
from dunning.asking import ask_first, for_a_person
from dunning.case import CaseState, Turn
from dunning.decision import (
    Charge,
    Decision,
    GiveBack,
    MoveDefault,
    ReadInvoice,
    Restore,
    TakeOver,
)
from dunning.due import EFFECT_WITHIN, Due
from dunning.final import ask_about_late_money, came_too_late, final_action
from dunning.leaving import wish_due
from dunning.policy import Policy
from dunning.promises import promise_due
from dunning.retries import has_fresh_method, known_methods, next_retry
from dunning.suspension import by_hand_due, request_due, suspension_due
from dunning.timeline import named, spoken
from dunning.values import Channel, DeclineClass, Outcome, RecoveredVia, Stage, WaitingOn

_CHARGE_WITHIN = timedelta(hours=2)
_LOOK_AT_PROCESSING = timedelta(hours=12)
_STRIPE_TAKES = timedelta(hours=6)  # so long after its moment a retry of Stripe's is surely over


def decide(state: CaseState, policy: Policy, now: datetime) -> Decision:
    """The next step of a case at `now`. Never names an action before its time, and none twice."""
    if state.stage is Stage.CLOSED:
        return Decision(reason=state.closed_reason)
    dues = [_patient(due, state) for due in _dues(state, policy, now)]
    if state.halted_until is not None and now < state.halted_until:
        dues = [
            _later(due, state.halted_until, "the engine is halted") if _acts(due) else due for due in dues
        ]
    first = min(dues, key=lambda due: (max(due.at, now), due.rank))
    if first.at > now:
        return Decision(until=first.at, waiting_on=first.on, reason=first.reason)
    if first.turn is not None:
        return Decision(turn=first.turn, reason=first.reason)
    return Decision(action=first.action, not_after=first.not_after, reason=first.reason)


def over(state: CaseState) -> tuple[Outcome, str] | None:
    """Why the case ends, if it does: the invoice's own state first, then what a person or the plan chose."""
    invoice = state.invoice
    if invoice.status == "paid" and _paid_unasked(state):
        return Outcome.NOT_APPLICABLE, "the invoice that was sent is paid: nothing had to be said"
    if invoice.status == "paid" and invoice.credited:
        return Outcome.VOIDED, "credit notes cover the whole invoice: nothing is owed any more"
    if invoice.status == "paid":
        return Outcome.RECOVERED, "the invoice is paid"
    if invoice.status == "void":
        return Outcome.VOIDED, "the invoice was voided"
    if invoice.status == "gone":
        return Outcome.CANCELED, "Stripe knows the invoice no longer"
    if state.ending is not None:
        return state.ending, state.ending_reason
    if invoice.status == "uncollectible" and not state.invoice_finalized:
        return Outcome.WRITTEN_OFF, "somebody else marked the invoice uncollectible"
    if invoice.subscription_status in ("canceled", "incomplete_expired") and not state.subscription_finalized:
        return Outcome.CANCELED, "somebody else canceled the subscription"
    return None


def _paid_unasked(state: CaseState) -> bool:
    """An invoice that was sent and paid before anybody was told that it is late: business as usual."""
    due = state.invoice.due_date
    late = (sent for sent in state.sent if due is not None and sent.at >= due)
    return state.invoice.sent and not any(sent.fate in ("accepted", "unknown", "shadow") for sent in late)


def _dues(state: CaseState, policy: Policy, now: datetime) -> list[Due]:
    if state.stale:
        return [Due(now, 0, "reading the invoice again: Stripe reported a change", ReadInvoice())]
    end = over(state)
    if end is not None:
        return [_closing(state, policy, now, *end)]
    by_hand = by_hand_due(state, policy, now)
    if by_hand is not None:
        return [by_hand]
    wish = wish_due(state, now)
    if wish is not None:
        return [wish]
    if state.hold is not None:
        reason = f"on hold by {state.hold.by}" + (f": {state.hold.reason}" if state.hold.reason else "")
        ends = Due(state.hold.until, 0, reason, turn=Turn(to="hold_ended", at=now), on=WaitingOn.HOLD)
        return [*_answers(state, policy, now), ends] if state.hold.pause else [ends]
    if state.human is not None:
        asked = [due for due in _charges(state, policy, now) if not _is_blind(due)]
        return [*_answers(state, policy, now), *asked, for_a_person(state, policy, now)]
    if state.invoice.processing:  # nobody is reminded or suspended while money is on its way
        return [*_answers(state, policy, now), *_charges(state, policy, now)]
    dues = [*_answers(state, policy, now), *_charges(state, policy, now)]
    if _stripe_goes_on(state, policy):
        why = "this engine charges the invoice: Stripe's own retries are turned off"
        dues.append(Due(state.opened_at, 0, why, TakeOver()))
    if state.promise is not None:
        request = request_due(state, now)
        return [*dues, promise_due(state.promise, state, policy, now), *([request] if request else [])]
    dues += [*_words(state, policy, now), *_milestones(state, policy, now)]
    if _asks_a_person(state, dues, now):
        reason = "fraud or dispute: nothing is said or charged until a person decides"
        if state.verdict and state.verdict.cls is DeclineClass.REVOKED:
            reason = "the customer withdrew the authorisation: asked once, a person decides"
        return [Due(now, 0, reason, turn=Turn(to="human", at=now, reason=reason))]
    return dues


def _closing(state: CaseState, policy: Policy, now: datetime, outcome: Outcome, reason: str) -> Due:
    suspended = state.suspended_at is not None and not state.suspension_lifted
    if suspended and outcome in (Outcome.RECOVERED, Outcome.VOIDED):
        return Due(now, 0, f"{reason}: ending the suspension", Restore(), not_after=now + EFFECT_WITHIN)
    word = words.answer_due(_last_words(state, outcome), state, policy, now)
    if word is not None:
        return _speak(word, state, policy, now)
    asked = ask_about_late_money(state, policy, now) if outcome is Outcome.RECOVERED else None
    if asked is not None:
        return asked
    if state.waiting:
        return _dropped([(w.step, w.channel) for w in state.waiting], reason, now)
    lost = _lost_charge(state, now)
    if lost is not None:
        return lost
    if state.give_back and state.found_auto_advance and state.invoice.status == "open":
        return Due(now, 0, "Stripe goes on with the invoice, as it was found", GiveBack(auto_advance=True))
    via = (state.recovered_via or RecoveredVia.CUSTOMER) if outcome is Outcome.RECOVERED else None
    turn = Turn(to="closed", at=now, reason=reason, outcome=outcome, via=via)
    return Due(now, 0, reason, turn=turn)


def _lost_charge(state: CaseState, now: datetime) -> Due | None:
    """A charge that got no answer may be what paid: the case asks under the attempt's own key before it ends.

    Only an invoice that nobody can charge any more is asked about in this way.
    """
    unanswered = any(fault.what == "charge" for fault in state.faults)
    if not unanswered or state.invoice.status not in ("paid", "void"):
        return None
    blind = not (state.retry_asked or has_fresh_method(state))
    action = Charge(number=state.next_number, blind=blind)
    why = "asking what became of the charge that got no answer"
    return Due(now, 0, why, action, not_after=now + _CHARGE_WITHIN)


def _last_words(state: CaseState, outcome: Outcome) -> tuple[str, ...]:
    if outcome is Outcome.RECOVERED:
        return ("restored",) if state.restored and not came_too_late(state) else ("recovered",)
    if outcome is Outcome.CANCELED and state.leaving == "now":
        return ("canceled_by_customer",)
    return ("written_off",) if outcome is Outcome.WRITTEN_OFF and state.suspended_at is not None else ()


def _asks_a_person(state: CaseState, dues: list[Due], now: datetime) -> bool:
    verdict = state.verdict
    if verdict is None or state.reviewed:
        return False
    if verdict.cls is DeclineClass.REVIEW:
        return True
    said = any(due.at <= now and due.action is not None and due.action.kind == "send" for due in dues)
    return verdict.cls is DeclineClass.REVOKED and not said


def _answers(state: CaseState, policy: Policy, now: datetime) -> list[Due]:
    word = words.answer_due(state.answers_due, state, policy, now)
    return [_speak(word, state, policy, now)] if word else []


def _charges(state: CaseState, policy: Policy, now: datetime) -> list[Due]:
    if state.invoice.processing:
        at = state.invoice.read_at + _LOOK_AT_PROCESSING
        return [Due(at, 0, "a payment is being processed by the bank", ReadInvoice(), on=WaitingOn.BANK)]
    moved = _replaced(state)
    if moved is not None:
        return [Due(now, 1, "the customer replaced the method that failed", moved, on=WaitingOn.RETRY)]
    retry = next_retry(state, policy, now)
    if retry is None:
        return []
    tried = known_methods(state) if retry.backup else ()
    action = Charge(number=state.next_number, blind=retry.blind, backup=retry.backup, tried=tried)
    return [Due(retry.at, 1, retry.reason, action, on=WaitingOn.RETRY, not_after=now + _CHARGE_WITHIN)]


def _is_blind(due: Due) -> bool:
    return isinstance(due.action, Charge) and due.action.blind


def _dropped(messages: list[tuple[str, Channel]], why: str, now: datetime) -> Due:
    turn = Turn(to="superseded", at=now, steps=tuple(messages), reason=why)
    return Due(now, 2, f"messages are dropped: {why}", turn=turn)


def _words(state: CaseState, policy: Policy, now: datetime) -> list[Due]:
    planned = words.planned(state, policy)
    late = words.pointless(planned, state)
    if late:
        return [_dropped(late, "the contact limits have room for it only when its moment has passed", now)]
    old = words.overtaken(planned, state, now)
    if old:
        return [_dropped([(w.step, w.channel) for w in old], "a later message is due", now)]
    return [_speak(word, state, policy, now) for word in planned[:1]]


def _speak(word: words.Word, state: CaseState, policy: Policy, now: datetime) -> Due:
    reason = f"{spoken(word.channel)} {named(word.step)}" + (f" (postponed: {word.why})" if word.why else "")
    word = words.not_at_night(word, state, policy, now)
    if word.at <= now and word.channel not in state.invoice.channels:
        turn = Turn(
            to="unreachable", at=now, steps=((word.step, word.channel),), reason="no address or no consent"
        )
        return Due(word.at, 2, f"{reason}: no address or no consent", turn=turn)
    send = words.order_of(word, state, policy, now)
    return Due(word.at, 2, reason, send, not_after=words.latest(word, state, policy, now))


def _milestones(state: CaseState, policy: Policy, now: datetime) -> list[Due]:
    plan = state.plan
    if state.stage is Stage.RECOVERING and _stripe_retries(state, policy):
        return [_after_stripe(state)]
    if state.stage is Stage.RECOVERING:
        turn = Turn(to="grace", at=now)
        return [
            Due(plan.grace_starts_at, 3, f"grace starts, to the end of {plan.last_day:%a %d %b}", turn=turn)
        ]
    if state.stage is Stage.GRACE:
        return [request_due(state, now) or suspension_due(state, policy, now)]
    shrinks = access_due(state, policy, now)
    final = ask_first("final_action", final_action(state, policy, now), state, policy, now)
    return [final, *([shrinks] if shrinks else [])]


def _stripe_goes_on(state: CaseState, policy: Policy) -> bool:
    invoice = state.invoice
    charged = policy.retries.owner == "engine" and not invoice.sent
    return charged and not state.taken_over and invoice.auto_advance is True


def _stripe_retries(state: CaseState, policy: Policy) -> bool:
    """Stripe charges this invoice by a schedule of its own and is not through with it."""
    return policy.retries.owner != "engine" and state.invoice.next_payment_attempt is not None


def _after_stripe(state: CaseState) -> Due:
    """Grace starts when Stripe gave up. Its next attempt is looked at also when no webhook tells of it."""
    attempt = state.invoice.next_payment_attempt
    assert attempt is not None
    at = max(attempt, state.invoice.read_at) + _STRIPE_TAKES
    return Due(at, 3, f"Stripe retries on {attempt:%a %d %b}", ReadInvoice(), on=WaitingOn.RETRY)


def _replaced(state: CaseState) -> MoveDefault | None:
    """The customer has another default, but the method that failed still comes before it (Stripe's order)."""
    invoice, verdict = state.invoice, state.verdict
    failed, new, place = invoice.method, invoice.customer_method, invoice.method_set_on
    if failed is None or new is None or verdict is None or place is None or place == "customer":
        return None
    tried = {verdict.identity, *(a.identity for a in state.attempts)}
    if failed.identity not in tried or new.identity in tried or new.id in state.moved_defaults:
        return None
    return MoveDefault(set_on=place, failed=failed.id, to=new.id)


def _patient(due: Due, state: CaseState) -> Due:
    """An effect whose provider did not answer waits for its next try; everything else goes on."""
    for fault in state.faults:
        if due.action is not None and due.action.kind == fault.what and due.at < fault.retry_at:
            return _later(
                due, fault.retry_at, f"{fault.what} fails since {fault.since:%d %b %H:%M}: {fault.error}"
            )
    return due


def _later(due: Due, at: datetime, why: str) -> Due:
    return Due(max(due.at, at), due.rank, why, due.action, due.turn, WaitingOn.DATE, due.not_after)


def _acts(due: Due) -> bool:
    return due.action is not None and due.action.kind != "read_invoice"
