"""Bring a database up to date."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import URL

from ledger.database import engine_options, prepare_sqlite, writing
from ledger.errors import SchemaError
from ledger.schema import remedy, state_of
from ledger.urls import parse_url, sqlite_file


def upgrade(url: str) -> None:
    """Bring the database to this version's tables, in one transaction; safe in many processes at once.

    Creates the file and folder of an SQLite database. Raises SchemaError if a newer version was here before.
    """
    parsed = parse_url(url, asynchronous=False)
    file = sqlite_file(parsed)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    with _connect(parsed) as connection:
        if state_of(connection) == "newer":
            raise SchemaError(remedy(parsed, "newer"))
        command.upgrade(_config(connection), "head")
        on_sqlite = connection.dialect.name == "sqlite"
        if on_sqlite and connection.exec_driver_sql("PRAGMA foreign_key_check").all():
            raise SchemaError("the upgrade would leave rows that refer to nothing: nothing was changed")


@contextmanager
def _connect(url: URL) -> Iterator[Connection]:
    engine = create_engine(url, **engine_options(url))
    try:
        if engine.dialect.name == "sqlite":
            prepare_sqlite(engine)
            event.listen(engine, "connect", _tables_may_be_replaced)
        with writing(engine).begin() as connection:
            if engine.dialect.name == "postgresql":
                # One upgrade at a time; the lock ends with the transaction. The number is ours and arbitrary.
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7133301)")
            yield connection
    finally:
        engine.dispose()


def _tables_may_be_replaced(connection: Any, _record: object) -> None:
    """SQLite changes a table by copying it, and would not drop the old one while rows refer to it.

    Outside of a transaction only; what refers to nothing is looked for before the upgrade is committed
    (sqlite.org/lang_altertable.html, "Making other kinds of table schema changes").
    """
    connection.execute("PRAGMA foreign_keys = OFF")


def _config(connection: Connection) -> Config:
    config = Config(attributes={"connection": connection})
    folder = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))
    return config


def draft_migration(message: str) -> None:
    """Write a new file to `ledger/migrations/versions`, to be read and mended by a person."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/draft.db"
        upgrade(url)
        with _connect(parse_url(url, asynchronous=False)) as connection:
            config = _config(connection)
            number = len(list(ScriptDirectory.from_config(config).walk_revisions())) + 1
            command.revision(config, message=message, autogenerate=True, rev_id=f"{number:04d}")
