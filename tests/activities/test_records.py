"""The recorded step: decided once, remembered once."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from activities.records import LedgerRecords
from dunning.case import BillingEvent, InvoiceRead, Lever
from dunning.decision import Question, ReadInvoice
from dunning.forgetting import ERASED
from dunning.step import applied
from dunning.values import Outcome, Stage
from tests.activities.shop import Shop, message, order


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


WORDS = "salary comes late: divorce"


def lever(name: str, at: datetime, **payload: Any) -> Lever:
    """What somebody types."""
    return Lever(name=name, args=({"by": "maria", **payload},), at=at)


async def test_whom_a_running_case_has_forgotten_neither_a_step_nor_stripe_brings_back(
    shop: Shop, tmp_path: Path
) -> None:
    """The step under way when the customer is erased is written after that; the next one forgets."""
    renewal = await shop.renewal("insufficient_funds", metadata={"sms_consent": "yes"})
    state, now = await shop.open(renewal.invoice), await shop.control.now()
    policy, records = shop.deps.policies.load("standard"), LedgerRecords(shop.ledger, shop.deps.policies)
    first = Question(state=state, policy=policy, now=now, inbox=(lever("add_note", now, text=WORDS),))
    step = await shop.run(records.decide, first)
    sent = await shop.run(shop.email.send_email, message(state.ref))

    await shop.ledger.people.erase("", renewal.customer)
    state, seq = applied(state, step), len(step.entries)
    granted = lever("grant_extension", now, days=3, reason=WORDS)
    late = Question(state=state, policy=policy, now=now, seq=seq, inbox=(sent, granted))
    step = await shop.run(records.decide, late)
    assert WORDS in everything(tmp_path)
    seen = await shop.run(shop.billing.read_invoice, order(state.ref, ReadInvoice()))
    hint = BillingEvent(type=ERASED, at=now)
    forgets = Question(
        state=applied(state, step), policy=policy, now=now, seq=seq + len(step.entries), inbox=(hint, seen)
    )
    step = await shop.run(records.decide, forgets)

    kept = everything(tmp_path)
    for personal in (WORDS, "ada@customer.example", "+15005550123", "Ada Example"):
        assert personal not in kept
    [granted_days] = await shop.ledger.people.extensions([state.ref.case_id])
    assert (granted_days.days, granted_days.reason) == (3, "")
    assert [said.text for said in await shop.ledger.consents.history("", renewal.customer)] == [""]


def everything(folder: Path) -> str:
    """Every row of the ledger as text."""
    with closing(sqlite3.connect(folder / "ledger.db")) as connection:
        return "\n".join(connection.iterdump())
