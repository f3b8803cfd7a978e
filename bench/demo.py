"""How long the demo takes, once it is installed."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from starter.processes import StackError

_ROOT = Path(__file__).parents[1]
_PATIENCE = 300.0


async def measure() -> float:
    """Seconds of `make demo ARGS=--exit`. Raises StackError when it does not end with status 0."""
    begun = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        "make", "demo", "ARGS=--exit",
        cwd=_ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        said, _ = await asyncio.wait_for(process.communicate(), _PATIENCE)
    except TimeoutError:
        process.terminate()
        await process.wait()
        raise StackError(f"`make demo ARGS=--exit` did not end within {_PATIENCE:.0f} s") from None
    if process.returncode != 0:
        last = "\n  ".join(said.decode(errors="replace").splitlines()[-10:])
        raise StackError(f"`make demo ARGS=--exit` ended with status {process.returncode}:\n  {last}")
    return time.perf_counter() - begun
