"""Charging: each result, and one charge per attempt whatever gets lost on the way."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from dunning.case import CaseState, Charged
from dunning.decision import Charge, Order
from tests.activities.shop import Renewal, Shop, before, charge, order

PAY = r"/v1/invoices/[^/]+/pay$"


DAY = 86_400.0


async def opened(shop: Shop, *outcomes: str, **renewal: Any) -> tuple[Renewal, CaseState]:
    """A case on the day after the first failure: a card is declined once a day at most."""
    failed = await shop.renewal(*outcomes, **renewal)
    case = await shop.open(failed.invoice)
    await shop.control.advance(DAY)
    return failed, case


# --- results ------------------------------------------------------------------------------------------


async def test_a_charge_that_succeeds_pays_the_invoice(shop: Shop) -> None:
    renewal, case = await opened(shop, "insufficient_funds", "succeeded")
    done = await shop.run(shop.billing.charge, charge(case.ref))
    assert (done.result, done.number) == ("succeeded", 1)
    assert done.invoice is not None
    assert (done.invoice.status, done.invoice.amount_remaining) == ("paid", 0)
    assert done.invoice.paying_method == done.method
    (row,) = await shop.charges(renewal.invoice)
    assert row["idempotency_key"] == f"dunning-acct-{renewal.invoice}-1"


async def test_a_decline_is_a_result_with_the_bank_s_words(shop: Shop) -> None:
    _, case = await opened(shop, "insufficient_funds", "do_not_honor")
    done = await shop.run(shop.billing.charge, charge(case.ref))
    assert done.result == "declined"
    assert done.failure is not None
    assert (done.failure.decline_code, done.failure.network_status) == ("do_not_honor", "declined_by_network")
    assert done.failure.method is not None
    assert done.invoice is not None
    assert done.invoice.failure == done.failure
    (attempt,) = await shop.ledger.attempts.of_case(case.ref.case_id)
    assert (attempt.outcome, attempt.decline_class, attempt.charge_id) == (
        "declined",
        "soft",
        done.failure.charge,
    )
    assert (await shop.read(case.ref)).failure == done.failure  # the same failure, not a newer one


async def test_a_bank_that_wants_the_customer_is_no_decline(shop: Shop) -> None:
    _, case = await opened(shop, "insufficient_funds", "authentication_required")
    done = await shop.run(shop.billing.charge, charge(case.ref))
    assert done.result == "needs_authentication"


async def test_a_debit_that_takes_days_is_processing_and_not_sent_twice(shop: Shop) -> None:
    renewal, case = await opened(shop, "insufficient_funds", "processing")
    assert (await shop.run(shop.billing.charge, charge(case.ref))).result == "processing"
    assert (await shop.run(shop.billing.charge, charge(case.ref, 2))).result == "processing"
    assert len(await shop.charges(renewal.invoice)) == 1


@pytest.mark.parametrize("end", ["paid", "void", "uncollectible"])
async def test_an_invoice_that_is_not_open_is_not_charged(shop: Shop, end: str) -> None:
    renewal, case = await opened(shop, "insufficient_funds", "succeeded")
    if end == "paid":
        await shop.pay_by_hand(renewal.invoice)
    elif end == "void":
        await shop.stripe.invoices.void_invoice_async(renewal.invoice)
    else:
        await shop.stripe.invoices.mark_uncollectible_async(renewal.invoice)
    done = await shop.run(shop.billing.charge, charge(case.ref))
    assert done.result == "not_needed"
    assert done.invoice is not None
    assert done.invoice.status == end
    assert await shop.charges(renewal.invoice) == []


async def test_a_customer_without_a_method_is_declined_without_a_charge(shop: Shop) -> None:
    renewal, case = await opened(shop, "insufficient_funds", "succeeded")
    await shop.stripe.subscriptions.update_async(renewal.subscription, {"default_payment_method": ""})
    done = await shop.run(shop.billing.charge, charge(case.ref))
    assert (done.result, done.failure, done.method) == ("declined", None, None)
    (attempt,) = await shop.ledger.attempts.of_case(case.ref.case_id)
    assert attempt.decline_class == "new_method"
    assert await shop.charges(renewal.invoice) == []


async def test_a_halted_engine_charges_nothing_and_leaves_no_row(shop: Shop) -> None:
    renewal, case = await opened(shop, "insufficient_funds", "succeeded")
    await shop.ledger.switches.halt("kim", "an incident", await shop.control.now())
    assert (await shop.run(shop.billing.charge, charge(case.ref))).result == "held"
    assert await shop.ledger.attempts.of_case(case.ref.case_id) == ()
    await shop.ledger.switches.lift("kim", await shop.control.now())
    assert (await shop.run(shop.billing.charge, charge(case.ref))).result == "succeeded"
    assert len(await shop.charges(renewal.invoice)) == 1


async def test_an_order_whose_moment_passed_is_decided_anew(shop: Shop) -> None:
    _, case = await opened(shop, "insufficient_funds", "succeeded")
    late = charge(case.ref, not_after=before(await shop.control.now()))
    assert (await shop.run(shop.billing.charge, late)).result == "too_late"


async def test_a_policy_in_shadow_records_the_attempt_and_charges_nothing(shop: Shop) -> None:
    renewal, case = await opened(shop, "insufficient_funds", "succeeded")
    assert (await shop.run(shop.billing.charge, charge(case.ref, shadow=True))).result == "shadow"
    (attempt,) = await shop.ledger.attempts.of_case(case.ref.case_id)
    assert (attempt.outcome, attempt.amount) == ("shadow", 1900)
    assert await shop.charges(renewal.invoice) == []


async def test_an_attempt_that_is_done_is_told_again_and_not_made_again(shop: Shop) -> None:
    renewal, case = await opened(shop, "insufficient_funds", "do_not_honor", "succeeded")
    first = await shop.run(shop.billing.charge, charge(case.ref))
    await shop.control.advance(DAY)
    assert await shop.run(shop.billing.charge, charge(case.ref)) == first
    assert len(await shop.charges(renewal.invoice)) == 1
    assert (await shop.run(shop.billing.charge, charge(case.ref, 2))).result == "succeeded"


# --- what gets lost -----------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["succeeded", "do_not_honor"])
@pytest.mark.parametrize("fault", ["drop_before", "drop_after", "status_after", "status"])
async def test_one_charge_whatever_the_connection_does(shop: Shop, fault: Any, outcome: str) -> None:
    renewal, case = await opened(shop, "insufficient_funds", outcome, "succeeded")
    await shop.control.fault(fault, service="stripe", path=PAY, times=3)  # the SDK itself tries three times
    with pytest.raises(ApplicationError) as lost:
        await shop.run(shop.billing.charge, charge(case.ref))
    assert (lost.value.type, lost.value.non_retryable) == ("StripeUnreachable", False)
    done = await shop.run(shop.billing.charge, charge(case.ref), attempt=2)
    assert done.result == ("succeeded" if outcome == "succeeded" else "declined")
    assert len(await shop.charges(renewal.invoice)) == 1


async def test_a_single_lost_answer_is_repeated_by_the_sdk_under_the_same_key(shop: Shop) -> None:
    renewal, case = await opened(shop, "insufficient_funds", "succeeded")
    await shop.control.fault("drop_after", service="stripe", path=PAY)
    assert (await shop.run(shop.billing.charge, charge(case.ref))).result == "succeeded"
    assert len(await shop.charges(renewal.invoice)) == 1


async def test_too_many_requests_are_retried_when_stripe_says(shop: Shop) -> None:
    renewal, case = await opened(shop, "insufficient_funds", "succeeded")
    await shop.control.fault("status", service="stripe", path=PAY, status=429, retry_after=7)
    with pytest.raises(ApplicationError) as busy:
        await shop.run(shop.billing.charge, charge(case.ref))
    assert busy.value.type == "StripeBusy"
    delay = busy.value.next_retry_delay
    assert delay is not None
    assert timedelta(seconds=2) <= delay <= timedelta(seconds=11)
    assert (await shop.run(shop.billing.charge, charge(case.ref), attempt=2)).result == "succeeded"
    assert len(await shop.charges(renewal.invoice)) == 1


async def test_a_key_that_stripe_refuses_is_for_operators_and_loses_nothing(shop: Shop) -> None:
    _, case = await opened(shop, "insufficient_funds", "succeeded")
    answer = {"error": {"type": "invalid_request_error", "message": "ada@customer.example has no key"}}
    await shop.control.fault("status", service="stripe", path=PAY, status=401, answer=answer)
    with pytest.raises(ApplicationError) as refused:
        await shop.run(shop.billing.charge, charge(case.ref))
    assert (refused.value.type, refused.value.non_retryable) == ("StripeRefusedKey", False)
    assert "STRIPE_API_KEY" in refused.value.message
    assert "ada@" not in refused.value.message
    assert (await shop.run(shop.billing.charge, charge(case.ref), attempt=2)).result == "succeeded"


async def test_a_lost_charge_is_repeated_on_the_card_it_was_reserved_for(shop: Shop) -> None:
    renewal, case = await opened(shop, "insufficient_funds", "succeeded")
    await shop.control.fault("drop_after", service="stripe", path=PAY, times=3)
    with pytest.raises(ApplicationError):
        await shop.run(shop.billing.charge, charge(case.ref))
    other = await shop.card(renewal.customer, "succeeded")
    await shop.stripe.subscriptions.update_async(renewal.subscription, {"default_payment_method": other})
    done = await shop.run(shop.billing.charge, charge(case.ref), attempt=2)
    assert (done.result, done.method and done.method.id) == ("succeeded", renewal.method)
    assert len(await shop.charges(renewal.invoice)) == 1


async def test_a_customer_who_pays_between_two_tries_is_not_charged_again(shop: Shop) -> None:
    renewal, case = await opened(shop, "insufficient_funds", "succeeded")
    await shop.control.fault("drop_before", service="stripe", path=PAY, times=3)
    with pytest.raises(ApplicationError):
        await shop.run(shop.billing.charge, charge(case.ref))
    await shop.pay_by_hand(renewal.invoice)
    done = await shop.run(shop.billing.charge, charge(case.ref), attempt=2)
    assert done.result == "not_needed"
    assert done.invoice is not None
    assert done.invoice.paid_out_of_band
    assert await shop.charges(renewal.invoice) == []


async def test_a_card_detached_at_the_last_moment_is_no_card(shop: Shop) -> None:
    renewal, case = await opened(shop, "insufficient_funds", "succeeded")
    answer = {
        "error": {"type": "invalid_request_error", "code": "resource_missing", "param": "payment_method"}
    }
    await shop.control.fault("status", service="stripe", path=PAY, status=400, answer=answer)
    done = await shop.run(shop.billing.charge, charge(case.ref))
    assert (done.result, done.failure) == ("declined", None)
    assert await shop.charges(renewal.invoice) == []


async def test_an_engine_that_was_halted_meanwhile_still_learns_of_its_lost_charge(shop: Shop) -> None:
    renewal, case = await opened(shop, "insufficient_funds", "succeeded")
    await shop.control.fault("drop_after", service="stripe", path=PAY, times=3)
    with pytest.raises(ApplicationError):
        await shop.run(shop.billing.charge, charge(case.ref))
    await shop.ledger.switches.halt("kim", "an incident", await shop.control.now())
    assert (await shop.run(shop.billing.charge, charge(case.ref), attempt=2)).result == "succeeded"
    assert len(await shop.charges(renewal.invoice)) == 1


# --- what was lost for longer than Stripe remembers a key -----------------------------------------------


@pytest.mark.parametrize(
    ("fault", "outcome", "result"),
    [
        ("drop_after", "succeeded", "succeeded"),
        ("drop_after", "do_not_honor", "declined"),
        ("drop_before", "succeeded", "unknown"),
    ],
)
async def test_after_a_day_stripe_is_asked_and_nothing_is_sent(
    shop: Shop, fault: Any, outcome: str, result: str
) -> None:
    renewal, case = await opened(shop, "insufficient_funds", outcome)
    await shop.control.advance(3600)
    await shop.control.fault(fault, service="stripe", path=PAY, times=3)
    with pytest.raises(ApplicationError):
        await shop.run(shop.billing.charge, charge(case.ref))
    await shop.control.advance(25 * 3600)
    known = len(await shop.charges(renewal.invoice))
    done = await shop.run(shop.billing.charge, charge(case.ref), attempt=9)
    assert done.result == result
    assert len(await shop.charges(renewal.invoice)) == known
    if result == "unknown":  # the core goes on with a new number
        assert (await shop.run(shop.billing.charge, charge(case.ref, 2))).result == "succeeded"


async def test_a_charge_of_another_attempt_is_no_witness_for_a_lost_one(shop: Shop) -> None:
    renewal, case = await opened(shop, "insufficient_funds", "do_not_honor", "succeeded")
    assert (await shop.run(shop.billing.charge, charge(case.ref, 1))).result == "declined"
    await shop.control.advance(DAY)
    await shop.control.fault("drop_before", service="stripe", path=PAY, times=3)
    with pytest.raises(ApplicationError):
        await shop.run(shop.billing.charge, charge(case.ref, 2))
    await shop.control.advance(25 * 3600)
    assert (await shop.run(shop.billing.charge, charge(case.ref, 2), attempt=2)).result == "unknown"
    assert len(await shop.charges(renewal.invoice)) == 1


async def test_a_key_that_stripe_knows_for_another_request_is_never_forced(shop: Shop) -> None:
    renewal, case = await opened(shop, "insufficient_funds", "do_not_honor", "succeeded")
    await shop.stripe.invoices.update_async(
        renewal.invoice,
        {"metadata": {"from": "an engine with an older ledger"}},
        {"idempotency_key": f"dunning-acct-{renewal.invoice}-1"},
    )
    assert (await shop.run(shop.billing.charge, charge(case.ref, 1))).result == "unknown"
    assert await shop.charges(renewal.invoice) == []


async def test_a_charge_by_hand_counts_as_asked_for_by_the_customer(shop: Shop) -> None:
    _, case = await opened(shop, "insufficient_funds", "succeeded")
    seen: Order = order(case.ref, Charge(number=1, blind=False))
    done: Charged = await shop.run(shop.billing.charge, seen)
    assert (done.result, done.blind) == ("succeeded", False)
