"""The forms of DATABASE_URL that the ledger understands."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from ledger.errors import LedgerUrlError

_FORMS = "write sqlite:///path/to/file.db or postgresql://user:password@host/database"
_DRIVERS = {"sqlite": ("pysqlite", "aiosqlite"), "postgresql": ("psycopg", "psycopg")}


def parse_url(url: str, *, asynchronous: bool) -> URL:
    """The URL with our driver in it. Raises LedgerUrlError; the message never shows a password."""
    try:
        given = make_url(url.strip())
    except (ArgumentError, ValueError) as error:
        raise LedgerUrlError(f"DATABASE_URL is not a database URL: {_FORMS}") from error
    backend = given.drivername.partition("+")[0]
    if backend == "postgres":  # the older name, which hosters still hand out
        backend = "postgresql"
    if backend not in _DRIVERS:
        raise LedgerUrlError(f"DATABASE_URL names {given.drivername}, which is no database of ours: {_FORMS}")
    if backend == "sqlite" and (given.database or ":memory:") == ":memory:":
        raise LedgerUrlError("DATABASE_URL names a database in memory, which would be lost: name a file")
    if backend == "postgresql" and not given.database:
        raise LedgerUrlError(f"DATABASE_URL names no database: {_FORMS}")
    return given.set(drivername=f"{backend}+{_DRIVERS[backend][asynchronous]}")


def sqlite_file(url: URL) -> Path | None:
    """The file of an SQLite URL; None for PostgreSQL and for SQLite's own `file:` URIs."""
    if url.get_backend_name() != "sqlite" or url.database is None or url.database.startswith("file:"):
        return None
    return Path(url.database)


def shown(url: URL) -> str:
    """The URL for people: without a password."""
    return url.render_as_string(hide_password=True)
