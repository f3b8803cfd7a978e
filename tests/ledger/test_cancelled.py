"""Who is cancelled in the middle of a transaction leaves no lock behind: an activity that times out, say."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text

from ledger import patient
from ledger.database import Database


def _another_process_writes(path: Path) -> None:
    """Raises sqlite3.OperationalError when the ledger stays locked."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=2)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("ROLLBACK")
    connection.close()


async def test_a_call_ends_before_its_cancellation_arrives(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    connection = await patient.connect(str(path), timeout=5, isolation_level=None)
    begins = asyncio.ensure_future(connection.cursor().execute("BEGIN IMMEDIATE"))
    for _ in range(3):
        await asyncio.sleep(0.01)
        begins.cancel()
    await asyncio.sleep(0.01)
    assert not begins.done()  # it waits for its turn, and somebody has to know that it got it
    other.execute("ROLLBACK")
    await asyncio.wait([begins])
    assert begins.cancelled()
    assert connection.in_transaction
    await connection.close()
    _another_process_writes(path)
    other.close()


async def test_who_waits_in_vain_is_told(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    connection = await patient.connect(str(path), timeout=0.05, isolation_level=None)
    with pytest.raises(sqlite3.OperationalError, match="database is locked"):
        await connection.cursor().execute("BEGIN IMMEDIATE")
    other.execute("ROLLBACK")
    await connection.cursor().execute("BEGIN IMMEDIATE")
    await connection.close()
    other.close()


async def test_a_connection_that_is_closed_undoes_what_it_began_whoever_keeps_its_cursor(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.db"
    connection = await patient.connect(str(path), timeout=5, isolation_level=None)
    await connection.execute("CREATE TABLE notes (words TEXT)")
    await connection.execute("BEGIN IMMEDIATE")
    kept = await connection.execute("INSERT INTO notes VALUES ('x') RETURNING words")
    await connection.close()
    _another_process_writes(path)
    assert kept is not None


async def test_writers_that_are_cancelled_at_any_moment_leave_no_lock(tmp_path: Path) -> None:
    path, chance = tmp_path / "ledger.db", random.Random(2)
    database = Database(f"sqlite:///{path}")
    async with database.write() as session:
        await session.execute(text("CREATE TABLE notes (words TEXT)"))

    async def hasty() -> None:
        task = asyncio.create_task(_writes(database))
        for _ in range(chance.choice((1, 1, 2, 3))):
            await asyncio.sleep(chance.choice((0, 0, 0.001, 0.003, 0.01)))
            task.cancel()
        await asyncio.wait([task])

    for _ in range(5):
        await asyncio.gather(*(hasty() for _ in range(40)))
    await asyncio.wait_for(_writes(database), 10)
    await asyncio.to_thread(_another_process_writes, path)
    await database.close()


async def _writes(database: Database) -> None:
    async with database.write() as session:
        await session.execute(text("INSERT INTO notes VALUES ('x')"))
