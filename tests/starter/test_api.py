"""The HTTP API: cases over JSON, and who may use it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from dunning.levers import LEVERS
from starter.api import LEVER_SCOPES
from starter.app import create_app
from starter.settings import ApiKey, Scope
from tests.starter.conftest import Engine, app_client

KEYS: dict[Scope, str] = {"read": "key-of-the-dashboard", "support": "key-of-support", "admin": "key-of-ops"}


@pytest_asyncio.fixture
async def guarded(engine: Engine) -> AsyncIterator[httpx.AsyncClient]:
    """The app with a key of each scope, called from another machine."""
    keys = tuple(ApiKey(f"{s}-key", s, hashlib.sha256(k.encode()).hexdigest()) for s, k in KEYS.items())
    settings = engine.settings.model_copy(update={"dunning_api_keys": keys})
    async with app_client(create_app(settings, engine.temporal, engine.ledger), "203.0.113.7") as http:
        yield http


def key(scope: Scope) -> dict[str, str]:
    return {"Authorization": f"Bearer {KEYS[scope]}"}


class TestCases:
    async def test_are_started_shown_extended_and_stopped(self, engine: Engine) -> None:
        renewal = await engine.failed()
        started = await engine.http.post("/api/v1/cases", json={"invoice_id": renewal.invoice})
        assert started.status_code == 202
        assert started.json()["workflow_id"] == f"invoice-dunning/{renewal.invoice}"
        await engine.opened(renewal.invoice)
        path = f"/api/v1/cases/{renewal.invoice}"

        shown = (await engine.http.get(path)).json()
        assert (shown["stage"], shown["amount_remaining"], shown["currency"]) == ("recovering", 1900, "usd")
        assert shown["customer"] == renewal.customer

        payload = {"days": 7, "reason": "salary on Friday", "by": "maria"}
        granted = await engine.http.post(f"{path}/levers/grant_extension", json=payload)
        assert granted.status_code == 200, granted.text
        assert granted.json()["accepted"] is True
        assert (await engine.http.get(path)).json()["last_day"] > shown["last_day"]

        timeline = (await engine.http.get(f"{path}/timeline")).json()["entries"]
        assert timeline[0]["what"] == "case.opened"
        # The case takes the invoice over from Stripe meanwhile; either may be told first.
        assert [e["by"] for e in timeline if e["what"] == "lever.grant_extension"] == ["maria"]

        steps = (await engine.http.get(f"{path}/forecast")).json()["steps"]
        assert steps[-1]["what"] == "closed"

        await engine.http.post(f"{path}/levers/stop", json={"reason": "paid in cash", "by": "maria"})
        await engine.client.result(renewal.invoice)
        again = await engine.http.post(f"{path}/levers/hold", json={"reason": "late"})
        assert (again.status_code, again.json()["error"]["code"]) == (409, "case_closed")
        assert (await engine.http.get(f"{path}/forecast")).json()["steps"] == []

    async def test_are_listed_by_filters_a_page_at_a_time(self, engine: Engine) -> None:
        renewal = await engine.case()
        await engine.case()
        mine = (await engine.http.get("/api/v1/cases", params={"customer": renewal.customer})).json()
        assert [case["invoice_id"] for case in mine["cases"]] == [renewal.invoice]
        assert mine["cursor"] is None
        first = (await engine.http.get("/api/v1/cases", params={"open": True, "limit": 1})).json()
        second = await engine.http.get("/api/v1/cases", params={"limit": 1, "cursor": first["cursor"]})
        assert second.json()["cases"][0]["invoice_id"] != first["cases"][0]["invoice_id"]

    async def test_started_under_another_id_have_levers_too(self, engine: Engine) -> None:
        renewal = await engine.failed()
        await engine.temporal.start_workflow(
            "InvoiceDunning",
            {"invoice_id": renewal.invoice},
            id=f"own-{renewal.invoice}",
            task_queue="dunning",
        )
        await engine.opened(renewal.invoice)
        path = f"/api/v1/cases/{renewal.invoice}/levers/hold"
        assert (await engine.http.post(path, json={"reason": "on the phone"})).status_code == 200


class TestIdempotencyKeys:
    async def test_a_repeat_gets_the_same_answer_and_does_nothing(self, engine: Engine) -> None:
        renewal = await engine.case()
        path = f"/api/v1/cases/{renewal.invoice}/levers/grant_extension"
        body, header = {"days": 7, "reason": "salary"}, {"Idempotency-Key": f"ticket-{renewal.invoice}"}

        first = await engine.http.post(path, json=body, headers=header)
        again = await engine.http.post(path, json=body, headers=header)

        assert first.json()["accepted"] is True
        assert again.json() == first.json()
        timeline = await engine.client.timeline(renewal.invoice)
        assert [entry.what for entry in timeline].count("lever.grant_extension") == 1

    async def test_a_key_that_came_with_another_body_is_refused(self, engine: Engine) -> None:
        renewal = await engine.failed()
        header = {"Idempotency-Key": f"start-{renewal.invoice}"}
        body = {"invoice_id": renewal.invoice}
        assert (await engine.http.post("/api/v1/cases", json=body, headers=header)).status_code == 202
        other = await engine.http.post("/api/v1/cases", json=body | {"reopen": True}, headers=header)
        assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_mismatch")

    async def test_what_was_refused_may_be_asked_again(self, engine: Engine) -> None:
        renewal = await engine.failed()
        path, header = f"/api/v1/cases/{renewal.invoice}/levers/hold", {"Idempotency-Key": renewal.invoice}
        early = await engine.http.post(path, json={"reason": "call"}, headers=header)
        assert early.status_code == 404
        await engine.client.start(renewal.invoice)
        await engine.opened(renewal.invoice)
        assert (await engine.http.post(path, json={"reason": "call"}, headers=header)).status_code == 200


class TestErrors:
    @pytest.mark.parametrize(
        ("method", "path", "body", "status", "code", "param"),
        [
            ("GET", "/api/v1/cases/in_none", None, 404, "case_not_found", None),
            ("POST", "/api/v1/cases/in_none/levers/hold", {"reason": "x"}, 404, "case_not_found", None),
            ("POST", "/api/v1/cases/in_none/levers/explode", {}, 422, "invalid_input", "lever"),
            ("POST", "/api/v1/cases", {"invoice_id": "cus_1"}, 422, "invalid_input", "invoice_id"),
            ("POST", "/api/v1/cases", {}, 422, "invalid_input", "invoice_id"),
            ("POST", "/api/v1/cases", {"invoice_id": "in_1", "x": 1}, 422, "invalid_input", "x"),
            ("GET", "/api/v1/cases?limit=0", None, 422, "invalid_input", "limit"),
            ("GET", "/api/v1/cases?stage=nowhere", None, 422, "invalid_input", "stage"),
            ("GET", "/api/v1/cases?cursor=nonsense", None, 422, "invalid_input", "cursor"),
            ("GET", "/nowhere", None, 404, "not_found", None),
        ],
    )
    async def test_have_one_shape(
        self,
        *,
        engine: Engine,
        method: str,
        path: str,
        body: object,
        status: int,
        code: str,
        param: str | None,
    ) -> None:
        answer = await engine.http.request(method, path, json=body)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (status, code, param), answer.text
        assert error["message"]

    async def test_of_a_lever_name_the_field_and_change_nothing(self, engine: Engine) -> None:
        renewal = await engine.case()
        path = f"/api/v1/cases/{renewal.invoice}/levers/grant_extension"
        bad = await engine.http.post(path, json={"days": "seven", "reason": "x"})
        assert (bad.status_code, bad.json()["error"]["param"]) == (422, "days")
        too_long = await engine.http.post(path, json={"days": 300, "reason": "x"})
        assert (too_long.status_code, too_long.json()["error"]["code"]) == (409, "lever_refused")
        assert "the policy allows" in too_long.json()["error"]["message"]


class TestAccess:
    def test_every_lever_has_a_scope(self) -> None:
        assert set(LEVER_SCOPES) == set(LEVERS)

    async def test_without_or_with_a_wrong_key_is_refused(self, guarded: httpx.AsyncClient) -> None:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic abc"}):
            answer = await guarded.get("/api/v1/cases", headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")

    async def test_a_refusal_is_logged_without_the_key(
        self, guarded: httpx.AsyncClient, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for secret in ("a-revoked-secret", KEYS["read"]):
            headers = {"Authorization": f"Bearer {secret}"}
            await guarded.post("/api/v1/cases", headers=headers, json={"invoice_id": "in_1"})
        said = capsys.readouterr().out
        assert said.count("API call refused") == 2
        assert "unauthorized" in said
        assert "forbidden" in said
        assert "203.0.113.7" in said
        assert "a-revoked-secret" not in said
        assert KEYS["read"] not in said

    async def test_who_asks_too_often_waits_and_others_do_not(self, engine: Engine) -> None:
        keys = tuple(ApiKey(s, s, hashlib.sha256(k.encode()).hexdigest()) for s, k in KEYS.items())
        changed = {"dunning_api_keys": keys, "dunning_api_requests_per_minute": 2.0}
        app = create_app(engine.settings.model_copy(update=changed), engine.temporal, engine.ledger)
        async with app_client(app, "203.0.113.8") as http:
            answers = [await http.get("/api/v1/cases", headers=key("read")) for _ in range(3)]
            assert [answer.status_code for answer in answers] == [200, 200, 429]
            assert answers[-1].json()["error"]["code"] == "rate_limited"
            assert 1 <= int(answers[-1].headers["Retry-After"]) <= 30
            assert (await http.get("/api/v1/cases", headers=key("admin"))).status_code == 200
            guesses = [await http.get("/api/v1/cases", headers={"Authorization": "Bearer x"}) for _ in "abc"]
            assert [answer.status_code for answer in guesses] == [401, 401, 429]

    async def test_a_scope_allows_what_lies_below_it_only(self, guarded: httpx.AsyncClient) -> None:
        wanted: list[tuple[str, str, Scope]] = [
            ("GET", "/api/v1/cases", "read"),
            ("POST", "/api/v1/cases", "support"),
            ("POST", "/api/v1/cases/in_none/levers/grant_extension", "support"),
            ("POST", "/api/v1/cases/in_none/levers/stop", "admin"),
        ]
        order: list[Scope] = ["read", "support", "admin"]
        for method, path, needed in wanted:
            for held in order:
                answer = await guarded.request(method, path, headers=key(held), json={})
                assert (answer.status_code == 403) is (order.index(held) < order.index(needed)), (path, held)

    async def test_the_key_stands_in_the_timeline(self, engine: Engine, guarded: httpx.AsyncClient) -> None:
        renewal = await engine.case()
        path = f"/api/v1/cases/{renewal.invoice}/levers"
        await guarded.post(f"{path}/hold", headers=key("support"), json={"reason": "call", "by": "maria"})
        await guarded.post(f"{path}/release", headers=key("admin"), json={})
        timeline = await engine.client.timeline(renewal.invoice)
        signed = [entry.by for entry in timeline if entry.what.startswith("lever.")]
        assert signed == ["maria (key support-key)", "admin-key"]

    async def test_without_keys_only_this_machine_may_call(self, engine: Engine) -> None:
        app = create_app(engine.settings, engine.temporal, engine.ledger)
        async with app_client(app, "203.0.113.7") as http:
            answer = await http.get("/api/v1/cases")
            assert answer.status_code == 403
            assert "DUNNING_API_KEYS" in answer.json()["error"]["message"]
            assert (await http.get("/healthz")).status_code == 200

    @pytest.mark.parametrize(
        "headers",
        [
            {"X-Forwarded-For": "127.0.0.1"},
            {"Forwarded": "for=127.0.0.1"},
            {"Host": "rebound.example"},
            {"Origin": "https://evil.example"},
        ],
    )
    async def test_without_keys_neither_a_proxy_nor_a_web_page_may_call(
        self, engine: Engine, headers: dict[str, str]
    ) -> None:
        assert (await engine.http.get("/api/v1/cases", headers=headers)).status_code == 403


class TestHealth:
    async def test_ready_when_all_that_is_needed_answers(self, engine: Engine) -> None:
        answer = await engine.http.get("/readyz")
        assert answer.json() == {
            "ready": True,
            "checks": {"temporal": "ok", "ledger": "ok", "webhooks": "ok"},
        }

    async def test_metrics_tell_of_webhooks_cases_attempts_and_money(self, engine: Engine) -> None:
        renewal = await engine.case("insufficient_funds", "succeeded")
        await engine.client.retry_now(renewal.invoice, by="maria")
        await engine.http.post("/webhooks/stripe", content=b"{}")
        text = (await engine.http.get("/metrics")).text
        for line in (
            'dunning_cases{outcome="",stage="recovering"}',
            'dunning_webhook_failures_total{provider="stripe",reason="bad_signature"}',
            "dunning_webhook_seconds_count",
            "dunning_ledger_up 1.0",
        ):
            assert line in text
