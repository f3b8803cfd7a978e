"""Never twice: everything that can happen between two looks at Stripe has one defined end."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import re
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
import stripe
from temporalio.exceptions import ApplicationError

from activities.context import make_stripe
from activities.stripe_http import StripeHttp
from dunning.budget import Planned
from dunning.case import CaseState, Charged
from tests.activities.shop import Renewal, Shop, charge

DAY = 86_400.0
PAY = r"/v1/invoices/[^/]+/pay$"
READ = r"/v1/invoices/[^/]+$"


async def opened(shop: Shop, *outcomes: str) -> tuple[Renewal, CaseState]:
    renewal = await shop.renewal(*outcomes)
    case = await shop.open(renewal.invoice)
    await shop.control.advance(DAY)
    return renewal, case


async def charged(shop: Shop, case: CaseState, number: int = 1, **more: Any) -> Charged:
    return await shop.run(shop.billing.charge, charge(case.ref, number), **more)


async def money(shop: Shop, invoice: str) -> list[str]:
    """The charges that brought money for the invoice, whoever made them."""
    rows = (await shop.control.stripe_books())["charges"]
    return [row["id"] for row in rows if row["invoice"] == invoice and row["status"] == "succeeded"]


async def pays_on_the_hosted_page(shop: Shop, renewal: Renewal, outcome: str = "succeeded") -> None:
    card = await shop.card(renewal.customer, outcome)
    await shop.stripe.invoices.pay_async(renewal.invoice, {"payment_method": card, "off_session": False})


# --- at the same instant ------------------------------------------------------------------------------


async def test_a_customer_who_pays_on_the_hosted_page_at_the_same_instant_pays_once(shop: Shop) -> None:
    renewal, case = await opened(shop, "insufficient_funds", "succeeded")
    gate = await shop.control.fault("pause", service="stripe", path=PAY, times=1)
    ours = asyncio.create_task(charged(shop, case))  # it has read the invoice as open
    await shop.control.held(gate)
    await pays_on_the_hosted_page(shop, renewal)
    await shop.control.release(gate)

    done = await ours
    assert done.result == "not_needed"
    assert done.invoice is not None
    assert (done.invoice.status, done.invoice.paid_out_of_band) == ("paid", False)
    assert len(await money(shop, renewal.invoice)) == 1
    (row,) = await shop.ledger.attempts.of_case(case.ref.case_id)
    assert row.reached_network is False  # Stripe asked no bank for us


async def test_a_debit_that_the_customer_began_at_the_same_instant_is_waited_for(shop: Shop) -> None:
    renewal, case = await opened(shop, "insufficient_funds", "succeeded")
    gate = await shop.control.fault("pause", service="stripe", path=PAY, times=1)
    ours = asyncio.create_task(charged(shop, case))
    await shop.control.held(gate)
    await pays_on_the_hosted_page(shop, renewal, "processing")
    await shop.control.release(gate)

    assert (await ours).result == "processing"
    assert (await charged(shop, case, 2)).result == "processing"
    assert await shop.charges(renewal.invoice) == []


async def test_two_tries_of_one_attempt_at_once_are_one_charge(shop: Shop) -> None:
    renewal, case = await opened(shop, "insufficient_funds", "succeeded")
    gate = await shop.control.fault("pause", service="stripe", path=PAY, times=0)
    tries = [asyncio.create_task(charged(shop, case, attempt=n)) for n in (1, 2)]
    await shop.control.held(gate, 2)
    await shop.control.release(gate)
    ended = await asyncio.gather(*tries, return_exceptions=True)

    assert [e.result for e in ended if isinstance(e, Charged)]
    assert all(isinstance(e, Charged | ApplicationError) for e in ended)  # a 409 is tried again
    assert (await charged(shop, case, attempt=3)).result == "succeeded"
    assert len(await shop.charges(renewal.invoice)) == len(await money(shop, renewal.invoice)) == 1


async def test_a_conflict_is_tried_again_under_the_same_key(shop: Shop) -> None:
    renewal, case = await opened(shop, "insufficient_funds", "succeeded")
    answer = {"error": {"type": "invalid_request_error", "code": "idempotency_key_in_use", "message": "busy"}}
    await shop.control.fault("status", service="stripe", path=PAY, status=409, answer=answer, times=3)
    with pytest.raises(ApplicationError) as conflict:
        await charged(shop, case)
    assert conflict.value.type == "StripeUnreachable"
    assert (await charged(shop, case, attempt=2)).result == "succeeded"
    assert len(await shop.charges(renewal.invoice)) == 1


# --- a worker that died ---------------------------------------------------------------------------------


@pytest.mark.parametrize("arrived", [True, False])
async def test_a_worker_killed_in_the_middle_of_a_charge_makes_one_charge(shop: Shop, arrived: bool) -> None:
    renewal, case = await opened(shop, "insufficient_funds", "succeeded")
    kind: Literal["pause", "pause_after"] = "pause_after" if arrived else "pause"
    gate = await shop.control.fault(kind, service="stripe", path=PAY, times=1)
    dying = asyncio.create_task(charged(shop, case))
    await shop.control.held(gate)
    dying.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await dying
    await shop.control.release(gate)
    (row,) = await shop.ledger.attempts.of_case(case.ref.case_id)
    assert row.completed_at is None

    assert (await charged(shop, case, attempt=2)).result == "succeeded"
    assert len(await shop.charges(renewal.invoice)) == 1


async def test_an_attempt_that_was_lost_with_nothing_to_charge_is_decided_anew(shop: Shop) -> None:
    renewal, case = await opened(shop, "insufficient_funds", "succeeded")
    await shop.stripe.subscriptions.update_async(renewal.subscription, {"default_payment_method": ""})
    nothing = Planned(
        at=await shop.control.now(), fingerprint=None, amount=1900, currency="usd", invoice_id=renewal.invoice
    )
    await shop.ledger.attempts.reserve(  # where the worker died
        case_id=case.ref.case_id, account="", customer=renewal.customer, number=1, params={},
        planned=nothing, nothing_to_charge=True,
    )  # fmt: skip
    await shop.stripe.subscriptions.update_async(
        renewal.subscription, {"default_payment_method": renewal.method}
    )
    assert (await charged(shop, case, attempt=2)).result == "not_needed"
    assert (await charged(shop, case, 2)).result == "succeeded"


# --- after Stripe has forgotten the key -------------------------------------------------------------------


async def test_stripe_s_own_retry_is_not_taken_for_a_lost_attempt(shop: Shop) -> None:
    renewal, case = await opened(shop, "insufficient_funds", "do_not_honor", "insufficient_funds")
    await shop.control.fault("drop_after", service="stripe", path=PAY, times=3)
    with pytest.raises(ApplicationError):
        await charged(shop, case)
    later = await shop.control.now() + timedelta(hours=3)
    await shop.control.schedule_retries(renewal.invoice, [later])
    await shop.control.advance(25 * 3600)

    done = await charged(shop, case, attempt=9)
    assert done.failure is not None
    assert (done.result, done.failure.decline_code) == ("declined", "do_not_honor")
    await shop.read(case.ref)
    others = await shop.ledger.charges.of_invoice("", renewal.invoice)
    assert len(others) == 2  # the first failure, and the retry
    assert done.failure.charge not in {charge.charge_id for charge in others}


async def test_nothing_is_sent_again_when_the_key_is_about_to_be_forgotten(shop: Shop) -> None:
    renewal, case = await opened(shop, "insufficient_funds", "succeeded")
    await shop.control.fault("drop_before", service="stripe", path=PAY, times=3)
    with pytest.raises(ApplicationError):
        await charged(shop, case)
    await shop.control.advance(23.5 * 3600)
    assert (await charged(shop, case, attempt=9)).result == "unknown"
    assert await shop.charges(renewal.invoice) == []


async def test_a_lost_charge_that_paid_is_the_attempt_s_and_no_second_one_follows(shop: Shop) -> None:
    renewal, case = await opened(shop, "insufficient_funds", "succeeded")
    await shop.control.fault("drop_after", service="stripe", path=PAY, times=3)
    with pytest.raises(ApplicationError):
        await charged(shop, case)
    await shop.control.advance(25 * 3600)
    assert (await charged(shop, case, attempt=9)).result == "succeeded"
    (row,) = await shop.ledger.attempts.of_case(case.ref.case_id)
    assert [row.charge_id] == await money(shop, renewal.invoice)


# --- how much is owed -------------------------------------------------------------------------------------


class Retelling(StripeHttp):
    """The network between the engine and Stripe, which tells of open invoices what the sandbox cannot."""

    def __init__(self, **told: Any) -> None:
        super().__init__(5.0)
        self._told = told

    async def request_async(self, method: str, url: str, *args: Any, **more: Any) -> Any:
        content, status, headers = await super().request_async(method, url, *args, **more)
        if method == "get" and re.search(READ, urlsplit(url).path):
            content = json.dumps(json.loads(content) | self._told).encode()
        return content, status, headers


async def test_an_open_invoice_that_owes_nothing_any_more_is_not_charged(shop: Shop) -> None:
    """A credit note or a payment made elsewhere covers it, and Stripe has not closed it yet."""
    renewal, case = await opened(shop, "insufficient_funds", "succeeded")
    async with Retelling(amount_remaining=0) as http:
        client = make_stripe("sk_test_shop", http, api_base=shop.control.url)
        told = Shop(shop.control, dataclasses.replace(shop.deps, stripe=client))
        assert (await charged(told, case)).result == "not_needed"
    assert await shop.charges(renewal.invoice) == []


async def test_the_sdk_raises_what_the_sandbox_refuses(shop: Shop) -> None:
    """The premise of this file: a second payment of a paid invoice is refused by Stripe itself."""
    renewal, _ = await opened(shop, "insufficient_funds", "succeeded")
    await shop.pay_by_hand(renewal.invoice)
    with pytest.raises(stripe.InvalidRequestError):
        await shop.stripe.invoices.pay_async(renewal.invoice, {"payment_method": renewal.method})
