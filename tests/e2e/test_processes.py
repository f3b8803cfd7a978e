"""Children of the stack do not outlive it, however it ends."""

from __future__ import annotations

import sys

import psutil

from tests.e2e.commands import line_of, started

PARENT = """
import asyncio, sys
from pathlib import Path
from starter.processes import processes, run_to_the_end

async def main():
    async with processes(Path(sys.argv[1])) as children:
        child = await children.start("sleeper", ["sleep", "600"], {"PATH": "/bin:/usr/bin"})
        print(child.process.pid, flush=True)
        raise await children.first_end()

run_to_the_end(main())
"""


def test_a_killed_parent_takes_its_children_along(tmp_path: object) -> None:
    with started([sys.executable, "-c", PARENT, str(tmp_path)]) as parent:
        child = psutil.Process(int(line_of(parent.stdout)))

        parent.kill()

        assert psutil.wait_procs([child], timeout=10)[1] == []


def test_a_child_that_ends_by_itself_ends_the_stack_and_is_named(tmp_path: object) -> None:
    with started([sys.executable, "-c", PARENT, str(tmp_path)]) as parent:
        psutil.Process(int(line_of(parent.stdout))).kill()

        said = parent.communicate(timeout=20)[1]

        assert parent.returncode == 1
        assert "sleeper ended by itself with status -9" in said
        assert "sleeper.log" in said
