"""A world that answers at once: no provider, no ledger, no I/O. Pure, for the core and the workers here."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from dunning.case import CaseRef, CaseState, Charged, EffectDone, Event, InvoiceRead, MessageSent, Opened
from dunning.decision import Action, Charge, Question, ReadInvoice, Send
from dunning.facts import Failure, Invoice, Method
from dunning.opening import open_case
from dunning.policy import Policy
from dunning.step import answer, applied
from dunning.values import Channel

_CARD = Method(
    id="pm_bench", fingerprint="fp_bench", brand="visa", funding="credit", exp_month=4, exp_year=2031
)
_MOST_STEPS = 500


def _invoice(invoice_id: str, at: datetime, *, paid: bool = False) -> Invoice:
    return Invoice(
        id=invoice_id,
        read_at=at,
        status="paid" if paid else "open",
        amount_remaining=0 if paid else 1_900,
        customer=f"cus_{invoice_id}",
        subscription=f"sub_{invoice_id}",
        subscription_status="active" if paid else "past_due",
        billing_reason="subscription_cycle",
        method=_CARD,
        paying_method=_CARD if paid else None,
        failure=None if paid else _declined(at),
        channels=(Channel.EMAIL,),
    )


def _declined(at: datetime) -> Failure:
    return Failure(
        at=at, charge="ch_bench", code="card_declined", decline_code="insufficient_funds", method=_CARD
    )


def opening(invoice_id: str, account: str, policy: Policy, at: datetime) -> Opened:
    """The case of a renewal that failed for want of money."""
    ref = CaseRef(case_id=f"{account}/{invoice_id}/1", invoice_id=invoice_id, account=account)
    state = open_case(ref, _invoice(invoice_id, at), policy, at)
    if isinstance(state, str):
        raise ValueError(state)
    return Opened(state=state, policy=policy)


def effect(action: Action, ref: CaseRef, at: datetime, paying: int | None) -> Event:
    """What becomes of an action; the charge numbered `paying` succeeds, every other one is declined."""
    match action:
        case ReadInvoice():
            return InvoiceRead(invoice=_invoice(ref.invoice_id, at))
        case Charge():
            paid = action.number == paying
            return Charged(
                number=action.number,
                at=at,
                result="succeeded" if paid else "declined",
                blind=action.blind,
                method=_CARD,
                failure=None if paid else _declined(at),
                invoice=_invoice(ref.invoice_id, at, paid=paid),
            )
        case Send():
            named = action.last_day if action.names_last_day else None
            return MessageSent(
                step=action.step, channel=action.channel, at=at, fate="accepted", named_day=named
            )
        case _:
            return EffectDone(effect=action.kind, at=at)


def life(policy: Policy, begun: datetime, paying: int | None = None) -> Iterator[Question]:
    """Every question that a case asks the recorded step, from its opening to its end."""
    opened = opening("in_bench", "", policy, begun).state
    if opened is None:
        raise ValueError("the pretended invoice opened no case")
    state: CaseState = opened
    inbox: tuple[Event, ...] = ()
    now, seq = begun, 0
    for _ in range(_MOST_STEPS):
        question = Question(state=state, inbox=inbox, policy=policy, now=now, seq=seq)
        yield question
        step = answer(question)
        state, seq, inbox = applied(state, step), seq + len(step.entries), ()
        if step.decision.done:
            return
        if step.decision.action is not None:
            inbox = (effect(step.decision.action, state.ref, now, paying),)
        else:
            now = step.decision.until or now
    raise RuntimeError(f"the pretended case does not end within {_MOST_STEPS} steps")
