"""Customers who pause, switch or cancel on the page: what happens at Stripe, and what the case does then."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx

from tests.fixtures.case import Case
from tests.fixtures.engine import Engine
from tests.page.conftest import Visitor, link_of

HARD = "expired_card"


async def visited(engine: Engine, case: Case, http: httpx.AsyncClient) -> Visitor:
    return await Visitor(http, await link_of(engine, case)).opens()


async def subscription(engine: Engine, case: Case) -> Any:
    return (await engine.stripe.subscriptions.retrieve_async(case.subscription)).to_dict()


async def credited(engine: Engine, case: Case) -> bool:
    """Whether anything was given back: a balance, or an invoice item of less than nothing."""
    customer = await engine.stripe.customers.retrieve_async(case.customer)
    items = await engine.stripe.invoice_items.list_async({"customer": case.customer})
    return bool(customer.balance) or any(item.amount < 0 for item in items.data)


async def subjects(engine: Engine, case: Case) -> list[str]:
    return [m.subject or "" for m in await engine.control.messages() if m.to == case.email]


class TestPause:
    async def test_bills_and_says_nothing_until_it_ends_and_then_the_case_goes_on(
        self, engine: Engine, http: httpx.AsyncClient
    ) -> None:
        case = await engine.case(HARD)
        page, before = await visited(engine, case, http), await case.record()
        assert before is not None
        assert before.last_day is not None
        await (await page.sends("pause")).sends("pause_yes")
        assert "Your subscription is paused until" in page.text
        await engine.settle()
        paused = (await subscription(engine, case))["pause_collection"]
        assert paused["behavior"] == "void"
        assert (await subjects(engine, case))[-1].startswith("Paused until")

        told = len(await subjects(engine, case))
        await case.until(29)
        assert len(await subjects(engine, case)) == told
        assert "Your subscription is paused until" in (await page.opens()).text
        await case.until(32)
        after = await case.record()
        assert after is not None
        assert after.last_day is not None
        assert after.last_day >= before.last_day + timedelta(days=30)
        assert not await credited(engine, case)

    async def test_is_taken_once_a_case(self, engine: Engine, http: httpx.AsyncClient) -> None:
        case = await engine.case(HARD)
        page = await visited(engine, case, http)
        form = (await page.sends("pause")).form("pause_yes")
        assert (await page.posts(form)).status == 200
        assert (await page.posts(form)).status == 200
        assert not (await page.opens()).offers("pause")
        levers = [entry for entry in await case.timeline() if entry.what == "pause_by_customer.done"]
        assert len(levers) == 1


class TestCancel:
    async def test_now_ends_the_case_credits_nothing_and_asks_what_went_wrong(
        self, engine: Engine, http: httpx.AsyncClient
    ) -> None:
        case = await engine.case(HARD)
        page = await visited(engine, case, http)
        await (await page.sends("cancel")).sends("cancel_yes")
        assert "Your subscription is canceled" in page.text
        await engine.settle()
        closing = await case.result()
        assert (closing.outcome, closing.reason) == ("canceled", "the customer canceled the subscription")
        assert (await subscription(engine, case))["status"] == "canceled"
        assert not await credited(engine, case)
        assert (await subjects(engine, case))[-1] == "Your cancellation"

        await page.opens(await link_of(engine, case))
        await page.sends("survey", reason="too_expensive", words="x" * 900)
        record = await case.record()
        assert record is not None
        (answer,) = await engine.ledger.surveys.of_case(record.id)
        assert (answer.reason, len(answer.text)) == ("too_expensive", 500)

    async def test_with_the_period_leaves_the_debt_as_it_is(
        self, engine: Engine, http: httpx.AsyncClient
    ) -> None:
        policy = engine.write_policy("patient", ("cancel: now", "cancel: at_period_end"))
        case = await engine.unannounced(HARD)
        await engine.start(case, policy=policy)
        page = await visited(engine, case, http)
        await (await page.sends("cancel")).sends("cancel_yes")
        assert "ends with the current period" in page.text
        await engine.settle()
        assert (await subscription(engine, case))["cancel_at_period_end"] is True
        record = await case.record()
        assert record is not None
        assert record.open
        assert not (await page.opens()).offers("cancel")

    async def test_is_not_offered_where_the_policy_says_never(
        self, engine: Engine, http: httpx.AsyncClient
    ) -> None:
        policy = engine.write_policy("strict", ("cancel: now", "cancel: never"))
        case = await engine.unannounced(HARD)
        await engine.start(case, policy=policy)
        assert not (await visited(engine, case, http)).offers("cancel")


class TestSwitch:
    async def test_to_a_plan_of_the_policy_is_confirmed_at_stripe(
        self, engine: Engine, http: httpx.AsyncClient
    ) -> None:
        price = await engine.stripe.prices.create_async(
            {
                "unit_amount": 900,
                "currency": "usd",
                "recurring": {"interval": "month"},
                "product_data": {"name": "Small plan"},
            }
        )
        policy = engine.write_policy("cheaper", ("switch_to: []", f"switch_to: [{price.id}]"))
        case = await engine.unannounced(HARD)
        await engine.start(case, policy=policy)
        page = await visited(engine, case, http)
        assert "Small plan, $9.00 a month" in page.text.replace("<bdi>", "").replace("</bdi>", "")
        await page.sends("switch")
        assert page.status == 303
        portal = page.headers["location"]
        assert (await subscription(engine, case))["items"]["data"][0]["price"]["id"] != price.id
        await engine.post_form(portal, {})
        assert (await subscription(engine, case))["items"]["data"][0]["price"]["id"] == price.id

    async def test_to_any_other_price_is_refused(self, engine: Engine, http: httpx.AsyncClient) -> None:
        page = await visited(engine, await engine.case(HARD), http)
        assert (await page.posts({"do": "switch", "price": "price_1", "seal": "x"})).status == 409
