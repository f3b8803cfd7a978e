"""Forty cases (`make chaos`: three hundred) in bad weather for eight weeks: every promise is kept.

`CHAOS_SEED` repeats a storm; `CHAOS_CASES` and `CHAOS_KILLS` make it larger.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from temporalio.client import Client

from tests.chaos import hasty_worker
from tests.chaos.books import broken_promises
from tests.chaos.storm import Storm
from tests.chaos.weather import CALLS
from tests.fixtures.databases import Databases
from tests.fixtures.engine import running_engine
from tests.fixtures.processes import forking
from tests.fixtures.worker_process import WorkerProcess

SEED = int(os.environ.get("CHAOS_SEED") or 20261123)
CASES = int(os.environ.get("CHAOS_CASES") or 40)
KILLS = int(os.environ.get("CHAOS_KILLS") or 3)
#: Kill at any moment. A workflow task that dies with its worker costs ten seconds, which the suite saves.
BRUTAL = bool(os.environ.get("CHAOS_BRUTAL"))

#: Time-outs in seconds, so that a call may well end after somebody stopped waiting for it.
IMPATIENT = {
    "DUNNING_ACTIVITY_SECONDS": "2",
    "DUNNING_ACTIVITY_PATIENCE_SECONDS": "5",
    "DUNNING_LOG_LEVEL": "WARNING",
    "STRIPE_TIMEOUT_SECONDS": "1",
    "SENDGRID_TIMEOUT_SECONDS": "1",
    "TWILIO_TIMEOUT_SECONDS": "1",
}


@forking
@pytest.mark.timeout(120 + CASES * 10)
async def test_no_promise_is_broken_in_a_storm(
    engine_client: Client, sqlite_databases: Databases, tmp_path: Path
) -> None:
    async with running_engine(
        engine_client, sqlite_databases, tmp_path, workers=False, **IMPATIENT
    ) as engine:
        worker = WorkerProcess(engine, tmp_path / "worker.log", hasty_worker.main)
        await worker.start()
        storm = Storm(worker, SEED, CASES, KILLS, brutal=BRUTAL)
        try:
            await storm.rage()
            evidence = await storm.evidence()
        finally:
            await storm.close()
            await worker.kill()
    broken = broken_promises(evidence)
    assert not broken, "\n".join([f"CHAOS_SEED={SEED} CHAOS_CASES={CASES} CHAOS_KILLS={KILLS}:", *broken])
    assert storm.kills == KILLS
    assert len(evidence.cases) == CASES
    assert storm.stopped
    calls = [request for request in storm.in_weather if re.search(CALLS, request.path)]
    assert sum(bool(call.faults) for call in calls) > len(calls) / 6, "the storm was a breeze"
