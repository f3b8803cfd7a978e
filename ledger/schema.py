"""The tables' version: bring a database up to date, and refuse one that is not."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, event

from ledger.database import engine_options, prepare_sqlite, writing
from ledger.errors import SchemaError
from ledger.urls import parse_url, shown, sqlite_file

SchemaState = Literal["empty", "older", "current", "newer"]


def upgrade(url: str) -> None:
    """Bring the database to this version's tables, in one transaction; safe in many processes at once.

    Creates the file and folder of an SQLite database. Raises SchemaError if a newer version was here before.
    """
    file = sqlite_file(parse_url(url, asynchronous=False))
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    with _connect(url, writes=True) as connection:
        if _state(connection) == "newer":
            raise SchemaError(_remedy(url, "newer"))
        command.upgrade(_config(connection), "head")
        on_sqlite = connection.dialect.name == "sqlite"
        if on_sqlite and connection.exec_driver_sql("PRAGMA foreign_key_check").all():
            raise SchemaError("the upgrade would leave rows that refer to nothing: nothing was changed")


def schema_state(url: str) -> SchemaState:
    """How the database's tables relate to this version of the engine."""
    file = sqlite_file(parse_url(url, asynchronous=False))
    if file is not None and not file.exists():
        return "empty"  # connecting would create it
    with _connect(url, writes=False) as connection:
        return _state(connection)


def schema_is_current(url: str) -> bool:
    """Whether the database has exactly this version's tables."""
    return schema_state(url) == "current"


def require_current(url: str) -> None:
    """Raises SchemaError, with the command to run, unless the database has this version's tables."""
    state = schema_state(url)
    if state != "current":
        raise SchemaError(_remedy(url, state))


def _remedy(url: str, state: SchemaState) -> str:
    where = shown(parse_url(url, asynchronous=False))
    if state == "newer":
        return (
            f"the ledger at {where} was upgraded by a newer version of the engine: "
            "install that version (tables are never downgraded)"
        )
    found = "has no tables yet" if state == "empty" else "has the tables of an older version"
    return f"the ledger at {where} {found}: run `dunning db upgrade`"


def _state(connection: Connection) -> SchemaState:
    found = MigrationContext.configure(connection).get_current_revision()
    if found is None:
        return "empty"
    if found not in _revisions():
        return "newer"
    return "current" if found == _revisions()[0] else "older"


@cache
def _revisions() -> tuple[str, ...]:
    """The versions that this engine knows, the newest first. Reading them takes longest of all."""
    return tuple(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


@contextmanager
def _connect(url: str, *, writes: bool) -> Iterator[Connection]:
    parsed = parse_url(url, asynchronous=False)
    engine = create_engine(parsed, **engine_options(parsed))
    try:
        if parsed.get_backend_name() == "sqlite":
            prepare_sqlite(engine)
            if writes:
                event.listen(engine, "connect", _tables_may_be_replaced)
        with (writing(engine) if writes else engine).begin() as connection:
            if writes and parsed.get_backend_name() == "postgresql":
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


def _config(connection: Connection | None = None) -> Config:
    config = Config(attributes={"connection": connection})
    folder = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))
    return config


def draft_migration(message: str) -> None:
    """Write a new file to `ledger/migrations/versions`, to be read and mended by a person."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/draft.db"
        upgrade(url)
        with _connect(url, writes=True) as connection:
            config = _config(connection)
            number = len(list(ScriptDirectory.from_config(config).walk_revisions())) + 1
            command.revision(config, message=message, autogenerate=True, rev_id=f"{number:04d}")
