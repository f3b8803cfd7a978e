"""A reconciliation whose worker is killed in the middle: it goes on, and ends with the same books."""

from __future__ import annotations

from pathlib import Path

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetStickyTaskQueueRequest
from temporalio.client import Client

from dunning.reconciliation import Kind
from tests.chaos import hasty_worker
from tests.fixtures.databases import Databases
from tests.fixtures.engine import running_engine
from tests.fixtures.processes import forking
from tests.fixtures.reconciling import begun, told
from tests.fixtures.temporal import eventually
from tests.fixtures.worker_process import WorkerProcess
from tests.workflows.test_reconciliation import deaf


@forking
async def test_what_a_killed_worker_had_found_and_begun_is_neither_lost_nor_done_twice(
    engine_client: Client, sqlite_databases: Databases, tmp_path: Path
) -> None:
    patience = {"DUNNING_ACTIVITY_SECONDS": "2", "DUNNING_LOG_LEVEL": "WARNING"}
    async with running_engine(engine_client, sqlite_databases, tmp_path, workers=False, **patience) as engine:
        worker = WorkerProcess(engine, tmp_path / "worker.log", hasty_worker.main)
        await worker.start()
        try:
            await deaf(engine)
            cases = [await engine.failed_renewal("expired_card") for _ in range(4)]
            asked = f"/v1/invoices/{cases[0].invoice}$"
            held = await engine.control.fault("pause", service="stripe", method="GET", path=asked)
            run = await begun(engine)
            assert await engine.control.held(held, timeout=30) == 1
            for case in cases[1:]:
                await eventually(case.record, "the others' cases are open")
            await worker.kill()
            await engine.control.release(held)
            execution = WorkflowExecution(workflow_id=run.id)
            await engine_client.workflow_service.reset_sticky_task_queue(
                ResetStickyTaskQueueRequest(namespace=engine_client.namespace, execution=execution)
            )
            await worker.start()
            result = await run.result()
            await eventually(cases[0].record, "the last case is open")
        finally:
            await worker.kill()

        findings = await engine.ledger.reconciliations.findings(result.run)
        assert told(findings) == {(Kind.INVOICE_WITHOUT_CASE, case.invoice, True) for case in cases}
        books = await engine.control.stripe_books()
        assert {invoice["id"] for invoice in books["invoices"] if invoice["status"] == "open"} == {
            case.invoice for case in cases
        }
        opened = (await engine.ledger.cases.find()).cases
        assert sorted(case.invoice_id for case in opened) == sorted(case.invoice for case in cases)
        assert books["doubly_charged"] == []
