"""How much memory a worker process needs for every open case."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path

from bench.world import Customer, world

_SOON = 50  # cases that the process is warmed up with: imports, connections, caches


async def measure(cases: int) -> float:
    """Kilobytes of resident memory by which the worker process grows for each case opened, up to `cases`.

    It is the real worker with its cache of workflows, against the sandbox. The cases wait for a retry.
    """
    async with world() as stage:
        process = stage.stack.worker.process.pid
        before_open = min(_SOON, cases // 2)
        early = await stage.customers(before_open, "succeeded,insufficient_funds")
        late = await stage.customers(cases - before_open, "succeeded,insufficient_funds")
        await stage.control.drain(timeout=300)

        async def open_all(customers: Sequence[Customer]) -> None:
            renewed = await asyncio.gather(*(stage.renew(customer) for customer in customers))
            await stage.control.drain(timeout=300)
            await stage.settle(renewed)

        await open_all(early)
        before = resident_kb(process)
        await open_all(late)
        return (resident_kb(process) - before) / len(late)


def resident_kb(process: int) -> int:
    """The resident memory of a process in kilobytes (Linux: /proc/<pid>/status, VmRSS)."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    if found is None:
        raise RuntimeError(f"the kernel does not say how much memory process {process} holds")
    return int(found.group(1))
