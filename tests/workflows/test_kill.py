"""A worker process is killed amid its calls and started again: nothing is lost, and nothing happens twice.

Each case is brought to a moment of its own, where the provider holds its call back; then one SIGKILL hits all
of them at once. What was held arrives after the death of its sender, as it may on a real network.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest_asyncio
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetStickyTaskQueueRequest
from temporalio.client import Client

from dunning.values import Outcome, Stage
from tests.fixtures.case import Case
from tests.fixtures.databases import Databases
from tests.fixtures.engine import Engine, running_engine
from tests.fixtures.processes import forking
from tests.fixtures.worker_process import WorkerProcess
from tests.fixtures.worldtime import DAY

pytestmark = forking


@pytest_asyncio.fixture(loop_scope="session")
async def killable(
    engine_client: Client, sqlite_databases: Databases, tmp_path: Path
) -> AsyncIterator[WorkerProcess]:
    """An engine whose workers are a process of their own, with activities that may take two seconds."""
    patience = {"DUNNING_ACTIVITY_SECONDS": "2", "DUNNING_LOG_LEVEL": "WARNING"}
    async with running_engine(engine_client, sqlite_databases, tmp_path, workers=False, **patience) as engine:
        worker = WorkerProcess(engine, tmp_path / "worker.log")
        await worker.start()
        try:
            yield worker
        finally:
            await worker.kill()


@dataclass(frozen=True)
class Held:
    """A call that hangs: at a `pause` before it is carried out, at a `pause_after` before its answer."""

    what: str
    fault: str


async def hold_stripe(what: str, case: Case, kind: Any, method: str, path: str) -> Held:
    """Let the next such call to Stripe hang."""
    control = case.engine.control
    return Held(what, await control.fault(kind, service="stripe", method=method, path=path))


async def hold_mail(what: str, engine: Engine, email: str, kind: Any) -> Held:
    """Let the next e-mail to somebody hang."""
    return Held(what, await engine.control.fault(kind, service="sendgrid", body=email))


async def kill_while_held(worker: WorkerProcess, held: list[Held], moving: list[Case], day: float) -> None:
    """Let time pass for some cases, kill the worker once all calls hang, let those go on, start it again."""
    engine, control = worker.engine, worker.engine.control
    to = moving[0].begun + day * DAY
    passing = asyncio.create_task(engine.time.advance(to, [case.workflow_id for case in moving]))
    for one in held:
        assert await control.held(one.fault, timeout=30) == 1, one.what
    await worker.kill()
    for one in held:
        await control.release(one.fault)
    await asyncio.gather(*(_forget_worker(case) for case in engine.cases))
    await worker.start()
    await passing
    await engine.settle()


async def _forget_worker(case: Case) -> None:
    """Temporal waits ten seconds for the worker that knew the case; the test does not."""
    client = case.engine.temporal
    await client.workflow_service.reset_sticky_task_queue(
        ResetStickyTaskQueueRequest(
            namespace=client.namespace, execution=WorkflowExecution(workflow_id=case.workflow_id)
        )
    )


async def fates(case: Case) -> dict[str, str]:
    """What became of each message, by step."""
    record = await case.record()
    assert record is not None
    rows = await case.engine.ledger.dispatches.of_case(record.id)
    return {row.step.split(":")[0]: str(row.fate) for row in rows}


async def test_killed_around_the_charge_and_the_thank_you(killable: WorkerProcess) -> None:
    engine = killable.engine
    cases = [await engine.case("insufficient_funds", "succeeded") for _ in range(5)]
    unread, unpaid, unanswered, mailing, mailed = cases
    pay = "/v1/invoices/{}/pay$"
    customer, email = await engine.customer()
    await engine.card(customer, "succeeded", "lost_card")
    subscription = await engine.subscription(customer)
    held = [
        await hold_stripe("before the charge", unread, "pause", "GET", f"/v1/invoices/{unread.invoice}$"),
        await hold_stripe("the charge on its way", unpaid, "pause", "POST", pay.format(unpaid.invoice)),
        await hold_stripe(
            "the charge made", unanswered, "pause_after", "POST", pay.format(unanswered.invoice)
        ),
        await hold_mail("the mail on its way", engine, mailing.email, "pause"),
        await hold_mail("the mail taken", engine, mailed.email, "pause_after"),
        await hold_mail("the first notice taken", engine, email, "pause_after"),
    ]
    asked = await engine.renewal(customer, subscription, email)
    await engine.control.held(held[-1].fault)
    await kill_while_held(killable, held, cases, day=1.5)
    for case in cases:
        closed = await case.to_the_end()
        assert closed.outcome is Outcome.RECOVERED
        assert await case.calendar() == {1: ["charge succeeded", "email recovered"]}
    for case in cases:  # those that nobody knew of, too: SendGrid's events tell that they were taken
        assert await fates(case) == {"recovered": "accepted"}
    await asked.until(5.5)
    assert await asked.calendar() == {0: ["email payment_failed"], 5: ["email reminder"]}
    assert await fates(asked) == {"first_notice": "accepted", "second_notice": "accepted"}
    assert "message.accepted" in [entry.what for entry in await asked.timeline()]


async def test_killed_around_the_suspension(killable: WorkerProcess) -> None:
    engine = killable.engine
    cases = [await engine.case("expired_card") for _ in range(3)]
    unpaused, paused, telling = cases
    await unpaused.until(21)
    subscription = "/v1/subscriptions/{}$"
    held = [
        await hold_stripe(
            "on its way", unpaused, "pause", "POST", subscription.format(unpaused.subscription)
        ),
        await hold_stripe("paused", paused, "pause_after", "POST", subscription.format(paused.subscription)),
        await hold_mail("telling so", engine, telling.email, "pause_after"),
    ]
    await kill_while_held(killable, held, cases, day=22.1)
    for case in cases:
        assert (await case.status()).stage is Stage.SUSPENDED
        assert (await case.calendar())[21] == ["email suspended", "pause"]
    assert [(await fates(case))["suspended"] for case in cases] == ["accepted"] * 3
    await paused.customer_pays()
    assert (await paused.result()).outcome is Outcome.RECOVERED
    assert (await paused.calendar())[22] == ["email restored", "resume"]
