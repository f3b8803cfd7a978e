"""Money that comes past the engine: in parts, by a credit note, out of band, at the last moment."""

from __future__ import annotations

from datetime import timedelta

from dunning.case import InvoiceRead
from dunning.evolve import evolve
from dunning.timeline import narrate
from dunning.values import Outcome, RecoveredVia
from tests.dunning.cases import DAY0, STANDARD, Run, days, is_closed, opened


def test_a_part_that_is_paid_leaves_the_case_open_for_the_rest() -> None:
    run = Run(opened()).until(2)
    run.event(amount_remaining=500)
    assert not is_closed(run)
    run.until(4)
    assert run.state.invoice.amount_remaining == 500
    assert days(run, ["charge"]) == [(1, "charge insufficient_funds"), (3, "charge insufficient_funds")]


def test_what_remains_is_a_line_of_the_timeline() -> None:
    before = opened()
    told = {"amount_remaining": 700, "read_at": DAY0 + timedelta(days=1)}
    read = InvoiceRead(invoice=before.invoice.model_copy(update=told))
    entry = narrate(before, read, evolve(before, read, STANDARD), None)
    assert entry is not None
    assert (entry.what, entry.text) == ("invoice.amount_changed", "7.00 USD remain to be paid")


def test_a_credit_note_over_all_that_is_owed_is_no_recovery() -> None:
    run = Run(opened()).until(2)
    run.event(status="paid", amount_remaining=0, credited=True)
    assert (run.state.outcome, run.state.recovered_via) == (Outcome.VOIDED, None)
    assert days(run) == [(1, "charge insufficient_funds")]  # and nobody is thanked


def test_a_credit_note_over_all_that_is_owed_ends_the_suspension() -> None:
    run = Run(opened()).until(30)
    assert run.state.suspended_at is not None
    run.event(status="paid", amount_remaining=0, credited=True)
    assert (run.state.outcome, run.log[-1]) == (Outcome.VOIDED, (30, "restore"))


def test_a_payment_out_of_band_ends_the_case_without_a_charge() -> None:
    run = Run(opened()).until(2)
    run.event(status="paid", amount_remaining=0, paid_out_of_band=True)
    assert is_closed(run)
    assert (run.state.outcome, run.state.recovered_via) == (Outcome.RECOVERED, RecoveredVia.OUT_OF_BAND)
    assert days(run, ["charge"]) == [(1, "charge insufficient_funds")]


def test_a_payment_between_the_decision_and_the_charge_is_not_charged_again() -> None:
    run = Run(opened()).until(0)
    run.world = run.state.invoice.model_copy(update={"status": "paid", "amount_remaining": 0})
    run.until(2)
    assert is_closed(run)
    assert days(run) == [(1, "email recovered")]
    assert run.state.recovered_via is RecoveredVia.CUSTOMER


def test_nobody_is_charged_reminded_or_suspended_while_money_is_on_its_way() -> None:
    run = Run(opened("expired_card")).until(2)
    run.event(processing=True)
    run.until(30)
    assert days(run) == [(0, "email payment_failed")]
    run.event(status="paid", amount_remaining=0, processing=False)
    assert days(run) == [(0, "email payment_failed"), (30, "email recovered")]


def test_money_that_comes_back_after_the_last_day_moves_it_until_a_notice_was_out_for_long_enough() -> None:
    run = Run(opened("expired_card")).until(2)
    run.event(processing=True)
    run.until(30)
    run.event(processing=False)
    run.until(50)
    told = next(day for day, what in run.log if what in ("email grace_started", "email final_notice"))
    suspended = next(day for day, what in run.log if what == "suspend")
    assert told >= 30
    assert suspended >= told + 2
