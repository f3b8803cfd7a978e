"""Stripe's webhooks over HTTP: what they answer, and which cases they open and wake."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
from temporalio.client import Client

from dunning.values import Outcome
from ledger import Ledger
from starter.app import MOST_BYTES, create_app
from starter.errors import EngineUnavailable
from starter.settings import Settings
from starter.temporal import connect
from tests.fixtures.databases import Databases
from tests.fixtures.temporal import eventually
from tests.starter.conftest import SECRET, Engine, app_client


def invoice(id: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "object": "invoice", "billing_reason": "subscription_cycle", **more}


class TestFailures:
    async def test_a_failed_invoice_becomes_a_case(self, engine: Engine) -> None:
        renewal = await engine.failed()
        answer = await engine.tell("invoice.payment_failed", invoice(renewal.invoice))
        assert (answer.status_code, answer.json()) == (200, {"received": True, "result": "woken", "cases": 1})
        await engine.opened(renewal.invoice)
        status = await engine.client.status(renewal.invoice)
        assert status.stage == "recovering"
        assert [s["type"] for s in await engine.signals(renewal.invoice)] == ["invoice.payment_failed"]

    async def test_the_same_event_twice_opens_one_case(self, engine: Engine) -> None:
        renewal = await engine.failed()
        for _ in range(2):
            await engine.tell("invoice.payment_failed", invoice(renewal.invoice))
        await engine.opened(renewal.invoice)
        assert len(await engine.signals(renewal.invoice)) == 2
        page = await engine.ledger.cases.find(invoice=renewal.invoice)
        assert [c.episode for c in page.cases] == [1]

    async def test_a_first_invoice_is_left_to_the_checkout(self, engine: Engine) -> None:
        body = invoice("in_first", billing_reason="subscription_create")
        answer = await engine.tell("invoice.payment_failed", body)
        assert answer.status_code == 200
        assert answer.json()["result"] == "ignored"
        assert "first invoice" in answer.json()["why"]

    async def test_a_late_failure_does_not_reopen_what_a_person_stopped(self, engine: Engine) -> None:
        renewal = await engine.case()
        await engine.client.stop(renewal.invoice, reason="disputed by phone", by="maria")
        assert (await engine.client.result(renewal.invoice)).outcome is Outcome.STOPPED
        answer = await engine.tell("invoice.payment_failed", invoice(renewal.invoice))
        assert answer.json()["result"] == "ignored"
        assert "reopen" in answer.json()["why"]


class TestOtherEvents:
    async def test_a_payment_wakes_the_case_which_closes_itself(self, engine: Engine) -> None:
        renewal = await engine.case()
        await engine.shop.pay_by_hand(renewal.invoice)
        answer = await engine.tell("invoice.paid", invoice(renewal.invoice))
        assert answer.json() == {"received": True, "result": "woken", "cases": 1}
        closing = await engine.client.result(renewal.invoice)
        assert (closing.outcome, closing.recovered_via) == ("recovered", "out_of_band")

    async def test_a_new_card_wakes_the_open_cases_of_its_customer_only(self, engine: Engine) -> None:
        one, other = await engine.case(), await engine.case()
        card = {"id": "pm_9", "object": "payment_method", "customer": one.customer}
        answer = await engine.tell("payment_method.attached", card)
        assert answer.json()["cases"] == 1
        assert [s["type"] for s in await engine.signals(one.invoice)] == ["payment_method.attached"]
        assert await engine.signals(other.invoice) == []

    async def test_an_event_of_another_account_concerns_no_case_of_ours(self, engine: Engine) -> None:
        renewal = await engine.case()
        answer = await engine.tell("customer.updated", {"id": renewal.customer}, account="acct_other")
        assert answer.json()["result"] == "ignored"

    async def test_what_the_engine_caused_itself_wakes_nobody(self, engine: Engine) -> None:
        renewal = await engine.case()
        own = {"id": "req_1", "idempotency_key": f"dunning-acct-{renewal.invoice}-1"}
        answer = await engine.tell("invoice.payment_failed", invoice(renewal.invoice), request=own)
        assert answer.json()["result"] == "ignored"
        assert await engine.signals(renewal.invoice) == []

    async def test_an_event_nobody_needs_is_accepted(self, engine: Engine) -> None:
        assert (await engine.tell("product.created", {"id": "prod_1"})).status_code == 200

    async def test_a_signal_to_a_case_that_is_gone_is_accepted(self, engine: Engine) -> None:
        renewal = await engine.case()
        await engine.handle(renewal.invoice).terminate("by a test")
        answer = await engine.tell("customer.updated", {"id": renewal.customer})
        assert (answer.status_code, answer.json()["result"]) == (200, "gone")


class TestAfterTheEnd:
    async def test_a_payment_for_a_closed_case_that_still_suspends_restores_the_service(
        self, engine: Engine
    ) -> None:
        renewal = await engine.case()
        await engine.client.stop(renewal.invoice, reason="gave up", by="maria")
        await engine.client.result(renewal.invoice)
        suspension = {"account": "", "subscription": renewal.subscription}
        now = await engine.shop.control.now()
        await engine.ledger.suspensions.begin(
            **suspension, invoice_id=renewal.invoice, how="pause_collection", previous={}, at=now
        )
        await engine.ledger.suspensions.completed(**suspension, to="active", at=now)

        await engine.shop.pay_by_hand(renewal.invoice)
        answer = await engine.tell("invoice.paid", invoice(renewal.invoice))
        assert answer.json() == {"received": True, "result": "woken", "cases": 1}

        async def restored() -> bool:
            return await engine.ledger.suspensions.active(**suspension) is None

        await eventually(restored, "the subscription is restored")
        closing = await engine.client.result(renewal.invoice)
        assert closing.outcome is Outcome.RECOVERED
        found = await engine.ledger.cases.by_invoice("", renewal.invoice)
        assert found is not None
        assert found.episode == 2

    async def test_a_second_failure_after_the_end_opens_a_new_episode(self, engine: Engine) -> None:
        renewal = await engine.case()
        await engine.client.stop(renewal.invoice, reason="by mistake", by="maria", outcome="canceled")
        await engine.client.result(renewal.invoice)
        late = int((await engine.shop.control.now()).timestamp()) + 60
        answer = await engine.tell("invoice.payment_failed", invoice(renewal.invoice), created=late)
        assert answer.json()["result"] == "woken"

        async def again() -> bool:
            found = await engine.ledger.cases.by_invoice("", renewal.invoice)
            return found is not None and found.open and found.episode == 2

        await eventually(again, "the second episode opens")


class TestReportsOnPayments:
    async def test_a_refund_after_the_recovery_is_noted_once(self, engine: Engine) -> None:
        renewal = await engine.case("insufficient_funds", "succeeded")
        found = await engine.ledger.cases.by_invoice("", renewal.invoice)
        assert found is not None
        charge = await engine.paid_by_hand(renewal)
        refund = {"id": "re_1", "charge": charge, "amount": 500, "currency": "usd", "status": "succeeded"}
        answers = [(await engine.tell("refund.created", refund)).json() for _ in range(2)]
        assert [answer["result"] for answer in answers] == ["noted", "noted"]
        assert answers[1]["why"] == "its case is closed and knows it already"
        lines = [e for e in await engine.ledger.cases.entries(found.id) if e.by == "stripe"]
        assert [(e.what, e.data["amount"]) for e in lines] == [("recovery.refunded", 500)]
        assert 'type="refund.created"' in (await engine.http.get("/metrics")).text


class TestRefusals:
    async def test_a_wrong_signature(self, engine: Engine) -> None:
        answer = await engine.post("{}", secret="whsec_wrong")
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "bad_signature"

    async def test_an_old_signature(self, engine: Engine) -> None:
        answer = await engine.post("{}", at=int(time.time()) - 400)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_signature")

    async def test_no_signature(self, engine: Engine) -> None:
        assert (await engine.http.post("/webhooks/stripe", content=b"{}")).status_code == 400

    async def test_a_signed_body_that_is_no_event(self, engine: Engine) -> None:
        answer = await engine.post('["no event"]')
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "malformed")

    async def test_a_body_over_one_megabyte(self, engine: Engine) -> None:
        answer = await engine.post(json.dumps({"x": "y" * MOST_BYTES}))
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")

    async def test_an_endless_body_of_unknown_length(self, engine: Engine) -> None:
        async def endless() -> AsyncIterator[bytes]:
            for _ in range(40):
                yield b"x" * 50_000

        answer = await engine.http.post("/webhooks/stripe", content=endless())
        assert answer.status_code == 413

    async def test_another_method(self, engine: Engine) -> None:
        answer = await engine.http.get("/webhooks/stripe")
        assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")


class TestWhenSomethingIsAway:
    async def test_temporal_stripe_is_asked_to_deliver_again(self, engine: Engine) -> None:
        app = create_app(engine.settings, await _nowhere(engine.settings), engine.ledger)
        async with app_client(app) as http:
            answer = await _failure(http)
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
            assert answer.json()["error"]["code"] == "engine_unavailable"
            ready = await http.get("/readyz")
            assert ready.status_code == 503
            assert "Temporal" in ready.json()["checks"]["temporal"]
            assert ready.json()["checks"]["ledger"] == "ok"
            assert (await http.get("/healthz")).status_code == 200

    async def test_the_ledger_stripe_is_asked_to_deliver_again(
        self, engine: Engine, sqlite_databases: Databases
    ) -> None:
        url = sqlite_databases.ready()
        ledger = await Ledger.open(url)
        await _drop_tables(ledger)
        try:
            settings = engine.settings.model_copy(update={"database_url": url})
            async with app_client(create_app(settings, engine.temporal, ledger)) as http:
                answer = await _failure(http)
                assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
                assert "dunning_ledger_up 0.0" in (await http.get("/metrics")).text
                listed = await http.get("/api/v1/cases")
                assert (listed.status_code, listed.json()["error"]["code"]) == (503, "engine_unavailable")
        finally:
            await ledger.close()

    async def test_a_secret_is_not_configured(self, engine: Engine) -> None:
        settings = engine.settings.model_copy(update={"stripe_webhook_secret": ()})
        async with app_client(create_app(settings, engine.temporal, engine.ledger)) as http:
            answer = await http.post("/webhooks/stripe", content=b"{}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_configured")
            assert (await http.get("/readyz")).status_code == 503


async def test_a_case_restarted_after_termination_goes_on_in_the_same_episode(engine: Engine) -> None:
    renewal = await engine.case()
    await engine.handle(renewal.invoice).terminate("by a test")
    await engine.tell("invoice.payment_failed", invoice(renewal.invoice))

    async def answers() -> bool:
        try:
            return (await engine.client.status(renewal.invoice)).stage == "recovering"
        except EngineUnavailable:
            return False  # still being opened

    await eventually(answers, "the new run knows where it stands")
    found = await engine.ledger.cases.by_invoice("", renewal.invoice)
    assert found is not None
    assert (found.episode, found.open) == (1, True)


async def _failure(http: httpx.AsyncClient) -> httpx.Response:
    import stripe

    event = {
        "id": "evt_1",
        "type": "invoice.payment_failed",
        "created": 1793523600,
        "data": {"object": invoice("in_away")},
    }
    body = json.dumps(event)
    signature = stripe.WebhookSignature.generate_signature_header(body, SECRET)
    return await http.post("/webhooks/stripe", content=body, headers={"Stripe-Signature": signature})


async def _nowhere(settings: Settings) -> Client:
    """A client of a Temporal that does not exist."""
    away = settings.model_copy(update={"temporal_variables": {"TEMPORAL_ADDRESS": "127.0.0.1:1"}})
    return await connect(away, lazy=True)


async def _drop_tables(ledger: Ledger) -> None:
    from sqlalchemy import text

    async with ledger._database.write() as session:
        await session.execute(text("DROP TABLE entries"))
        await session.execute(text("PRAGMA foreign_keys = OFF"))
        await session.execute(text("ALTER TABLE cases RENAME TO gone"))
