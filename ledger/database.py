"""Connections and transactions. The two databases differ here, and in nothing that callers can see."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from functools import cache
from typing import Any, cast

from sqlalchemy import Connection, CursorResult, Engine, Executable, Select, bindparam, event, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.util import greenlet_spawn

from ledger import patient
from ledger.errors import NotInLedger
from ledger.tables import Row, table
from ledger.types import dump_json
from ledger.urls import parse_url

#: How long a writer waits for another one, in seconds, before the database reports that it is locked.
BUSY_SECONDS = 15.0
_WRITES = "ledger_writes"
# A hash that two names share makes them wait for each other, and does no harm.
_ALONE = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")


class Database:
    """An async engine with a pool, and the two kinds of transactions."""

    def __init__(self, url: str) -> None:
        self.url = parse_url(url, asynchronous=True)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        options = engine_options(self.url)
        if self.is_sqlite:
            options["connect_args"] |= {"async_creator_fn": patient.connect}
        self.engine = create_async_engine(self.url, **options)
        self._writer = self.engine.execution_options(**{_WRITES: True})
        if self.is_sqlite:
            prepare_sqlite(self.engine.sync_engine)
        # SQLite has one writer at a time and polls for its turn; inside a process a queue is faster and fair.
        self._turn = asyncio.Lock() if self.is_sqlite else nullcontext()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A session that only reads. What is read first may have changed when the next is read.

        On SQLite no transaction is begun around it: that would cost as much as a statement.
        """
        async with AsyncSession(self.engine, expire_on_commit=False) as session:
            yield session

    async def rows(self, row: type[Row], *order: str, **where: str | int) -> Sequence[Any]:
        """The rows of a table whose columns have these values, in the order of other columns.

        The statement is built once.
        """
        (rows,) = await self.found([rows_where(row, tuple(where), order)], where)
        return rows

    async def found(
        self, queries: Sequence[Select[*tuple[Any, ...]]], values: Mapping[str, Any]
    ) -> list[Sequence[Any]]:
        """The rows of each of these statements, which share their parameters.

        For the busiest paths: no object is made of a row, and all of it is one step of the event loop where
        the database is SQLite.
        """

        def read() -> list[Sequence[Any]]:
            with self.engine.sync_engine.connect() as connection:
                return [connection.execute(query, values).all() for query in queries]

        return await greenlet_spawn(read)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """One transaction, committed at the end of the block, undone by an exception.

        On SQLite it begins IMMEDIATE: a transaction that reads first and writes later would be refused
        as busy at once when another one wrote in between (sqlite.org/lang_transaction.html).
        """
        async with self._turn:
            session = AsyncSession(self._writer, expire_on_commit=False)
            try:
                yield session
                await session.commit()
            finally:
                await session.close()  # as `async with` would, which takes a task for it

    async def alone(self, session: AsyncSession, *names: str) -> None:
        """Until this transaction ends, no other one that asks for one of these names goes on.

        Everybody must ask in the same order, or two may wait for each other. On SQLite a transaction that
        writes is alone anyway. On PostgreSQL what is read from now on is what the one before has committed.
        """
        if not self.is_sqlite:
            for name in names:
                await session.execute(_ALONE, {"name": name})

    async def close(self) -> None:
        """Give all connections back."""
        await self.engine.dispose()


def engine_options(url: URL) -> dict[str, Any]:
    """What both the async engine and the migrations are created with."""
    if url.get_backend_name() == "sqlite":
        return {
            "json_serializer": dump_json,
            "connect_args": {"timeout": BUSY_SECONDS},
            "pool_use_lifo": True,  # the connection that knows the statements already
        }
    connect = {} if "connect_timeout" in url.query else {"connect_timeout": 10}
    return {
        "json_serializer": dump_json,
        "connect_args": connect,
        "pool_pre_ping": True,
        "pool_size": 10,
        "max_overflow": 20,
    }


def prepare_sqlite(engine: Engine) -> None:
    """Make every connection of the engine safe for several processes, and let us begin transactions."""

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver must not begin transactions of its own
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        _use_wal(cursor)
        # A claim must survive the machine: no charge and no message twice.
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        if connection.get_execution_options().get(_WRITES, False):
            connection.exec_driver_sql("BEGIN IMMEDIATE")


def _use_wal(cursor: Any) -> None:
    """Change the mode of a new file, for good; does nothing to one that has it.

    Here SQLite does not wait for its turn as elsewhere, but is busy at once while another process makes the
    same file: the change begins as a reader, and who reads is never let wait to write.
    """
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
        time.sleep(0.02)


def writing(engine: Engine) -> Engine:
    """The same engine, for transactions that write."""
    return engine.execution_options(**{_WRITES: True})


Params = dict[str, Any] | list[dict[str, Any]] | None


async def changed(session: AsyncSession, statement: Executable, params: Params = None) -> int:
    """Execute an insert, update or delete; the number of rows it changed."""
    return cast("CursorResult[Any]", await session.execute(statement, params)).rowcount


async def insert_once(session: AsyncSession, row: Row) -> bool:
    """Insert unless a unique key is taken; True if we got it. This is how everything is claimed.

    A concurrent insert of the same key is waited for, so afterwards the winner's row can be read.
    Raises NotInLedger if the case or message that the row belongs to does not exist.
    """
    insert = _insert_once(session.get_bind().dialect.name, type(row))
    try:
        return await changed(session, insert, _values(row)) == 1
    except IntegrityError as error:
        owner = getattr(row, "case_id", None) or getattr(row, "dispatch_id", None)
        if owner is None:
            raise
        raise NotInLedger(
            f"{owner} is not in the ledger: claim it before you record anything of it"
        ) from error


async def put(session: AsyncSession, rows: Sequence[Row]) -> None:
    """Insert rows of one table, or overwrite those of the same primary key."""
    if rows:
        upsert = _upsert(session.get_bind().dialect.name, type(rows[0]))
        await changed(session, upsert, [_values(row) for row in rows])


def _values(row: Row) -> dict[str, Any]:
    columns = table(type(row)).columns
    return {c.name: getattr(row, c.name) for c in columns if c.autoincrement is not True}


# Statements are built once per table: building one costs more than executing it.


@cache
def rows_where(
    row: type[Row], names: tuple[str, ...], order: tuple[str, ...] = ()
) -> Select[*tuple[Any, ...]]:
    """All columns of the rows whose columns `names` have the values of the parameters of these names."""
    columns = table(row).c
    query = select(table(row)).where(*(columns[name] == bindparam(name) for name in names))
    return query.order_by(*(columns[name] for name in order))


@cache
def _insert_once(dialect: str, row: type[Row]) -> Executable:
    insert = _insert(dialect, row).on_conflict_do_nothing()
    return cast(Executable, insert.execution_options(preserve_rowcount=True))


@cache
def _upsert(dialect: str, row: type[Row]) -> Executable:
    insert, target = _insert(dialect, row), table(row)
    news = {c.name: insert.excluded[c.name] for c in target.columns if not c.primary_key}
    keys = [c.name for c in target.primary_key]
    return cast(Executable, insert.on_conflict_do_update(index_elements=keys, set_=news))


def _insert(dialect: str, row: type[Row]) -> Any:
    return (postgresql if dialect == "postgresql" else sqlite).insert(table(row))
