"""`dunning reconcile` and `dunning import`: compare Stripe with the engine, mend what is safe."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

import typer
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError

from activities.interface import TASK_QUEUE
from ledger.records import FindingRecord
from starter import temporal
from starter.cli_output import say, say_json, say_table, warn
from starter.cli_session import open_ledger, run
from starter.errors import EngineUnavailable, InvalidInput
from starter.settings import Settings
from workflows.ids import IMPORT, RECONCILIATION_BY_HAND

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only look: change nothing, open nothing.")]
Accounts = Annotated[
    list[str] | None,
    typer.Option("--account", help="A Connect account of which the engine knows nothing yet; repeatable."),
]

reconcile_app = typer.Typer()
_TELL_EVERY = 2.0


@reconcile_app.command()
def reconcile(dry_run: DryRun = False, account: Accounts = None, as_json: Json = False) -> None:
    """Compare Stripe with the engine now: mend what is safe, list the rest. A worker must run."""
    _run(RECONCILIATION_BY_HAND, {"dry_run": dry_run, "accounts": account or []}, as_json)


@reconcile_app.command("import")
def import_(
    since: Annotated[
        str | None, typer.Option(help="Look at invoices made on or after this day, such as 2026-09-01.")
    ] = None,
    dry_run: DryRun = False,
    account: Accounts = None,
    as_json: Json = False,
) -> None:
    """Open the cases of failed invoices that were there before the engine. Harmless to repeat."""
    wish: dict[str, Any] = {"dry_run": dry_run, "importing": True, "accounts": account or []}
    if since is not None:
        wish["since"] = _day(since).isoformat()
    _run(IMPORT, wish, as_json)


def _day(text: str) -> datetime:
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"since: {text!r} is no day: write one such as 2026-09-01", "since") from error
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _run(workflow_id: str, wish: Mapping[str, Any], as_json: bool) -> None:
    result, findings = run(_reconcile(Settings.load(), workflow_id, wish))
    if as_json:
        say_json(result | {"findings": [asdict(finding) for finding in findings]})
        return
    if findings:
        say_table(("Kind", "About", "What is wrong", "Remedy"), [_row(finding) for finding in findings])
    counts = {name: result["counts"].get(name, 0) for name in ("looked_at", "found", "fixed")}
    left, failed = (result["counts"].get(name, 0) for name in ("left_alone", "failed"))
    say("{looked_at} looked at, {found} found, {fixed} fixed".format(**counts))
    if left:
        say(f"{left} failed invoices have no case and were left alone: too old, or older than the engine")
    if failed:
        say(f"{failed} could not be looked into: run it again")


def _row(finding: FindingRecord) -> tuple[str, str, str, str]:
    done = "done" if finding.fixed_at else "not done" if finding.remedy != "none" else "a person must look"
    remedy = done if finding.remedy == "none" else f"{finding.remedy}: {done}"
    if finding.kind == "invoice_too_old":
        remedy = "none"
    return finding.kind, finding.subject, finding.words, remedy


async def _reconcile(
    settings: Settings, workflow_id: str, wish: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[FindingRecord, ...]]:
    """Start it, or join the one that runs, and wait for its end."""
    client = await temporal.connect(settings)
    try:
        handle: WorkflowHandle[Any, Any] = await client.start_workflow(
            "Reconciliation",
            dict(wish),
            id=workflow_id,
            task_queue=TASK_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            rpc_timeout=timedelta(seconds=settings.dunning_rpc_timeout_seconds),
        )
        result: dict[str, Any] = await _ended(handle)
    except WorkflowFailureError as error:
        raise EngineUnavailable(f"the reconciliation failed: {error.cause}; run it again") from error
    except RPCError as error:
        raise EngineUnavailable(f"Temporal does not answer: {error.message}") from error
    async with open_ledger(settings) as ledger:
        return result, await ledger.reconciliations.findings(result["run"])


async def _ended(handle: WorkflowHandle[Any, Any]) -> dict[str, Any]:
    """Wait for the result; tell on standard error how far it is."""
    ending, told = asyncio.ensure_future(handle.result()), ""
    while not (await asyncio.wait({ending}, timeout=_TELL_EVERY))[0]:
        try:
            now = await handle.query("progress", rpc_timeout=timedelta(seconds=_TELL_EVERY))
            line = f"{now['doing']}: {now['looked_at']} looked at, {now['found']} found, {now['fixed']} fixed"
        except RPCError:
            line = "no worker answers: it goes on once one runs"
        if line != told:
            warn(line)
            told = line
    return dict(ending.result())
