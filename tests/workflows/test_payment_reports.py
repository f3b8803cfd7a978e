"""Refunds, disputes and early warnings of fraud, from the webhook to the case and the ledger."""

from __future__ import annotations

from dunning.values import Outcome, Stage, WaitingOn
from ledger.records import EntryRecord
from tests.fixtures.case import Case
from tests.fixtures.engine import Engine
from tests.fixtures.temporal import eventually
from tests.workflows.deliveries import report
from workflows.ids import payment_report_id


async def failed_charge_of(engine: Engine, case: Case) -> str:
    """The charge that failed when the invoice was due."""
    books = await engine.control.stripe_books("charges")
    return next(str(row["id"]) for row in books["charges"] if row["invoice"] == case.invoice)


async def paying_charge_of(engine: Engine, case: Case) -> str:
    """The charge that paid the invoice."""
    books = await engine.control.stripe_books("charges")
    rows = [row for row in books["charges"] if row["invoice"] == case.invoice]
    return next(str(row["id"]) for row in rows if row["status"] == "succeeded")


async def entries(engine: Engine, case: Case) -> tuple[EntryRecord, ...]:
    """The case's timeline in the ledger."""
    record = await case.record()
    assert record is not None
    return await engine.ledger.cases.entries(record.id)


# --- while the invoice is owed ---------------------------------------------------------------------------


async def test_a_disputed_payment_on_the_card_freezes_the_case_until_a_person_decides(
    engine: Engine,
) -> None:
    case = await engine.case("insufficient_funds")
    await case.until(2)
    charge = await failed_charge_of(engine, case)
    told = await report(
        engine,
        "charge.dispute.created",
        id="dp_1",
        charge=charge,
        amount=1900,
        currency="usd",
        status="needs_response",
    )
    assert told == {"received": True, "result": "woken", "cases": 1}
    status = await case.status()
    assert status.needs_human
    assert status.waiting_on is WaitingOn.HUMAN
    assert "dispute" in await case.details()
    assert "the customer disputes a payment: 19.00 USD (needs response)" in await case.details()
    closed = await case.to_the_end()
    assert await case.calendar() == {1: ["charge insufficient_funds"]}
    assert closed.outcome is Outcome.STOPPED
    assert await case.pause_at_stripe() is None


async def test_a_warning_of_fraud_freezes_every_case_that_charges_the_card(engine: Engine) -> None:
    older = await engine.case("expired_card")
    newer = await engine.renewal(older.customer, older.subscription, older.email)
    await engine.settle()
    charge = await failed_charge_of(engine, older)
    told = await report(
        engine, "radar.early_fraud_warning.created", id="issfr_1", charge=charge, actionable=True
    )
    assert told["cases"] == 2
    for case in (older, newer):
        assert (await case.status()).needs_human
        assert "early_fraud_warning" in str((await case.record()).decline_code)  # type: ignore[union-attr]


async def test_a_released_case_goes_on_and_the_same_dispute_told_again_freezes_nothing(
    engine: Engine,
) -> None:
    case = await engine.case("insufficient_funds")
    charge = await failed_charge_of(engine, case)
    dispute = {"id": "dp_1", "charge": charge, "amount": 1900, "currency": "usd", "status": "needs_response"}
    await report(engine, "charge.dispute.created", **dispute)
    assert (await case.status()).needs_human
    await engine.client.release(case.invoice, by="mara")
    await report(engine, "charge.dispute.created", **dispute)
    assert not (await case.status()).needs_human
    await case.until(1)
    await case.customer_replaces_card()
    assert (await case.result()).outcome is Outcome.RECOVERED


async def test_a_card_added_to_a_frozen_case_is_not_charged(engine: Engine) -> None:
    case = await engine.case("insufficient_funds")
    await report(
        engine, "charge.dispute.created", id="dp_1", charge=await failed_charge_of(engine, case), amount=1
    )
    await case.until(1)
    await case.customer_replaces_card()
    assert await case.calendar() == {}
    assert (await case.status()).stage is Stage.RECOVERING


async def test_a_dispute_of_a_customer_without_open_cases_is_accepted(engine: Engine) -> None:
    told = await report(engine, "charge.dispute.created", id="dp_9", charge="ch_nobody_knows", amount=1)
    assert told["result"] == "ignored"


