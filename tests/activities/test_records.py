"""The recorded step: decided once, remembered once."""

from __future__ import annotations

from datetime import timedelta

from activities.records import LedgerRecords
from dunning.case import InvoiceRead
from dunning.decision import Question
from dunning.step import applied
from dunning.values import Outcome, Stage
from tests.activities.shop import Shop


async def test_a_step_is_remembered_with_its_reason_and_repeating_it_changes_nothing(shop: Shop) -> None:
    renewal = await shop.renewal("insufficient_funds")
    state = await shop.open(renewal.invoice)
    now = await shop.control.now()
    question = Question(state=state, policy=shop.deps.policies.load("standard"), now=now)
    records = LedgerRecords(shop.ledger, shop.deps.policies)

    step = await shop.run(records.decide, question)
    row = await shop.ledger.cases.get(state.ref.case_id)
    assert row is not None
    assert (row.stage, row.next_what) == (Stage.RECOVERING, step.decision.reason)
    assert step.decision.action is not None
    assert (row.next_at, row.next_action) == (now, step.decision.action.kind)
    assert row.last_day == state.plan.last_day
    entries = await shop.ledger.cases.entries(state.ref.case_id)
    assert len(entries) == len(step.entries) > 0

    assert await shop.run(records.decide, question, attempt=2) == step
    assert await shop.ledger.cases.entries(state.ref.case_id) == entries


async def test_a_paid_invoice_closes_the_case_in_the_ledger_too(shop: Shop) -> None:
    renewal = await shop.renewal("insufficient_funds")
    state = await shop.open(renewal.invoice)
    policy, records = shop.deps.policies.load("standard"), LedgerRecords(shop.ledger, shop.deps.policies)
    policy = policy.model_copy(
        update={"messages": policy.messages.model_copy(update={"answers": type(policy.messages.answers)()})}
    )
    first = await shop.run(records.decide, Question(state=state, policy=policy, now=await shop.control.now()))
    await shop.pay_by_hand(renewal.invoice)
    paid = await shop.read(state.ref)
    question = Question(
        state=applied(state, first),
        inbox=(InvoiceRead(invoice=paid),),
        policy=policy,
        now=paid.read_at + timedelta(seconds=1),
        seq=len(first.entries),
    )
    step = await shop.run(records.decide, question)
    assert step.decision.done
    row = await shop.ledger.cases.get(state.ref.case_id)
    assert row is not None
    assert (row.outcome, row.open, row.policy_name) == (Outcome.RECOVERED, False, "standard")
