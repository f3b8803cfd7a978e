"""A backup card at Stripe: the customer's next card is charged once, and never becomes the default."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from dunning.case import CaseState, Charged
from dunning.decision import Charge
from dunning.retries import known_methods
from tests.activities.shop import Renewal, Shop, order


async def opened(shop: Shop, *backup: str, consent: str = "yes") -> tuple[Renewal, CaseState]:
    """A renewal that failed for good, of a customer with another card."""
    renewal = await shop.renewal("lost_card", metadata={"backup_consent": consent})
    if backup:
        await shop.card(renewal.customer, *backup)
    return renewal, await shop.open(renewal.invoice)


async def charged(shop: Shop, case: CaseState, **more: Any) -> Charged:
    action = Charge(number=1, backup=True, tried=known_methods(case))
    return await shop.run(shop.billing.charge, order(case.ref, action), **more)


async def test_the_next_card_pays_and_the_default_stays(shop: Shop) -> None:
    renewal, case = await opened(shop, "succeeded")
    assert case.invoice.backup_consent
    done = await charged(shop, case)
    assert (done.result, done.backup) == ("succeeded", True)
    assert (await shop.read(case.ref)).status == "paid"
    told = await shop.stripe.subscriptions.retrieve_async(renewal.subscription)
    assert told.default_payment_method == renewal.method
    assert done.method is not None
    assert done.method.id != renewal.method


async def test_a_decline_of_it_is_known_as_that_of_the_other_card(shop: Shop) -> None:
    _, case = await opened(shop, "insufficient_funds")
    done = await charged(shop, case)
    assert (done.result, done.backup) == ("declined", True)
    assert done.failure is not None
    assert done.failure.method is not None
    assert done.method is not None
    assert done.failure.method.identity == done.method.identity not in known_methods(case)


async def test_without_consent_nothing_is_charged_whoever_asks(shop: Shop) -> None:
    renewal, case = await opened(shop, "succeeded", consent="no")
    assert not case.invoice.backup_consent
    assert (await charged(shop, case)).result == "not_needed"
    assert await shop.charges(renewal.invoice) == []


async def test_without_another_card_nothing_is_charged(shop: Shop) -> None:
    renewal, case = await opened(shop)
    done = await charged(shop, case)
    assert (done.result, done.words) == ("not_needed", "there is none, or no consent to it")
    assert await shop.charges(renewal.invoice) == []


async def test_the_same_card_attached_twice_is_no_other_card(shop: Shop) -> None:
    renewal, case = await opened(shop)
    assert case.invoice.method is not None
    await shop.card(renewal.customer, "succeeded", fingerprint=case.invoice.method.fingerprint)
    assert (await charged(shop, case)).result == "not_needed"


async def test_a_try_that_got_lost_is_not_made_with_a_third_card(shop: Shop) -> None:
    renewal, case = await opened(shop, "succeeded")
    gate = await shop.control.fault("drop_after", service="stripe", path=r"/v1/invoices/[^/]+/pay$", times=3)
    with pytest.raises(ApplicationError):
        await charged(shop, case)
    await shop.control.remove_fault(gate)
    await shop.card(renewal.customer, "succeeded")  # it would be the next one now
    done = await charged(shop, case, attempt=2)
    assert (done.result, done.backup) == ("succeeded", True)
    assert len(await shop.charges(renewal.invoice)) == 1


async def test_a_card_that_a_network_forbids_is_not_charged_as_a_backup(shop: Shop) -> None:
    other, locked = await opened(shop, "stolen_card")
    assert (await charged(shop, locked)).result == "declined"
    known = (await shop.ledger.attempts.of_case(locked.ref.case_id))[0].fingerprint
    renewal, case = await opened(shop)
    await shop.card(renewal.customer, "succeeded", fingerprint=known)
    done = await charged(shop, case)
    assert (done.result, done.backup, done.method) == ("forbidden", True, None)
    assert await shop.charges(renewal.invoice) == []
    assert other.customer != renewal.customer
