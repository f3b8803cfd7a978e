"""Within the limits: every charge of a card counts, a ban holds for all invoices, one charge at a time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from activities.witness import lock_of, planned, reached_network
from dunning.case import CaseState, Charged
from dunning.decision import Charge
from dunning.facts import Failure, Invoice, Method
from dunning.values import Stage, WaitingOn
from ledger.records import CaseSummary
from tests.activities.shop import Renewal, Shop, charge, order

AT = datetime(2026, 3, 2, 10, tzinfo=UTC)
DAY = 86_400.0
PAY = r"/v1/invoices/[^/]+/pay$"


async def opened(shop: Shop, *outcomes: str, **renewal: Any) -> tuple[Renewal, CaseState]:
    failed = await shop.renewal(*outcomes, **renewal)
    return failed, await shop.open(failed.invoice)


async def charged(shop: Shop, case: CaseState, number: int = 1, **more: Any) -> Charged:
    return await shop.run(shop.billing.charge, charge(case.ref, number, **more))


async def another_invoice(shop: Shop, renewal: Renewal) -> CaseState:
    """The subscription's next invoice, which fails too."""
    return await shop.open((await shop.control.renew(renewal.subscription))["id"])


# --- what counts --------------------------------------------------------------------------------------


async def test_stripe_s_own_attempt_counts_and_the_slot_is_free_after_a_day(shop: Shop) -> None:
    renewal, case = await opened(shop, "insufficient_funds", "succeeded")
    (failed,) = await shop.ledger.charges.of_invoice("", renewal.invoice)
    assert (failed.status, failed.decline_class, failed.reached_network) == ("failed", "soft", True)

    early = await charged(shop, case)
    assert (early.result, early.retry_at) == ("postponed", failed.at + timedelta(days=1))
    assert "refusals by the bank with this card" in early.words
    assert await shop.ledger.attempts.of_case(case.ref.case_id) == ()
    assert await shop.charges(renewal.invoice) == []

    await shop.control.advance(DAY)
    assert (await charged(shop, case)).result == "succeeded"


async def test_a_success_is_known_by_stripe_s_time_as_refusals_are(shop: Shop) -> None:
    """What was refused after it counts, although the answer of the success came later still."""
    renewal, case = await opened(shop, "insufficient_funds", "succeeded")
    await shop.control.advance(DAY)
    slow = timedelta(seconds=40)
    assert (await shop.run(shop.billing.charge, charge(case.ref, 1), later=slow)).result == "succeeded"

    (attempt,) = await shop.ledger.attempts.of_case(case.ref.case_id)
    told = await shop.stripe.invoices.retrieve_async(renewal.invoice)
    assert told.status_transitions.paid_at is not None
    assert attempt.charged_at == datetime.fromtimestamp(told.status_transitions.paid_at, UTC)


async def test_a_charge_on_another_invoice_of_the_same_card_counts(shop: Shop) -> None:
    first, older = await opened(shop, "insufficient_funds", card={"fingerprint": "fp_shared"})
    second, other = await opened(shop, "insufficient_funds", "succeeded", card={"fingerprint": "fp_shared"})
    await shop.control.advance(DAY)
    assert (await charged(shop, older)).result == "declined"
    assert (await charged(shop, other)).result == "postponed"
    assert await shop.charges(second.invoice) == []
    assert len(await shop.charges(first.invoice)) == 1


async def test_after_a_success_the_next_invoice_follows_at_once(shop: Shop) -> None:
    renewal, older = await opened(shop, "insufficient_funds", "insufficient_funds", "succeeded", "succeeded")
    younger = await another_invoice(shop, renewal)
    await shop.control.advance(DAY)
    assert (await charged(shop, older)).result == "succeeded"
    assert (await charged(shop, younger)).result == "succeeded"


async def test_what_stripe_kept_from_the_network_gives_its_slot_back(shop: Shop) -> None:
    _, case = await opened(shop, "insufficient_funds", "low_probability_of_authorization", "succeeded")
    await shop.control.advance(DAY)
    blocked = await charged(shop, case)
    assert blocked.result == "declined"
    (row,) = await shop.ledger.attempts.of_case(case.ref.case_id)
    assert (row.reached_network, row.lock) == (False, None)
    assert (await charged(shop, case, 2)).result == "succeeded"


