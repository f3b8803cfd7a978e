"""Connections to SQLite that finish what they began, although who asked was cancelled meanwhile.

An activity that times out, or a request whose client hangs up, is cancelled while a statement runs in the
connection's thread. Left alone, the statement may still begin a transaction that nobody knows of, and its
write lock outlives the connection that was thrown away: measured, the ledger was locked until the restart.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, TypeVar

import aiosqlite

T = TypeVar("T")


class Statement(aiosqlite.Cursor):
    """A statement and all its rows in one call of the connection's thread.

    A plain cursor makes four (open, execute, fetch, close), and each costs more than SQLite's own work.
    """

    def __init__(self, connection: PatientConnection) -> None:
        super().__init__(connection, None)  # type: ignore[arg-type]  # made in the thread, which owns it
        self._connection, self._rows = connection, list[Any]()

    async def execute(self, sql: str, parameters: Iterable[Any] | None = None) -> Statement:
        """Execute, and read everything that it returns."""
        self._rows = await self._connection._execute(self._run, sql, parameters or ())
        return self

    async def executemany(self, sql: str, parameters: Iterable[Iterable[Any]]) -> Statement:
        """Execute for each set of parameters; nothing is returned."""
        await self._connection._execute(self._run_many, sql, parameters)
        return self

    async def fetchall(self) -> list[Any]:
        """The rows."""
        return self._rows

    async def close(self) -> None:
        """Nothing is open: a statement whose rows were read is at its end."""

    def _run(self, sql: str, parameters: Iterable[Any]) -> list[Any]:
        self._cursor = self._connection._conn.cursor()
        return self._cursor.execute(sql, parameters).fetchall()  # type: ignore[arg-type]

    def _run_many(self, sql: str, parameters: Iterable[Iterable[Any]]) -> None:
        self._cursor = self._connection._conn.cursor()
        self._cursor.executemany(sql, parameters)  # type: ignore[arg-type]


class PatientConnection(aiosqlite.Connection):
    """A connection whose calls are always waited for, and that leaves no transaction behind when closed."""

    def cursor(self, _cursor_class: Any = None) -> Statement:  # type: ignore[override]
        """A statement to execute."""
        return Statement(self)

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
