from __future__ import annotations
import os
from pathlib import Path
import pytest
from temporalio.client import Client
from tests.chaos.storm import Storm, stopwatch
from tests.fixtures.databases import Databases
from tests.fixtures.engine import running_engine
from tests.chaos.hasty_worker import HastyWorker

PATIENCE = {
    "DUNNING_ACTIVITY_SECONDS": "4", "DUNNING_ACTIVITY_PATIENCE_SECONDS": "12", "DUNNING_LOG_LEVEL": "WARNING",
    "STRIPE_TIMEOUT_SECONDS": "1", "SENDGRID_TIMEOUT_SECONDS": "1", "TWILIO_TIMEOUT_SECONDS": "1",
}

@pytest.mark.timeout(3600)
async def test_storm(engine_client: Client, sqlite_databases: Databases, tmp_path: Path) -> None:
    seed=int(os.environ.get("CHAOS_SEED","1")); cases=int(os.environ.get("CHAOS_CASES","40")); kills=int(os.environ.get("CHAOS_KILLS","3"))
    async with running_engine(engine_client, sqlite_databases, tmp_path, workers=False, **PATIENCE) as engine:
        worker = HastyWorker(engine, tmp_path / "worker.log")
        await worker.start()
        storm = Storm(worker, seed, cases, kills)
        t=stopwatch()
        try:
            await storm.rage()
            print("took", t(), storm.rounds, storm.kills, storm.fired, len(storm.journal))
        finally:
            await storm.close(); await worker.kill()
