"""Money that comes past the engine: in parts, by a credit note, out of band, at the last moment."""

from __future__ import annotations

from dunning.values import Outcome, RecoveredVia
from tests.dunning.cases import Run, days, is_closed, opened


def test_a_part_that_is_paid_leaves_the_case_open_for_the_rest() -> None:
    run = Run(opened()).until(2)
    run.event(amount_remaining=500)
    assert not is_closed(run)
    run.until(4)
    assert run.state.invoice.amount_remaining == 500
    assert days(run, ["charge"]) == [(1, "charge insufficient_funds"), (3, "charge insufficient_funds")]


def test_a_credit_note_over_the_rest_ends_the_case_without_a_charge() -> None:
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
