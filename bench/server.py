"""A fresh Temporal dev server, and workers that only count."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.worker import WorkerDeploymentConfig

from starter.binaries import dev_server, temporal_binary
from starter.errors import EngineUnavailable
from starter.processes import HOST, Processes, port_near, processes
from starter.settings import Settings
from starter.stack import FOLDER
from starter.temporal import connect

_PORT, _UI_PORT = 17_233, 18_233

#: Without an explicit build id the SDK hashes every loaded module, which takes seconds.
WORKER_OPTIONS: dict[str, Any] = {
    "deployment_config": WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(deployment_name="bench", build_id="bench"),
        use_worker_versioning=False,
    )
}


@asynccontextmanager
async def fresh_server() -> AsyncIterator[tuple[Client, Processes]]:
    """A dev server in memory that skips time for whoever asks; and what starts processes beside it."""
    folder = (FOLDER / "bench").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    profile = folder / "temporal.toml"
    profile.write_text("", encoding="utf-8")  # so that no configuration of the user's slips in
    taken: set[int] = set()
    port = port_near(_PORT, taken, lambda _line: None, "Temporal")
    ui_port = port_near(_UI_PORT, taken, lambda _line: None, "its UI")
    variables = {
        "TEMPORAL_ADDRESS": f"{HOST}:{port}",
        "TEMPORAL_NAMESPACE": "default",
        "TEMPORAL_CONFIG_FILE": str(profile),
    }
    settings = Settings(_env_file=None, temporal_variables=variables)
    async with processes(folder / "logs") as children:
        binary = await asyncio.to_thread(temporal_binary)
        command = dev_server(binary, HOST, port, ui_port, skipping=True)
        server = await children.start("bare-temporal", command, os.environ, folder)
        found: list[Client] = []

        async def is_ready() -> bool:
            try:
                found.append(await connect(settings))
            except EngineUnavailable:
                return False
            return True

        await children.wait_ready(server, is_ready)
        yield found[0], children
