"""Early warning at work: who rises gets the policy for it, and the business hears of it once."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest_asyncio
from temporalio.testing import ActivityEnvironment

from activities.endpoints import Endpoints
from activities.events import EventDeliveries
from activities.posting import Poster
from activities.watching import RiskWatch
from dunning.endpoints import DeliveryOrder, Endpoint
from dunning.forecast import forecast
from dunning.risk import Reviewed, ReviewOrder
from tests.activities.shop import Shop
from tests.fixtures.backend import SECRET, Backend, hearing


@pytest_asyncio.fixture
async def backend() -> AsyncIterator[Backend]:
    """A system of the business."""
    async with hearing() as listens:
        yield listens


@pytest_asyncio.fixture
async def telling(shop: Shop, backend: Backend) -> Shop:
    """A shop that tells the backend everything."""
    listed = [Endpoint(name="backend", url=backend.url)]
    endpoints = Endpoints.of(listed, [("backend", SECRET)], loopback=True)
    return Shop(shop.control, dataclasses.replace(shop.deps, endpoints=endpoints))


async def flagged(shop: Shop, customer: str, at: datetime, *names: str) -> None:
    """The business's own systems post flags of a customer."""
    for name in names:
        await shop.ledger.risks.told(
            account="", customer=customer, kind="backend", key=name, at=at, by="crm", text=f"{name}: Ada left"
        )


async def review(shop: Shop) -> Reviewed:
    """The daily look at all customers."""
    return await shop.run(RiskWatch(shop.deps).review_risks, ReviewOrder())


async def deliver(shop: Shop) -> None:
    """Carry what waits in the outbox to the backend."""
    deliveries = EventDeliveries(shop.ledger, shop.deps.endpoints, Poster(loopback=True))
    for waiting in await shop.ledger.outbox.pending():
        order = DeliveryOrder(event_id=waiting.event_id, endpoint=waiting.endpoint)
        assert (await ActivityEnvironment().run(deliveries.deliver_event, order)).state == "delivered"


async def test_the_business_hears_of_each_rise_once(telling: Shop, backend: Backend) -> None:
    shop, now = telling, await telling.control.now()
    await flagged(shop, "cus_1", now, "usage_drop")
    assert (await review(shop)).raised == 1
    assert shop.deps.news.is_set()  # the relay looks at once
    assert (await review(shop)).raised == 0  # the answer of the first try got lost
    await flagged(shop, "cus_1", now, "cut_seats")
    assert (await review(shop)).raised == 1
    await deliver(shop)

    assert backend.types == ["risk.raised", "risk.raised"]
    assert len(set(backend.ids)) == 2
    first, second = (event["data"] for event in backend.events)
    assert (first["before"], first["level"]) == ("none", "elevated")
    assert (second["before"], second["level"]) == ("elevated", "high")
    assert {fact for flag in second["flags"] for fact in flag["facts"]} == {
        "signals/backend/usage_drop",
        "signals/backend/cut_seats",
    }
    assert not re.search(r"\bAda", str(backend.events))  # within an id it is chance


async def test_a_rise_that_the_opening_of_a_case_sees_is_told_too(telling: Shop, backend: Backend) -> None:
    renewal = await telling.renewal("insufficient_funds")
    await flagged(telling, renewal.customer, await telling.control.now(), "usage_drop")
    await telling.open(renewal.invoice)
    await telling.open(renewal.invoice)  # tried again
    await deliver(telling)
    assert [(e["type"], e["data"]["customer"]) for e in backend.events] == [("risk.raised", renewal.customer)]


async def test_a_high_risk_chooses_the_policy_of_its_segment(shop: Shop, policies: Path) -> None:
    """That one writes early; everybody else hears nothing for three days."""
    shipped = (Path("dunning") / "policies" / "standard.yaml").read_text(encoding="utf-8")
    careful = shipped.replace("name: standard", "name: careful").replace("retryable: 3d", "retryable: 0d")
    (policies / "careful.yaml").write_text(careful, encoding="utf-8")
    segments = "segments:\n  - {policy: careful, when: {risk_at_least: high}}\n"
    (policies / "segments.yaml").write_text(segments, encoding="utf-8")
    now, chosen, written = await shop.control.now(), {}, {}
    risks = {"high": ("usage_drop", "cut_seats"), "elevated": ("usage_drop",), "none": ()}
    for level, flags in risks.items():
        renewal = await shop.renewal("insufficient_funds")
        await flagged(shop, renewal.customer, now, *flags)
        state = await shop.open(renewal.invoice)
        record = await shop.ledger.cases.get(state.ref.case_id)
        assert record is not None
        assert state.risk == level
        expected = forecast(state, shop.deps.policies.load(record.policy_name), now)
        chosen[level] = record.policy_name
        written[level] = next(step.at for step in expected if step.what == "send/first_notice/email")
    assert chosen == {"high": "careful", "elevated": "standard", "none": "standard"}
    assert written["high"] < written["elevated"] - timedelta(days=1)
