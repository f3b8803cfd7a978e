"""The tables: from nothing to the newest, agreed between code and migrations, refused when they differ."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, create_engine, text

from ledger import Ledger, LedgerUrlError, SchemaError
from ledger.schema import state_of
from ledger.tables import metadata
from ledger.upgrading import upgrade
from ledger.urls import parse_url
from tests.fixtures.databases import Databases
from tests.fixtures.processes import forking, together

INDEXES = {
    "sqlite": "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY sql",
    "postgresql": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' "
    "AND tablename <> 'alembic_version' ORDER BY indexdef",
}


def engine(url: str) -> Engine:
    return create_engine(parse_url(url, asynchronous=False))


def execute(url: str, statement: str) -> None:
    with engine(url).begin() as connection:
        connection.execute(text(statement))


def indexes(url: str) -> list[str]:
    with engine(url).connect() as connection:
        return list(connection.scalars(text(INDEXES[connection.dialect.name])))


def state(url: str) -> str:
    with engine(url).connect() as connection:
        return state_of(connection)


class TestMigrations:
    def test_from_empty_to_current_and_again(self, empty_database_url: str) -> None:
        assert state(empty_database_url) == "empty"

        upgrade(empty_database_url)
        upgrade(empty_database_url)

        assert state(empty_database_url) == "current"

    def test_tables_of_the_code_and_of_the_migrations_agree(self, database_url: str) -> None:
        with engine(database_url).connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, metadata) == []

    def test_indexes_agree_to_the_letter(self, database_url: str, databases: Databases) -> None:
        built = databases.empty()
        metadata.create_all(engine(built))

        assert indexes(built) == indexes(database_url)
        assert any("closed_at IS NULL" in index for index in indexes(built))

    def test_whoever_makes_the_same_new_file_is_waited_for(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path}/new.db"
        other = sqlite3.connect(tmp_path / "new.db", isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        threading.Timer(0.2, other.close).start()

        upgrade(url)

        assert state(url) == "current"

    @forking
    async def test_many_processes_upgrade_at_once(self, empty_database_url: str) -> None:
        await together(upgrade, *[[empty_database_url]] * 3)

        assert state(empty_database_url) == "current"


class TestOpening:
    async def test_without_tables_says_what_to_run(self, empty_database_url: str) -> None:
        with pytest.raises(SchemaError, match="has no tables yet: run `dunning db upgrade`"):
            await Ledger.open(empty_database_url)

    def test_missing_file_is_not_created(self, tmp_path: Path) -> None:
        with pytest.raises(SchemaError, match="dunning db upgrade"):
            asyncio.run(Ledger.open(f"sqlite:///{tmp_path}/none.db"))

        assert list(tmp_path.iterdir()) == []

    def test_upgrade_makes_the_folder(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path}/deep/er/ledger.db"
        upgrade(url)

        assert state(url) == "current"

    async def test_newer_tables_are_left_alone(self, database_url: str) -> None:
        execute(database_url, "UPDATE alembic_version SET version_num = '9999'")

        with pytest.raises(SchemaError, match="by a newer version of the engine: install that version"):
            await Ledger.open(database_url)
        with pytest.raises(SchemaError, match="tables are never downgraded"):
            upgrade(database_url)

    async def test_an_open_ledger_notices_the_upgrade_by_another_version(
        self, ledger: Ledger, database_url: str
    ) -> None:
        assert await ledger.is_current()

        execute(database_url, "UPDATE alembic_version SET version_num = '9999'")

        assert not await ledger.is_current()

    async def test_sqlite_is_set_up_for_many_processes(self, sqlite_ledger: Ledger) -> None:
        database = sqlite_ledger._database
        async with database.read() as session:
            assert await session.scalar(text("PRAGMA journal_mode")) == "wal"
            assert await session.scalar(text("PRAGMA foreign_keys")) == 1


class TestUrls:
    @pytest.mark.parametrize(
        ("given", "driver"),
        [
            ("sqlite:///ledger.db", "sqlite+aiosqlite"),
            ("sqlite+pysqlite:////var/lib/ledger.db", "sqlite+aiosqlite"),
            ("postgres://u:p@db/dunning", "postgresql+psycopg"),
            ("postgresql://u:p@db/dunning?sslmode=require", "postgresql+psycopg"),
            ("postgresql+asyncpg://u:p@db/dunning", "postgresql+psycopg"),
        ],
    )
    def test_driver_is_ours_whatever_was_written(self, given: str, driver: str) -> None:
        assert parse_url(given, asynchronous=True).drivername == driver

    @pytest.mark.parametrize(
        ("given", "why"),
        [
            ("", "not a database URL"),
            ("ledger.db", "not a database URL"),
            ("mysql://u:secret@db/dunning", "names mysql"),
            ("sqlite://", "in memory"),
            ("sqlite:///:memory:", "in memory"),
            ("postgresql://u:secret@db", "names no database"),
        ],
    )
    def test_unusable_url_is_refused_without_its_password(self, given: str, why: str) -> None:
        with pytest.raises(LedgerUrlError, match=why) as refusal:
            parse_url(given, asynchronous=True)

        assert "secret" not in str(refusal.value)