async def test_a_dispute_of_an_unknown_payment_freezes_the_cases_of_the_customer_it_names(
    engine: Engine,
) -> None:
    case = await engine.case("insufficient_funds")
    told = await report(
        engine,
        "charge.dispute.created",
        id="dp_1",
        charge={"id": "ch_of_last_year", "customer": case.customer},
        amount=1900,
        currency="usd",
    )
    assert told["cases"] == 1
    assert (await case.status()).needs_human


async def test_a_dispute_of_a_renewal_that_was_paid_long_ago_freezes_what_is_owed_now(engine: Engine) -> None:
    """The ledger never saw that charge, and the dispute names no customer: Stripe is asked."""
    case = await engine.case("insufficient_funds")
    books = await engine.control.stripe_books()
    first = next(row for row in books["charges"] if row["invoice"] != case.invoice)
    dispute = {"id": "dp_1", "charge": first["id"], "amount": 1900, "currency": "usd"}
    told = await report(engine, "charge.dispute.created", **dispute)
    assert (told["result"], told["cases"]) == ("asked", 0)
    await eventually(lambda: _frozen(case), "the case waits for a person")
    await case.to_the_end()
    assert await case.calendar() == {}
    assert await report(engine, "charge.dispute.created", **dispute) != told  # now it is known


async def _frozen(case: Case) -> bool:
    return (await case.status()).needs_human


async def test_a_dispute_of_a_payment_that_nobody_knows_wakes_nobody(engine: Engine) -> None:
    case = await engine.case("insufficient_funds")
    told = await report(engine, "charge.dispute.created", event_id="evt_1", id="dp_1", charge="ch_nobodys")
    assert told["result"] == "asked"
    assert await engine.temporal.get_workflow_handle(payment_report_id("evt_1")).result() is False
    assert not (await case.status()).needs_human


# --- after the case ended --------------------------------------------------------------------------------


async def test_a_refund_of_what_was_recovered_stands_in_the_timeline_and_opens_nothing(
    engine: Engine,
) -> None:
    case = await engine.case("insufficient_funds", "succeeded")
    await case.to_the_end()
    refund = await engine.stripe.refunds.create_async(
        {"charge": await paying_charge_of(engine, case), "amount": 500}
    )
    await engine.settle()
    await report(engine, "refund.created", **refund.to_dict())  # told twice
    last = (await entries(engine, case))[-1]
    assert [e.what for e in await entries(engine, case)].count("recovery.refunded") == 1
    assert (last.what, last.text) == ("recovery.refunded", "a payment was refunded: 5.00 USD (succeeded)")
    assert last.data["amount"] == 500
    assert last.data["id"] == refund.id
    record = await case.record()
    assert record is not None
    assert (record.episode, record.outcome) == (1, Outcome.RECOVERED)


async def test_a_dispute_of_what_the_customer_paid_by_hand_is_found_too(engine: Engine) -> None:
    case = await engine.case("expired_card")
    await case.customer_pays()
    assert (await case.result()).outcome is Outcome.RECOVERED
    charge = await paying_charge_of(engine, case)
    about = {"id": "dp_1", "charge": charge, "amount": 1900, "currency": "usd"}
    told = await report(engine, "charge.dispute.created", status="needs_response", **about)
    assert (told["result"], told["cases"]) == ("noted", 0)
    await report(engine, "charge.dispute.closed", status="won", **about)
    told_after = [(e.what, e.data["status"]) for e in await entries(engine, case) if e.by == "stripe"]
    assert told_after == [("recovery.disputed", "needs_response"), ("recovery.dispute_closed", "won")]


async def test_a_dispute_of_a_recovered_invoice_freezes_the_next_one_on_the_same_card(
    engine: Engine,
) -> None:
    older = await engine.case("insufficient_funds", "succeeded", "insufficient_funds")
    await older.to_the_end()
    newer = await engine.renewal(older.customer, older.subscription, older.email)
    await engine.settle()
    charge = await paying_charge_of(engine, older)
    told = await report(
        engine, "charge.dispute.created", id="dp_1", charge=charge, amount=1900, currency="usd"
    )
    assert told["cases"] == 1
    assert (await newer.status()).needs_human
    assert "recovery.disputed" in [e.what for e in await entries(engine, older)]
