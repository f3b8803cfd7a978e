"""Child processes of the local stack: each with a group and a log of its own, and all of them ended with us.

A signal to the terminal's foreground group reaches only the parent, which then stops its children in the
right order. Should the parent be killed, `starter.guardian` ends them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any, NoReturn, TypeVar

from starter import guardian
from starter.cli_output import warn
from starter.ending import leave
from starter.errors import DunningError, SettingsError

HOST = "127.0.0.1"
GRACE = 8.0
LAST_LINES = 12
_POLL = 0.03

Result = TypeVar("Result")


class StackError(DunningError):
    """A part of the local stack did not start or has ended; the text names it and shows its last lines."""

    code = "stack_failed"


@dataclass(frozen=True)
class Child:
    """A process that was started. `name` is for people."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    @property
    def running(self) -> bool:
        """Whether it still runs."""
        return self.process.returncode is None

    def failure(self, what: str) -> StackError:
        """An error about it, with the end of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
        said = "\n  ".join(lines) if lines else "(it wrote nothing)"
        return StackError(f"{self.name} {what}; the end of {self.log}:\n  {said}")


class Processes:
    """Starts processes, watches them, and stops them: the first one last, for the others lean on it."""

    def __init__(self, logs: Path, guard: Popen[str]) -> None:
        self._logs, self._guard = logs, guard
        self._children: list[Child] = []

    async def start(
        self, name: str, argv: Sequence[str], env: Mapping[str, str], cwd: Path | None = None
    ) -> Child:
        """Start a process. What it prints goes to `<logs>/<name>.log`. Raises StackError."""
        log = self._logs / f"{name}.log"
        with log.open("ab") as sink:
            try:
                process = await asyncio.create_subprocess_exec(
                    *argv, env=dict(env), cwd=cwd, stdin=asyncio.subprocess.DEVNULL,
                    stdout=sink, stderr=sink, process_group=0,
                )  # fmt: skip
            except OSError as error:
                raise StackError(f"{name} cannot be started: {argv[0]}: {error.strerror}") from error
        child = Child(name, process, log)
        self._children.append(child)
        self._tell_guard("+", process.pid)
        return child

    async def wait_ready(
        self, child: Child, is_ready: Callable[[], Awaitable[bool]], timeout: float = 30.0
    ) -> None:
        """Ask `is_ready` until it says yes. Raises StackError if the child ends, or after `timeout` s."""
        deadline = time.monotonic() + timeout
        while not await is_ready():
            if not child.running:
                raise child.failure(f"ended with status {child.process.returncode} before it was ready")
            if time.monotonic() > deadline:
                raise child.failure(f"was not ready after {timeout:.0f} s")
            await asyncio.sleep(_POLL)
        if not child.running:  # then somebody else answered, at the port that the child did not get
            raise child.failure(f"ended with status {child.process.returncode}")

    async def first_end(self) -> StackError:
        """Wait until a child ends by itself, which none should, and return the error that says so."""
        ends = {asyncio.create_task(child.process.wait()): child for child in self._children}
        try:
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in ends:
                task.cancel()
        child = ends[done.pop()]
        return child.failure(f"ended by itself with status {child.process.returncode}")

    async def unless_one_ends(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do the work, which needs all children. Raises StackError as soon as one ends by itself."""
        task, end = asyncio.create_task(work), asyncio.create_task(self.first_end())
        try:
            await asyncio.wait({task, end}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise end.result()
            return task.result()
        finally:
            task.cancel()
            end.cancel()
            await asyncio.gather(task, end, return_exceptions=True)

    async def stop(self, child: Child) -> None:
        """End one child and its group: kindly, then by force."""
        if child.running:
            _signal_group(child.process.pid, signal.SIGTERM)
            try:
                await asyncio.wait_for(child.process.wait(), GRACE)
            except TimeoutError:
                _signal_group(child.process.pid, signal.SIGKILL)
                await child.process.wait()
        _signal_group(child.process.pid, signal.SIGKILL)  # what it left behind
        self._tell_guard("-", child.process.pid)
        self._children.remove(child)

    async def stop_all(self) -> None:
        """End all children; the first one last."""
        await asyncio.gather(*(self.stop(child) for child in self._children[1:]))
        for child in self._children[:1]:
            await self.stop(child)

    def _tell_guard(self, sign: str, group: int) -> None:
        assert self._guard.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # somebody ended the guardian: the stack can do without
            self._guard.stdin.write(f"{sign}{group}\n")
            self._guard.stdin.flush()


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


@asynccontextmanager
async def processes(logs: Path) -> AsyncIterator[Processes]:
    """Processes that end with the block."""
    logs.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - nothing else runs yet
    for old in logs.glob("*.log"):  # noqa: ASYNC240
        old.unlink()
    command = [sys.executable, "-I", "-S", guardian.__file__]
    guard = Popen(command, stdin=PIPE, text=True, start_new_session=True)  # noqa: ASYNC220 - returns at once
    running = Processes(logs, guard)
    try:
        yield running
    finally:
        try:
            await asyncio.shield(running.stop_all())
        finally:
            assert guard.stdin is not None
            guard.stdin.close()
            await asyncio.to_thread(guard.wait)


#: Among the ports taken: a wanted one was busy.
_CROWDED = 0
#: Below those that systems hand out to whoever asks for any: nobody gets one between our look and its use.
_OTHERS = range(10_000, 32_000)


def port_near(wanted: int, taken: set[int], tell: Callable[[str], None], what: str) -> int:
    """The wanted port, or a free one if it is busy; then `tell` says so in one line.

    One busy port means that another stack is about, which may be starting: its other ports are left to it.
    """
    port = wanted
    while port in taken or (port == wanted and _CROWDED in taken) or not _is_free(port):
        port = random.choice(_OTHERS)
    taken.add(port)
    if port != wanted:
        taken.add(_CROWDED)
        tell(f"port {wanted} is busy: {what} takes {port}")
    return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


# --- the end ----------------------------------------------------------------------------------------------


def run_to_the_end(main: Coroutine[Any, Any, int], *, interrupted: int = 0) -> NoReturn:
    """Run `main`, cancel it on SIGINT or SIGTERM, and leave the process with its status.

    `interrupted` is the status after a signal. Our errors are told in one sentence: 2 for settings, else 1.
    """
    status = 0
    try:
        status = asyncio.run(_cancellable(main, interrupted))
    except SettingsError as error:
        warn("\n".join(error.problems))
        status = 2
    except DunningError as error:
        warn(error.message)
        status = 1
    except Exception:
        sys.excepthook(*sys.exc_info())
        status = 1
    leave(status)


async def _cancellable(main: Coroutine[Any, Any, int], interrupted: int) -> int:
    task = asyncio.create_task(main)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        return await task
    return interrupted
