"""The worker process with a tenth of production's pauses between tries. Nothing else differs.

A storm makes some hundreds of tries; the seconds between them prove nothing.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from datetime import timedelta

from stripe import HTTPClient

import worker
from starter.ending import leave
from tests.fixtures.engine import worker_environment
from tests.workflows.test_kill import ROOT, WorkerProcess
from workflows import options


@dataclass
class HastyWorker(WorkerProcess):
    """`python -m tests.chaos.hasty_worker`, which can be killed and started again."""

    async def start(self) -> None:
        """Start it. What is asked of it meanwhile waits in Temporal's queues."""
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", __name__, cwd=ROOT, env=worker_environment(self.engine),
                stdout=log, stderr=log, stdin=asyncio.subprocess.DEVNULL,
            )  # fmt: skip


def main() -> int:
    """Shorten the pauses of Stripe's SDK, of the activities and of what goes through lists; be the worker."""
    HTTPClient.INITIAL_DELAY = 0.05
    options._RETRIES.initial_interval = timedelta(seconds=0.1)
    options.PATIENCE.silence = timedelta(seconds=2)
    return worker.main()


if __name__ == "__main__":
    leave(main())