async def test_three_technical_failures_a_day_are_enough(shop: Shop) -> None:
    _, case = await opened(shop, *["processing_error"] * 3, "succeeded")
    assert [(await charged(shop, case, n)).result for n in (1, 2, 3)] == ["declined", "declined", "postponed"]


async def test_the_customer_on_the_hosted_page_counts_too(shop: Shop) -> None:
    renewal, case = await opened(shop, "insufficient_funds", "do_not_honor", "succeeded")
    await shop.control.advance(DAY)
    with pytest.raises(Exception, match="declined"):
        await shop.stripe.invoices.pay_async(renewal.invoice, {"payment_method": renewal.method})
    assert (await charged(shop, case)).result == "postponed"
    assert len(await shop.ledger.charges.of_invoice("", renewal.invoice)) == 2
    assert await shop.read(case.ref)
    assert (
        len(await shop.ledger.charges.of_invoice("", renewal.invoice)) == 2
    )  # once, however often it is seen


async def test_the_engine_s_own_charges_are_not_taken_for_stripe_s(shop: Shop) -> None:
    renewal, case = await opened(shop, "insufficient_funds", "do_not_honor", "succeeded")
    await shop.control.advance(DAY)
    await charged(shop, case)
    await shop.read(case.ref)
    assert len(await shop.ledger.charges.of_invoice("", renewal.invoice)) == 1


async def test_a_debit_that_is_returned_days_later_is_the_attempt_s_own_end(shop: Shop) -> None:
    renewal, case = await opened(shop, "insufficient_funds", "processing")
    await shop.control.advance(DAY)
    assert (await charged(shop, case)).result == "processing"
    await shop.control.advance(3 * DAY)
    await shop.control.settle(renewal.invoice, "insufficient_funds")
    await shop.read(case.ref)
    (row,) = await shop.ledger.attempts.of_case(case.ref.case_id)
    assert (row.outcome, row.decline_class) == ("declined", "soft")
    assert len(await shop.ledger.charges.of_invoice("", renewal.invoice)) == 1


async def test_in_shadow_the_limits_are_asked_and_nothing_is_used_up(shop: Shop) -> None:
    _, case = await opened(shop, "insufficient_funds", "succeeded")
    assert (await charged(shop, case, shadow=True)).result == "postponed"
    await shop.control.advance(DAY)
    assert (await charged(shop, case, shadow=True)).result == "shadow"
    assert (await charged(shop, case, 2)).result == "succeeded"


async def test_a_card_from_india_is_left_to_its_customer(shop: Shop) -> None:
    method = Method(id="pm_1", fingerprint="fp_1", brand="visa", country="IN")
    facts = Invoice(id="in_1", read_at=AT, status="open", amount_remaining=1900, currency="inr")
    for blind in (True, False):  # off-session the bank refuses whoever asks for it
        slot = await shop.ledger.attempts.slot("", planned(method, facts, facts.read_at, blind=blind))
        assert (slot.granted, slot.until, slot.rule) == (False, None, "india")


# --- bans ---------------------------------------------------------------------------------------------


async def test_a_hard_decline_bans_the_card_for_every_invoice_and_tells_the_siblings(shop: Shop) -> None:
    renewal, older = await opened(shop, "insufficient_funds", "insufficient_funds", "stolen_card")
    younger = await another_invoice(shop, renewal)
    await shop.control.advance(DAY)
    dead = await charged(shop, older)
    assert dead.siblings == (f"invoice-dunning/{younger.ref.invoice_id}",)

    seen = await shop.read(younger.ref)
    assert seen.method_lock is not None
    assert "never to charge this card again" in seen.method_lock
    await shop.control.advance(40 * DAY)
    again = await charged(shop, younger)
    assert (again.result, again.retry_at) == ("forbidden", None)
    assert again.method is not None
    assert await shop.charges(younger.ref.invoice_id) == []


