"""The tables' version: refuse a database that is not up to date.

Without Alembic, which only `ledger.upgrading` needs: it takes a tenth of the time that a command starts in.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from sqlalchemy import Connection, inspect, text
from sqlalchemy.engine import URL

from ledger.database import Database
from ledger.errors import SchemaError
from ledger.urls import shown, sqlite_file

_VERSIONS = Path(__file__).parent / "migrations" / "versions"

SchemaState = Literal["empty", "older", "current", "newer"]


async def schema_state(database: Database) -> SchemaState:
    """How the database's tables relate to this version of the engine."""
    file = sqlite_file(database.url)
    if file is not None and not file.exists():
        return "empty"  # connecting would create it
    async with database.engine.connect() as connection:
        return await connection.run_sync(state_of)


async def require_current(database: Database) -> None:
    """Raises SchemaError, with the command to run, unless the database has this version's tables."""
    state = await schema_state(database)
    if state != "current":
        raise SchemaError(remedy(database.url, state))


def remedy(url: URL, state: SchemaState) -> str:
    """What is wrong with the tables, and what to do about it."""
    where = shown(url)
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
