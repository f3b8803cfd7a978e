"""Refunds, disputes and early warnings of fraud, as the core takes them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dunning.case import BillingEvent
from dunning.start import parse_hint
from dunning.values import DeclineClass, Outcome
from tests.dunning.cases import DAY0, NEW_CARD, Run, days, failure, is_closed, opened

DISPUTE = {
    "type": "charge.dispute.created",
    "id": "evt_1",
    "report": "dp_1",
    "status": "needs_response",
    "charge": "ch_0",
    "card": "fp_visa",
    "amount": 1999,
    "currency": "usd",
}


def told(run: Run, **changes: Any) -> Run:
    """The hint arrives now."""
    run.inbox.append(parse_hint([DISPUTE | changes], run.now))
    return run.run_to(run.now)


@pytest.mark.parametrize("type", ["charge.dispute.created", "radar.early_fraud_warning.created"])
def test_a_report_on_the_card_freezes_the_case(type: str) -> None:
    run = told(Run(opened()).until(2), type=type)
    verdict = run.state.verdict
    assert verdict is not None
    assert (verdict.cls, verdict.hide_reason, run.state.human is None) == (DeclineClass.REVIEW, True, False)
    run.to_the_end()
    assert days(run) == [(1, "charge insufficient_funds")]
    assert run.state.outcome is Outcome.STOPPED


def test_a_report_on_another_card_freezes_nothing() -> None:
    run = told(Run(opened()).until(2), card="fp_other", invoice="in_other")
    assert run.state.human is None


def test_a_report_on_the_invoice_freezes_whatever_the_card() -> None:
    assert told(Run(opened()).until(2), card="fp_other", invoice="in_1").state.human is not None


def test_a_report_that_names_no_card_freezes() -> None:
    assert told(Run(opened()).until(2), card="").state.human is not None


def test_a_card_that_was_charged_earlier_in_the_case_counts() -> None:
    run = Run(opened()).until(2)
    run.event(method=NEW_CARD)
    assert told(run).state.human is not None


@pytest.mark.parametrize("type", ["refund.created", "refund.failed", "charge.dispute.closed"])
def test_other_reports_freeze_nothing(type: str) -> None:
    assert told(Run(opened()).until(2), type=type).state.human is None


def test_a_later_failure_does_not_thaw_a_frozen_case() -> None:
    run = told(Run(opened()).until(2))
    run.now += timedelta(hours=1)
    run.event(failure=failure("do_not_honor", run.now), method=NEW_CARD)
    assert run.state.verdict is not None
    assert run.state.verdict.code == "dispute"
    run.until(5)
    assert days(run, ["charge"]) == [(1, "charge insufficient_funds")]


def test_after_the_release_a_new_card_is_charged_and_the_same_dispute_freezes_nothing() -> None:
    run = told(Run(opened(), outcomes={2: "succeeded"}).until(2))
    run.lever("release", {"by": "mara"})
    told(run)
    assert run.state.human is None
    run.event(method=NEW_CARD)
    assert is_closed(run)


def test_another_dispute_after_the_release_freezes_again() -> None:
    run = told(Run(opened()).until(2))
    run.lever("release", {"by": "mara"})
    assert told(run, report="dp_2", id="evt_2").state.human is not None


def test_a_report_on_a_paid_invoice_changes_nothing() -> None:
    run = Run(opened(), outcomes={1: "succeeded"}).to_the_end()
    before = run.state
    assert told(run).state == before


@pytest.mark.parametrize(
    "odd",
    [
        {"amount": 10**40, "currency": "usd"},
        {"amount": "12", "currency": "usd"},
        {"amount": 5, "currency": "??!"},
        {"amount": True, "currency": ["usd"]},
        {"status": {"x": 1}, "card": 7, "report": None},
    ],
)
def test_a_malformed_report_harms_nothing(odd: dict[str, Any]) -> None:
    event = parse_hint([DISPUTE | odd], DAY0)
    assert isinstance(event, BillingEvent)
    told(Run(opened()).until(2), **odd)
