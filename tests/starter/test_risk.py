"""Early warning from end to end: Stripe's events and the backend's flags, the review, what people see."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from dunning.risk import Reviewed
from starter.webhooks.signals import signals_of
from starter.webhooks.stripe import StripeEvent
from tests.fixtures.temporal import eventually
from tests.starter.conftest import Engine


def items(amount: int, interval: str = "month", count: int = 1) -> dict[str, Any]:
    recurring = {"interval": interval, "interval_count": count}
    return {"data": [{"quantity": 1, "price": {"unit_amount": amount, "recurring": recurring}}]}


@pytest.mark.parametrize(
    ("previous", "object", "kinds"),
    [
        ({"items": items(2000)}, {"items": items(1000)}, ["downgraded"]),
        ({"items": items(1000)}, {"items": items(2000)}, []),
        ({"items": items(12000, "year")}, {"items": items(1000)}, ["monthly_after_yearly"]),
        ({"items": items(24000, "year")}, {"items": items(1000)}, ["downgraded", "monthly_after_yearly"]),
        ({"items": items(3000, count=3)}, {"items": items(1000)}, []),
        ({"pause_collection": None}, {"pause_collection": {"behavior": "void"}}, ["paused"]),
        ({"pause_collection": {"behavior": "void"}}, {"pause_collection": None}, []),
        ({"items": {"data": [{"price": "nonsense"}]}}, {"items": items(1000)}, []),
        ({}, {"items": items(1000)}, []),
    ],
)
async def test_what_a_change_of_a_subscription_tells(
    engine: Engine, previous: dict[str, Any], object: dict[str, Any], kinds: list[str]
) -> None:
    event = StripeEvent(
        id="evt_1",
        type="customer.subscription.updated",
        created=await engine.shop.control.now(),
        object={"customer": "cus_1"} | object,
        previous=previous,
    )
    assert [told.kind for told in signals_of(event)] == kinds


async def test_a_customer_rises_by_events_and_flags_and_everybody_sees_why(engine: Engine) -> None:
    renewal = await engine.case()
    changed = {"previous_attributes": {"items": items(2000)}, "object": {"customer": renewal.customer}}
    changed["object"] |= {"id": renewal.subscription, "items": items(1000)}
    told = await engine.tell("customer.subscription.updated", {}, data=changed)
    assert told.status_code == 200
    path = f"/api/v1/customers/{renewal.customer}"
    posted = await engine.http.post(f"{path}/flags", json={"name": "usage_drop", "text": "used a third"})
    assert posted.status_code == 202, posted.text
    before = (await engine.http.get(f"{path}/risk")).json()

    reviewed = await engine.temporal.execute_workflow(
        "RiskReview", id=f"risk-{uuid4().hex}", task_queue="dunning", result_type=Reviewed
    )

    shown = (await engine.http.get(f"{path}/risk")).json()
    assert reviewed.looked_at >= 1
    assert reviewed.raised >= 1
    assert (before["level"], shown["level"]) == ("none", "high")
    why = {flag["name"]: flag["facts"] for flag in shown["flags"]}
    assert set(why) == {"failed_recently", "downgraded", "backend"}
    assert why["backend"] == ["signals/backend/usage_drop"]


async def test_a_case_bears_the_risk_that_its_customer_had(engine: Engine) -> None:
    renewal = await engine.failed()
    path = f"/api/v1/customers/{renewal.customer}"
    assert (await engine.http.get(f"{path}/risk")).status_code == 404
    await engine.http.post(f"{path}/flags", json={"name": "usage_drop", "text": "used a third"})
    await engine.client.start(renewal.invoice)
    await engine.opened(renewal.invoice)

    async def shown() -> bool:
        described = await engine.handle(renewal.invoice).describe()
        found = {pair.key.name: pair.value for pair in described.typed_search_attributes}
        return found.get("DunningRisk") == "elevated"

    await eventually(shown, "the case bears the level")


@pytest.mark.parametrize("until", [512, "512", 1.5, True, "2027-01-01", "next week"])
async def test_a_flag_counts_until_a_moment_that_is_written_out(engine: Engine, until: object) -> None:
    flag = {"name": "usage_drop", "text": "used a third", "until": until}
    refused = await engine.http.post("/api/v1/customers/cus_1/flags", json=flag)
    assert refused.status_code == 422
    assert refused.json()["error"]["message"].startswith(
        ("until: write a moment with its zone", "until: Input should")
    )
    taken = await engine.http.post(
        "/api/v1/customers/cus_1/flags", json=flag | {"until": "2027-01-01T00:00:00Z"}
    )
    assert taken.status_code == 202
