"""Money that comes past the engine, at a Stripe that speaks HTTP: what remains is what is charged, once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from dunning.case import CaseState
from tests.activities.shop import Renewal, Shop, charge

PAY = r"/v1/invoices/[^/]+/pay$"
OWED = 1900
Act = Callable[[Shop, Renewal], Awaitable[None]]


async def opened(shop: Shop) -> tuple[Renewal, CaseState]:
    renewal = await shop.renewal("insufficient_funds", "succeeded")
    case = await shop.open(renewal.invoice)
    await shop.control.advance(86_400.0)
    return renewal, case


async def credits_a_part(shop: Shop, renewal: Renewal) -> None:
    await shop.stripe.credit_notes.create_async({"invoice": renewal.invoice, "amount": 1200})


async def credits_all(shop: Shop, renewal: Renewal) -> None:
    await shop.stripe.credit_notes.create_async({"invoice": renewal.invoice, "amount": OWED})


async def pays_a_part(shop: Shop, renewal: Renewal) -> None:
    await _pays(shop, renewal, 1200)


async def pays_all_elsewhere_at_stripe(shop: Shop, renewal: Renewal) -> None:
    await _pays(shop, renewal, OWED)


async def pays_out_of_band(shop: Shop, renewal: Renewal) -> None:
    await shop.pay_by_hand(renewal.invoice)


async def voids(shop: Shop, renewal: Renewal) -> None:
    await shop.stripe.invoices.void_invoice_async(renewal.invoice)


async def _pays(shop: Shop, renewal: Renewal, amount: int) -> None:
    card = await shop.card(renewal.customer, "succeeded")
    payment = await shop.stripe.payment_intents.create_async(
        {"amount": amount, "currency": "usd", "customer": renewal.customer, "payment_method": card,
         "confirm": True, "off_session": True}
    )  # fmt: skip
    assert payment.status == "succeeded"
    await shop.stripe.invoices.attach_payment_async(renewal.invoice, {"payment_intent": payment.id})


async def taken(shop: Shop, renewal: Renewal) -> list[int]:
    """The amounts that the engine took, in minor units."""
    return [row["amount"] for row in await shop.charges(renewal.invoice) if row["status"] == "succeeded"]


@pytest.mark.parametrize("act", [credits_a_part, pays_a_part])
async def test_only_what_remains_is_charged(shop: Shop, act: Act) -> None:
    renewal, case = await opened(shop)
    await act(shop, renewal)
    assert (await shop.read(case.ref)).amount_remaining == 700
    done = await shop.run(shop.billing.charge, charge(case.ref))
    assert (done.result, await taken(shop, renewal)) == ("succeeded", [700])
    (row,) = await shop.ledger.attempts.of_case(case.ref.case_id)
    assert row.amount == 700


@pytest.mark.parametrize("act", [credits_a_part, pays_a_part])
async def test_a_part_that_comes_at_the_same_instant_is_not_taken_twice(shop: Shop, act: Act) -> None:
    renewal, case = await opened(shop)
    gate = await shop.control.fault("pause", service="stripe", path=PAY, times=1)
    ours = asyncio.create_task(shop.run(shop.billing.charge, charge(case.ref)))
    await shop.control.held(gate)
    await act(shop, renewal)
    await shop.control.release(gate)
    assert ((await ours).result, await taken(shop, renewal)) == ("succeeded", [700])


@pytest.mark.parametrize(
    ("act", "status", "credited", "out_of_band"),
    [
        (credits_all, "paid", True, False),
        (pays_all_elsewhere_at_stripe, "paid", False, False),
        (pays_out_of_band, "paid", False, True),
        (voids, "void", False, False),
    ],
)
@pytest.mark.parametrize("at_the_same_instant", [False, True])
async def test_what_is_settled_is_not_charged(
    shop: Shop, act: Act, status: str, credited: bool, out_of_band: bool, at_the_same_instant: bool
) -> None:
    renewal, case = await opened(shop)
    if at_the_same_instant:
        gate = await shop.control.fault("pause", service="stripe", path=PAY, times=1)
        ours = asyncio.create_task(shop.run(shop.billing.charge, charge(case.ref)))
        await shop.control.held(gate)
        await act(shop, renewal)
        await shop.control.release(gate)
        done = await ours
    else:
        await act(shop, renewal)
        done = await shop.run(shop.billing.charge, charge(case.ref))
    assert (done.result, await taken(shop, renewal)) == ("not_needed", [])
    facts = await shop.read(case.ref)
    assert (facts.status, facts.credited, facts.paid_out_of_band) == (status, credited, out_of_band)
