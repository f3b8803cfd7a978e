"""What a sample of a Stripe account is judged to mean, for what the sandbox cannot show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dunning.account import (
    Sample,
    SampledCharge,
    SampledEndpoint,
    SampledInvoice,
    SampledSubscription,
    judge_account,
)
from dunning.policy import Policy
from tests.dunning.cases import STANDARD

NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)
SHARED = STANDARD.model_copy(update={"retries": STANDARD.retries.model_copy(update={"owner": "shared"})})


def codes(*policies: Policy, **found: Any) -> list[tuple[str, str]]:
    """Severity and code of what is found."""
    judged = judge_account(Sample(at=NOW, **found), policies or (STANDARD,))
    return [(finding.severity, finding.code) for finding in judged]


def retried(id: str) -> SampledInvoice:
    return SampledInvoice(id=id, status="open", attempted=True, next_payment_attempt=NOW + timedelta(days=1))


def test_an_empty_sample_says_nothing() -> None:
    assert codes() == []


@pytest.mark.parametrize("reason", ["max_payment_attempts", "payment_not_received"])
def test_invoices_that_stripe_gave_up(reason: str) -> None:
    given_up = SampledInvoice(id="in_1", status="uncollectible", given_up_because=reason)
    assert codes(invoices=(given_up,)) == [("warning", "stripe_gives_up")]


@pytest.mark.parametrize("reason", ["user_forgiven", "subscription_canceled", None])
def test_invoices_that_somebody_gave_up(reason: str | None) -> None:
    given_up = SampledInvoice(id="in_1", status="uncollectible", given_up_because=reason)
    assert codes(invoices=(given_up,)) == []


def test_cancellations_by_dispute_are_a_note_after_the_warnings() -> None:
    ended = (
        SampledSubscription(id="sub_1", status="canceled", canceled_because="payment_disputed"),
        SampledSubscription(id="sub_2", status="paused", paused_because="final_payment_failure"),
    )
    assert codes(subscriptions=ended) == [("warning", "stripe_pauses"), ("note", "stripe_cancels_on_dispute")]


@pytest.mark.parametrize("why", ["pause_requested", "trial_end_without_payment_method"])
def test_a_pause_that_somebody_asked_for_is_none_of_stripes(why: str) -> None:
    paused = SampledSubscription(id="sub_1", status="paused", paused_because=why)
    assert codes(subscriptions=(paused,)) == []


def test_one_retried_invoice_may_be_a_single_decision_and_two_are_a_setting() -> None:
    assert codes(invoices=(retried("in_1"),)) == []
    assert codes(invoices=(retried("in_1"), retried("in_2"))) == [("warning", "stripe_retries")]


def test_with_policies_of_both_kinds_stripe_may_retry_what_has_no_case() -> None:
    assert codes(STANDARD, SHARED, invoices=(retried("in_1"), retried("in_2"))) == []


def test_one_automatic_charge_may_be_the_customers_own() -> None:
    charges = [SampledCharge(id=f"ch_{i}", invoice=f"in_{i}", at=NOW, by_api=False) for i in (1, 2)]
    assert codes(charges=tuple(charges[:1])) == []
    assert codes(charges=tuple(charges)) == [("warning", "charged_beside_us")]


def test_an_endpoint_for_all_events_misses_none_and_a_disabled_one_is_none() -> None:
    every = SampledEndpoint(url="https://a.example", events=frozenset({"*"}))
    off = SampledEndpoint(url="https://b.example", enabled=False, events=frozenset({"*"}))
    needed = frozenset({"invoice.paid"})
    assert codes(endpoints=(every,), needed_events=needed) == []
    assert codes(endpoints=(off,), needed_events=needed) == [("warning", "no_endpoint")]
    assert codes(endpoints=None, needed_events=needed) == []
