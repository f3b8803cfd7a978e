"""`GET /api/v1/customers/{id}/notices`, asked by the front end of the business."""

from __future__ import annotations

from typing import Any

from tests.fixtures.temporal import eventually
from tests.starter.conftest import Engine


async def shown(engine: Engine, customer: str, **asked: str) -> list[dict[str, Any]]:
    """What the front end is told."""
    answer = await engine.http.get(f"/api/v1/customers/{customer}/notices", params=asked)
    assert answer.status_code == 200, answer.text
    notices: list[dict[str, Any]] = answer.json()["notices"]
    return notices


async def test_nothing_is_shown_while_the_retries_are_silent(engine: Engine) -> None:
    renewal = await engine.case("insufficient_funds")
    assert await shown(engine, renewal.customer) == []


async def test_a_notice_appears_with_the_first_message_and_goes_with_the_payment(engine: Engine) -> None:
    renewal = await engine.case("expired_card")

    async def is_shown() -> bool:
        return bool(await shown(engine, renewal.customer))

    await eventually(is_shown, "the notice appears")
    (notice,) = await shown(engine, renewal.customer, locale="de")
    assert (notice["kind"], notice["blocking"], notice["stage"]) == ("payment_failed", False, "recovering")
    assert (notice["invoice_id"], notice["amount_remaining"], notice["currency"]) == (
        renewal.invoice,
        1900,
        "usd",
    )
    assert "19,00" in notice["text"]

    await engine.shop.pay_by_hand(renewal.invoice)
    await engine.tell("invoice.paid", {"id": renewal.invoice, "object": "invoice"})
    await engine.client.result(renewal.invoice)
    assert await shown(engine, renewal.customer) == []


async def test_a_customer_nobody_knows_owes_nothing(engine: Engine) -> None:
    assert await shown(engine, "cus_unknown") == []
    assert (await engine.http.get("/api/v1/customers/ada/notices")).status_code == 422
    asked = {"locale": "../../etc"}
    assert (await engine.http.get("/api/v1/customers/cus_1/notices", params=asked)).status_code == 422
