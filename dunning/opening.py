"""How a case begins, and which invoices are none."""

from __future__ import annotations

from datetime import datetime

from dunning.case import CaseRef, CaseState, Plan, Verdict
from dunning.declines import classify
from dunning.facts import Failure, Invoice
from dunning.grace import make_plan, plan_of_sent
from dunning.policy import Policy
from dunning.risk import Level
from dunning.values import Stage


def open_case(
    ref: CaseRef,
    invoice: Invoice,
    policy: Policy,
    now: datetime,
    next_number: int = 1,
    adopted: Plan | None = None,
    episode_of_suspension: bool = False,
    risk: Level | None = None,
) -> CaseState | str:
    """The state of a new case, or one sentence that says why the invoice is not dunned.

    `adopted` are the dates of an older open case of the same subscription: one customer hears one date.
    `episode_of_suspension`: an earlier, closed case suspended the subscription; is nothing owed any more?
    """
    if episode_of_suspension and invoice.status in ("paid", "void"):
        state = CaseState(ref=ref, invoice=invoice, plan=make_plan(now, invoice.zone, policy), opened_at=now)
        return state.model_copy(
            update={"stage": Stage.SUSPENDED, "suspended_at": now, "next_number": next_number}
        )
    refusal = not_applicable(invoice)
    if refusal is not None:
        return refusal
    plan = plan_of_sent(invoice, policy, now) if invoice.sent else make_plan(now, invoice.zone, policy)
    if plan is None:
        return f"invoice {invoice.id} is collected by sending it: this policy has no sent_invoices"
    return CaseState(
        ref=ref,
        invoice=invoice,
        plan=adopted or plan,
        opened_at=now,
        verdict=judge(invoice, now),
        next_number=next_number,
        risk=risk,
    )


def judge(invoice: Invoice, now: datetime) -> Verdict | None:
    """What the invoice's last failure asks for. One that Stripe no longer tells is judged with caution.

    None for an invoice that is sent: whatever its customer tried, nobody else charges it.
    """
    if invoice.sent:
        return None
    if invoice.failure is None and invoice.method is not None:
        return classify(Failure(at=now, method=invoice.method))
    return classify(invoice.failure, at=now)


def not_applicable(invoice: Invoice) -> str | None:
    """Why this invoice is not dunned, in one sentence; None when it is."""
    match invoice.status:
        case "gone":
            return f"Stripe knows no invoice {invoice.id}: check the id, the account and the key's mode"
        case "draft":
            return f"invoice {invoice.id} is a draft: it was never due"
        case "paid":
            return f"invoice {invoice.id} is paid already"
        case "void":
            return f"invoice {invoice.id} is void: nothing is owed"
        case "uncollectible":
            return f"invoice {invoice.id} is marked uncollectible: somebody gave it up already"
        case "open":
            pass
    if invoice.amount_remaining <= 0:
        return f"nothing remains to be paid on invoice {invoice.id}"
    if invoice.billing_reason == "subscription_create" and not invoice.sent:
        return (
            f"invoice {invoice.id} is the first of its subscription: Stripe asks the customer during sign-up"
        )
    if invoice.subscription_status in ("canceled", "incomplete_expired"):
        return (
            f"the subscription of invoice {invoice.id} is canceled already: there is nothing left to suspend"
        )
    return None