async def test_a_ban_that_stripe_s_own_attempt_brought_holds_as_well(shop: Shop) -> None:
    _, case = await opened(shop, "do_not_honor/do_not_try_again/43")
    assert case.invoice.method_lock is not None
    await shop.control.advance(DAY)
    assert (await charged(shop, case)).result == "forbidden"


async def test_another_card_is_not_banned(shop: Shop) -> None:
    renewal, case = await opened(shop, "stolen_card")
    new = await shop.card(renewal.customer, "succeeded")
    await shop.stripe.subscriptions.update_async(renewal.subscription, {"default_payment_method": new})
    assert (await shop.read(case.ref)).method_lock is None
    done = await shop.run(shop.billing.charge, order(case.ref, Charge(number=1, blind=False)))
    assert done.result == "succeeded"


async def test_an_expired_card_is_banned_until_it_has_another_expiry(shop: Shop) -> None:
    renewal, case = await opened(shop, "expired_card/confirm_card_data/54", "succeeded")
    assert case.invoice.method_lock is not None
    assert "another expiry" in case.invoice.method_lock
    await shop.control.advance(2 * DAY)
    assert (await charged(shop, case)).result == "forbidden"
    await shop.control.automatic_update(renewal.method, 11, 2033)
    assert (await shop.read(case.ref)).method_lock is None
    assert (await charged(shop, case, 2)).result == "succeeded"


async def test_a_success_tells_the_siblings_that_it_is_their_turn(shop: Shop) -> None:
    renewal, older = await opened(shop, "insufficient_funds", "insufficient_funds", "succeeded")
    younger = await another_invoice(shop, renewal)
    await shop.control.advance(DAY)
    done = await charged(shop, older)
    assert (done.result, done.siblings) == ("succeeded", (f"invoice-dunning/{younger.ref.invoice_id}",))


VISA = Method(id="pm_1", fingerprint="fp_1", brand="visa")
MASTERCARD = VISA.model_copy(update={"brand": "mastercard"})


@pytest.mark.parametrize(
    ("lock", "method", "codes"),
    [
        (None, VISA, {"decline_code": "insufficient_funds", "network_decline_code": "51"}),
        ("card", VISA, {"decline_code": "do_not_honor", "network_decline_code": "R1"}),
        ("card", MASTERCARD, {"decline_code": "generic_decline", "network_advice_code": "03"}),
        ("card", MASTERCARD, {"decline_code": "generic_decline", "network_advice_code": "21"}),
        ("card", MASTERCARD, {"decline_code": "insufficient_funds", "network_advice_code": "41"}),
        ("card", VISA, {"decline_code": "stolen_card", "advice_code": "confirm_card_data"}),
        ("expiry", VISA, {"decline_code": "expired_card"}),
        ("expiry", VISA, {"decline_code": "generic_decline", "network_decline_code": "54"}),
        ("expiry", VISA, {"decline_code": "generic_decline", "advice_code": "confirm_card_data"}),
        # What docs.stripe.com/declines/card shows for an expired card.
        ("expiry", MASTERCARD, {"decline_code": "expired_card", "network_advice_code": "03",
                                "network_decline_code": "54", "advice_code": "confirm_card_data"}),
        ("card", MASTERCARD, {"decline_code": "expired_card", "network_advice_code": "21"}),
        (None, VISA, {"outcome_reason": "highest_risk_level", "network_status": "not_sent_to_network"}),
    ],
)  # fmt: skip
def test_what_an_answer_forbids(lock: str | None, method: Method, codes: dict[str, Any]) -> None:
    failure = Failure(at=AT, charge="ch_1", code="card_declined", method=method, **codes)
    assert lock_of(failure) == lock


def test_what_never_left_stripe_did_not_reach_the_network() -> None:
    assert reached_network(Failure(at=AT, charge="ch_1", network_status="declined_by_network"))
    assert reached_network(Failure(at=AT, charge="ch_1"))  # nothing says that it did not
    assert not reached_network(Failure(at=AT, charge="ch_1", network_status="not_sent_to_network"))
    assert not reached_network(Failure(at=AT, code="invoice_payment_intent_requires_action"))


