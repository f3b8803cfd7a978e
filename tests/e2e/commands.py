"""Running what a user runs, as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import psutil

REPOSITORY = Path(__file__).resolve().parents[2]
VENV = Path(sys.prefix)
#: A make that runs the tests must not pass its own arguments on to the make of a test.
_OF_MAKE = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "ARGS")


def environment(**more: str) -> dict[str, str]:
    """The environment of a user's shell."""
    return {name: value for name, value in os.environ.items() if name not in _OF_MAKE} | more


def make(target: str, *arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
    """`make target ARGS=…` in the repository, with the environment that runs the tests."""
    command = ["make", f"VENV={VENV}", target, f"ARGS={' '.join(arguments)}"]
    return run(command, timeout=timeout)


def run(command: Sequence[str] | str, *, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
    """A command to its end, in the repository; a string is pasted into a shell."""
    return subprocess.run(
        command,
        cwd=REPOSITORY,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        shell=isinstance(command, str),
    )


@contextmanager
def started(command: Sequence[str | Path], **env: str) -> Iterator[subprocess.Popen[str]]:
    """A running process; it and whatever it started are gone after the block, whatever happens."""
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=environment(**env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        family = descendants(process.pid)
        process.kill()
        process.wait()
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()


def descendants(pid: int) -> list[psutil.Process]:
    """Every process below this one; empty when it is gone."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def line_of(stream: IO[str] | None) -> str:
    """The next line that a process prints, waiting for it."""
    assert stream is not None
    return stream.readline()
