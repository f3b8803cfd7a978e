"""The tables' version: refuse a database that is not up to date.

Without Alembic, which only `ledger.upgrading` needs: it takes a tenth of the time that a command starts in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from sqlalchemy import Connection, Engine, create_engine, inspect, text

from ledger.database import engine_options, prepare_sqlite
from ledger.errors import SchemaError
from ledger.urls import parse_url, shown, sqlite_file

_VERSIONS = Path(__file__).parent / "migrations" / "versions"

SchemaState = Literal["empty", "older", "current", "newer"]


def schema_state(url: str) -> SchemaState:
    """How the database's tables relate to this version of the engine."""
    file = sqlite_file(parse_url(url, asynchronous=False))
    if file is not None and not file.exists():
        return "empty"  # connecting would create it
    with engine_for(url) as engine, engine.begin() as connection:
        return state_of(connection)


def schema_is_current(url: str) -> bool:
    """Whether the database has exactly this version's tables."""
    return schema_state(url) == "current"


def require_current(url: str) -> None:
    """Raises SchemaError, with the command to run, unless the database has this version's tables."""
    state = schema_state(url)
    if state != "current":
        raise SchemaError(remedy(url, state))


def remedy(url: str, state: SchemaState) -> str:
    """What is wrong with the tables, and what to do about it."""
    where = shown(parse_url(url, asynchronous=False))
    if state == "newer":
        return (
            f"the ledger at {where} was upgraded by a newer version of the engine: "
            "install that version (tables are never downgraded)"
        )
    found = "has no tables yet" if state == "empty" else "has the tables of an older version"
    return f"the ledger at {where} {found}: run `dunning db upgrade`"


def state_of(connection: Connection) -> SchemaState:
    """How the tables behind a connection relate to this version of the engine."""
    if not inspect(connection).has_table("alembic_version"):
        return "empty"
    found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    known = sorted(file.name.partition("_")[0] for file in _VERSIONS.glob("[0-9]*.py"))
    if found == known[-1]:
        return "current"
    return "empty" if found is None else "older" if found in known else "newer"


@contextmanager
def engine_for(url: str) -> Iterator[Engine]:
    """An engine that blocks, for as long as it is used."""
    parsed = parse_url(url, asynchronous=False)
    engine = create_engine(parsed, **engine_options(parsed))
    try:
        if parsed.get_backend_name() == "sqlite":
            prepare_sqlite(engine)
        yield engine
    finally:
        engine.dispose()
