"""Connections to SQLite that do at once what needs no waiting, and finish what they began.

A statement of ours takes SQLite some microseconds, its way through the connection's thread and back a quarter
of a millisecond. So only what waits goes that way: for another process, or for the disk. A long read holds
the event loop up meanwhile (counting 50,000 cases for /metrics: a quarter of a second, on a slow machine):
a ledger of that size belongs on PostgreSQL.

An activity that times out, or a request whose client hangs up, is cancelled while the thread is at work. Left
alone, a statement may still begin a transaction that nobody knows of, and its write lock outlives the
connection that was thrown away: measured, the ledger was locked until the restart.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import aiosqlite

T = TypeVar("T")


class Statement(aiosqlite.Cursor):
    """A statement and all its rows in one step; a plain cursor takes four (open, execute, fetch, close)."""

    def __init__(self, connection: PatientConnection) -> None:
        super().__init__(connection, None)  # type: ignore[arg-type]  # made when it is executed
        self._connection, self._rows = connection, list[Any]()

    async def execute(self, sql: str, parameters: Iterable[Any] | None = None) -> Statement:
        """Execute, and read everything that it returns."""
        self._rows = await self._connection.run(partial(self._run, sql, parameters or ()))
        return self

    async def executemany(self, sql: str, parameters: Iterable[Iterable[Any]]) -> Statement:
        """Execute for each set of parameters; nothing is returned."""
        await self._connection.run(partial(self._run_many, sql, list(parameters)))
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

    def __init__(self, connector: Callable[[], sqlite3.Connection], patience: float) -> None:
        super().__init__(connector, iter_chunk_size=64)
        self._thread.daemon = True  # it does not keep the process alive, as with those that SQLAlchemy makes
        self._patience = patience

    def cursor(self, _cursor_class: Any = None) -> Statement:  # type: ignore[override]
        """A statement to execute."""
        return Statement(self)

    async def run(self, statement: Callable[[], T]) -> T:
        """Run a statement at once or, where another process is in its way, as soon as that one is done.

        Raises sqlite3.OperationalError when it has waited in vain.
        """
        try:
            return statement()
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY:
                raise
        return await self._execute(self._patiently, statement)

    def _patiently(self, statement: Callable[[], T]) -> T:
        self._conn.execute(f"PRAGMA busy_timeout = {self._patience * 1000:.0f}")
        try:
            return statement()
        finally:
            self._conn.execute("PRAGMA busy_timeout = 0")

    async def rollback(self) -> None:
        """Undo what is open, which waits for nobody."""
        self._conn.rollback()

    async def _execute(self, fn: Callable[..., T], *args: Any, **options: Any) -> T:
        call: Coroutine[Any, Any, T] = super()._execute(fn, *args, **options)  # type: ignore[no-untyped-call]
        return await to_the_end(call)

    async def close(self) -> None:
        """Undo what is open, then close. Closing alone does not while a statement is referred to somewhere.

        Source: sqlite.org/c3ref/close.html.
        """
        with suppress(ValueError, sqlite3.Error):
            await self.rollback()
        await to_the_end(super().close())


def connect(path: str, *, timeout: float, **options: Any) -> PatientConnection:
    """Like `aiosqlite.connect`. `timeout`: how long a statement waits for another process, in seconds."""
    options |= {"timeout": 0, "check_same_thread": False}
    return PatientConnection(lambda: sqlite3.connect(path, **options), timeout)


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
