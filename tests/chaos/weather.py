"""What makes a storm a storm: which calls fail and how, what becomes of webhooks, and how a worker dies."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetStickyTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from sandbox.control_client import ControlClient
from sandbox.rules import RequestFaultKind, Service
from tests.fixtures.temporal import eventually
from tests.fixtures.worker_process import WorkerProcess

#: The engine's own calls to Stripe. Voiding is the dashboard's: no part of the storm.
CALLS = r"^/v1/(?!invoices/[^/]+/void$)"


def request_faults(seed: int) -> list[dict[str, Any]]:
    """One call in five of every provider meets a fault, of any kind; some answers come after the time-out."""
    kinds: list[dict[str, Any]] = [
        {"kind": "drop_before", "probability": 0.035},
        {"kind": "drop_after", "probability": 0.035},
        {"kind": "status", "status": 500, "probability": 0.03},
        {"kind": "status_after", "status": 500, "probability": 0.03},
        {"kind": "status", "status": 503, "probability": 0.03},
        {"kind": "status", "status": 429, "retry_after": 0, "probability": 0.015},
        {"kind": "delay", "seconds": 0.1, "probability": 0.03},
        {"kind": "delay", "seconds": 1.2, "probability": 0.01},
    ]
    services = {"stripe": CALLS, "sendgrid": None, "twilio": None}
    return [
        {"service": service, "path": path, "times": 0, "seed": seed * 100 + n * 10 + m, **kind}
        for n, (service, path) in enumerate(services.items())
        for m, kind in enumerate(kinds)
    ]


def webhook_faults(seed: int) -> list[dict[str, Any]]:
    """Every third webhook is lost, doubled, overtaken or late; but Twilio tells of a STOP some day."""
    shares: dict[str, dict[str, Any]] = {
        "drop": {"probability": 0.12},
        "duplicate": {"probability": 0.1},
        "reorder": {"probability": 0.1},
        "delay": {"probability": 0.05, "seconds": 0.2},
    }
    told = {"stripe": None, "sendgrid": None, "twilio": "MessageStatus"}  # not what customers write
    return [
        {"service": service, "event": event, "kind": kind, "seed": seed * 10 + n, "times": 0} | more
        for service, event in told.items()
        for n, (kind, more) in enumerate(shares.items())
    ]


async def begin(control: ControlClient, seed: int) -> None:
    """From now on things go wrong."""
    for rule in request_faults(seed):
        await control.fault(**rule)
    for rule in webhook_faults(seed):
        await control.webhook_fault(**rule)


async def kill_amid_calls(
    worker: WorkerProcess,
    passing: asyncio.Task[None],
    moving: Sequence[str],
    every: Sequence[str],
    *,
    brutal: bool,
) -> None:
    """SIGKILL while calls hang: some not carried out yet, some carried out and not answered. Start it again.

    `moving`: the workflows that have something to do, of `every` one. Unless `brutal`, none of them is killed
    amid a workflow task: Temporal waits ten seconds for each of these.
    """
    control, client = worker.engine.control, worker.engine.temporal
    kinds: tuple[RequestFaultKind, ...] = ("pause", "pause_after")
    places: tuple[tuple[Service, str], ...] = (("stripe", r"/pay$"), ("sendgrid", "/mail/send$"))
    gates = [
        await control.fault(kind, service=service, method="POST", path=path, times=2)
        for kind in kinds
        for service, path in places
    ]
    waits = [asyncio.create_task(control.held(gate, timeout=20)) for gate in gates]
    await asyncio.wait([passing, *waits], return_when=asyncio.FIRST_COMPLETED)
    if not brutal:
        await eventually(lambda: _nobody_thinks(client, moving), "no workflow task runs")
    await worker.kill()
    for gate in gates:
        await control.remove_fault(gate)
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*(_forget_worker(client, workflow_id) for workflow_id in every))
    await worker.start()


async def _nobody_thinks(client: Client, workflows: Sequence[str]) -> bool:
    for workflow_id in workflows:
        found = await client.get_workflow_handle(workflow_id).describe()
        if found.raw_description.HasField("pending_workflow_task"):
            return False
    return True


async def _forget_worker(client: Client, workflow_id: str) -> None:
    """Temporal waits ten seconds for the worker that knew the case; the storm does not."""
    execution = WorkflowExecution(workflow_id=workflow_id)
    with contextlib.suppress(RPCError):  # it has ended, or never began
        await client.workflow_service.reset_sticky_task_queue(
            ResetStickyTaskQueueRequest(namespace=client.namespace, execution=execution)
        )