# --- one customer at a time ---------------------------------------------------------------------------


async def test_two_invoices_of_a_customer_are_charged_one_after_the_other(shop: Shop) -> None:
    renewal, older = await opened(shop, "insufficient_funds", "insufficient_funds", "succeeded", "succeeded")
    younger = await another_invoice(shop, renewal)
    await shop.control.advance(DAY)
    gate = await shop.control.fault("pause", service="stripe", path=PAY, times=1)
    first = asyncio.create_task(charged(shop, older))
    await shop.control.held(gate)

    waits = await charged(shop, younger)
    assert waits.result == "postponed"
    assert waits.retry_at == waits.at + timedelta(minutes=1)
    assert older.ref.invoice_id in waits.words

    second = asyncio.create_task(charged(shop, younger))
    await shop.control.release(gate)
    assert (await first).result == "succeeded"
    assert (await second).result == "succeeded"  # it waited for its turn, not for a minute


async def test_who_waited_for_its_turn_charges_nothing_that_its_case_has_put_off(shop: Shop) -> None:
    """Temporal gave the try up for lost, another one came to its end; the first one still runs."""
    renewal, older = await opened(shop, "insufficient_funds", "insufficient_funds", "succeeded", "succeeded")
    younger = await another_invoice(shop, renewal)
    await shop.control.advance(DAY)
    gate = await shop.control.fault("pause", service="stripe", path=PAY, times=1)
    first = asyncio.create_task(charged(shop, older))
    await shop.control.held(gate)
    straggler = asyncio.create_task(charged(shop, younger))

    at = await shop.control.now()
    put_off = CaseSummary(
        at=at,
        stage=Stage.RECOVERING,
        amount_remaining=1900,
        waiting_on=WaitingOn.RETRY,
        next_at=at + timedelta(days=1),
    )
    await shop.ledger.cases.remember(younger.ref.case_id, 0, [], put_off)
    await shop.control.release(gate)

    assert (await first).result == "succeeded"
    late = await straggler
    assert (late.result, late.words) == ("postponed", "its case has decided something else meanwhile")
    assert await shop.ledger.attempts.of_case(younger.ref.case_id) == ()


async def test_the_oldest_invoice_that_is_due_goes_first(shop: Shop) -> None:
    renewal, older = await opened(shop, "insufficient_funds", "insufficient_funds", "succeeded", "succeeded")
    younger = await another_invoice(shop, renewal)
    await shop.control.advance(DAY)
    at = await shop.control.now()
    due = CaseSummary(
        at=at, stage=Stage.RECOVERING, amount_remaining=1900, waiting_on=WaitingOn.RETRY, next_at=at
    )
    await shop.ledger.cases.remember(older.ref.case_id, 0, [], due)

    waits = await charged(shop, younger)
    words = f"the customer's older invoice {older.ref.invoice_id} is charged first"
    assert (waits.result, waits.words) == ("postponed", words)
    await shop.ledger.cases.remember(older.ref.case_id, 0, [], replace(due, next_action="charge"))
    assert (await charged(shop, older)).result == "succeeded"

    await shop.control.advance(700)  # a case that does not move holds nobody up for long
    assert (await charged(shop, younger)).result == "succeeded"


async def test_an_older_invoice_whose_turn_is_days_away_holds_nobody_up(shop: Shop) -> None:
    renewal, older = await opened(shop, "insufficient_funds", "insufficient_funds", "succeeded", "succeeded")
    younger = await another_invoice(shop, renewal)
    await shop.control.advance(DAY)
    at = await shop.control.now()
    later = CaseSummary(
        at=at, stage=Stage.RECOVERING, amount_remaining=1900, waiting_on=WaitingOn.RETRY,
        next_at=at + timedelta(days=2),
    )  # fmt: skip
    await shop.ledger.cases.remember(older.ref.case_id, 0, [], later)
    assert (await charged(shop, younger)).result == "succeeded"
