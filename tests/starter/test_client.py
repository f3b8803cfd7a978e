"""The typed client: what backend code sees, also when things go wrong."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from temporalio.client import Client

from starter.client import (
    CaseClosed,
    CaseNotFound,
    DunningClient,
    EngineUnavailable,
    InvalidInput,
    LeverRefused,
)
from tests.starter.conftest import Engine
from workflows.ids import invoice_dunning_id


async def test_starting_a_case_needs_nothing_but_the_invoice(engine: Engine) -> None:
    renewal = await engine.failed()
    case = await engine.client.start(renewal.invoice)
    await engine.opened(renewal.invoice)
    assert case.workflow_id == f"invoice-dunning/{renewal.invoice}"
    status = await case.status()
    assert (status.invoice_id, status.stage, status.amount_remaining) == (renewal.invoice, "recovering", 1900)
    assert (await case.timeline())[0].what == "case.opened"
    assert [step.what for step in await case.forecast()][-1] == "closed"


async def test_starting_twice_finds_the_same_run(engine: Engine) -> None:
    renewal = await engine.case()
    again = await engine.client.start(invoice_dunning_id(renewal.invoice))
    assert again.run_id == (await engine.handle(renewal.invoice).describe()).run_id


@pytest.mark.parametrize(
    ("start", "param"),
    [
        ({"invoice_id": "cus_1"}, "invoice_id"),
        ({"invoice_id": "in_1", "account": "nobody"}, "account"),
        ({"invoice_id": "in_1", "policy": ""}, "policy"),
    ],
)
async def test_a_start_that_cannot_be_used_is_refused_before_it_leaves(
    engine: Engine, start: dict[str, str], param: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await engine.client.start(start.pop("invoice_id"), **start)
    assert refused.value.param == param


async def test_granted_time_moves_the_last_day_and_is_repeated_harmlessly(engine: Engine) -> None:
    renewal = await engine.case()
    case = engine.client.case(renewal.invoice)
    before = date.fromisoformat((await case.status()).last_day)
    for _ in range(2):
        answer = await case.grant_extension(days=7, reason="salary on Friday", by="maria", request_id="r1")
        assert "granted" in answer
    after = date.fromisoformat((await case.status()).last_day)
    assert after - before == timedelta(days=7)
    granted = [entry for entry in await case.timeline() if entry.what == "lever.grant_extension"]
    assert [(entry.by, entry.data["reason"]) for entry in granted] == [("maria", "salary on Friday")]


async def test_a_new_last_day_is_given_as_a_date(engine: Engine) -> None:
    renewal = await engine.case()
    last_day = date.fromisoformat((await engine.client.status(renewal.invoice)).last_day)
    until = last_day + timedelta(days=3)
    await engine.client.grant_extension(renewal.invoice, until=until, reason="asked", by="maria")
    assert (await engine.client.status(renewal.invoice)).last_day == until.isoformat()


async def test_a_case_says_no_with_a_reason(engine: Engine) -> None:
    renewal = await engine.case()
    with pytest.raises(LeverRefused, match="nothing to deny") as refused:
        await engine.client.deny_extension(renewal.invoice, reason="no", by="maria")
    assert refused.value.reason.startswith("deny_extension:")


async def test_a_slip_in_an_argument_is_found_without_asking_the_case(engine: Engine) -> None:
    with pytest.raises(InvalidInput, match="either days"):
        await engine.client.grant_extension("in_x", reason="both", by="maria")
    with pytest.raises(InvalidInput) as refused:
        await engine.client.pull("in_x", "grant_extension", {"days": "seven", "reason": "x", "by": "maria"})
    assert refused.value.param == "days"
    with pytest.raises(InvalidInput, match="no lever"):
        await engine.client.pull("in_x", "explode", {})


async def test_hold_release_and_retry(engine: Engine) -> None:
    renewal = await engine.case("insufficient_funds", "succeeded")
    case = engine.client
    assert "on hold until" in await case.hold(renewal.invoice, reason="on the phone", by="maria")
    assert (await case.status(renewal.invoice)).waiting_on == "hold"
    assert "released" in await case.release(renewal.invoice, by="maria")
    assert "charging" in await case.retry_now(renewal.invoice, by="maria")


async def test_stopping_closes_the_case_and_nothing_can_be_changed_after(engine: Engine) -> None:
    renewal = await engine.case()
    await engine.client.stop(renewal.invoice, reason="paid in cash", by="maria")
    assert (await engine.client.result(renewal.invoice)).outcome == "stopped"
    with pytest.raises(CaseClosed, match=renewal.invoice):
        await engine.client.hold(renewal.invoice, reason="too late", by="maria")
    assert (await engine.client.status(renewal.invoice)).outcome == "stopped"


async def test_an_invoice_without_a_case_is_not_found(engine: Engine) -> None:
    with pytest.raises(CaseNotFound, match="in_nobody"):
        await engine.client.status("in_nobody")
    with pytest.raises(CaseNotFound):
        await engine.client.release("in_nobody", by="maria")


async def test_an_invoice_that_is_not_dunned_says_why(engine: Engine) -> None:
    renewal = await engine.failed()
    await engine.shop.pay_by_hand(renewal.invoice)
    case = await engine.client.start(renewal.invoice)
    assert (await case.result()).outcome == "not_applicable"
    with pytest.raises(CaseNotFound, match="paid already"):
        await case.status()


async def test_a_case_that_was_started_under_an_id_of_its_own_is_reached_by_it(engine: Engine) -> None:
    renewal = await engine.failed()
    own = f"by-hand-{renewal.invoice}"
    await engine.temporal.start_workflow(
        "InvoiceDunning", {"invoice_id": renewal.invoice}, id=own, task_queue="dunning"
    )
    await engine.opened(renewal.invoice)
    assert (await engine.client.status(own)).invoice_id == renewal.invoice


class TestWithoutAnEngine:
    async def test_no_worker_is_said_in_time(self, temporal_env: object, engine: Engine) -> None:
        lonely = DunningClient(
            await Client.connect(engine.environment["TEMPORAL_ADDRESS"], namespace="default"),
            rpc_timeout=timedelta(seconds=2),
            update_timeout=timedelta(seconds=1),
        )
        case = await lonely.temporal.start_workflow(
            "InvoiceDunning", {"invoice_id": "in_lonely"}, id="lonely-case", task_queue="nobody-serves-this"
        )
        with pytest.raises(EngineUnavailable):
            await lonely.status("lonely-case")
        with pytest.raises(EngineUnavailable, match="request_id"):
            await lonely.retry_now("lonely-case", by="maria", request_id="r1")
        await case.terminate()

    async def test_no_temporal(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        away = engine.settings.model_copy(update={"temporal_variables": {"TEMPORAL_ADDRESS": "127.0.0.1:1"}})
        with pytest.raises(EngineUnavailable, match=r"127\.0\.0\.1:1"):
            await DunningClient.connect(away)
