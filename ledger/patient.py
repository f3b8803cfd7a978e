"""Connections to SQLite that finish what they began, although who asked was cancelled meanwhile.

An activity that times out, or a request whose client hangs up, is cancelled while a statement runs in the
connection's thread. Left alone, the statement may still begin a transaction that nobody knows of, and its
write lock outlives the connection that was thrown away: measured, the ledger was locked until the restart.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import aiosqlite

T = TypeVar("T")


class PatientConnection(aiosqlite.Connection):
    """A connection whose calls are always waited for, and that leaves no transaction behind when closed."""

    async def _execute(self, fn: Callable[..., T], *args: Any, **options: Any) -> T:
        call: Coroutine[Any, Any, T] = super()._execute(fn, *args, **options)  # type: ignore[no-untyped-call]
        return await to_the_end(call)

    async def close(self) -> None:
        """Undo what is open, then close. Closing alone does not while a statement is referred to somewhere.

        Source: sqlite.org/c3ref/close.html.
        """
        await to_the_end(self._undo_and_close())

    async def _undo_and_close(self) -> None:
        with suppress(ValueError, sqlite3.Error):
            await self.rollback()
        await super().close()


def connect(path: str, **options: Any) -> PatientConnection:
    """Like `aiosqlite.connect`, in a thread that does not keep the process alive."""
    connection = PatientConnection(lambda: sqlite3.connect(path, **options), iter_chunk_size=64)
    connection._thread.daemon = True  # as SQLAlchemy does for those it makes itself
    return connection


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """The result of the work. A cancellation waits until it has ended."""
    task, cancelled = asyncio.ensure_future(work), None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
        except Exception:
            break  # the task tells it
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # it was taken note of
        raise cancelled
    return task.result()
