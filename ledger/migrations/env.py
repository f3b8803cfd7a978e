"""What Alembic runs for every command. The connection, in its transaction, is from `ledger.upgrading`."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from sqlalchemy import JSON, DateTime, String
from sqlalchemy.types import TypeDecorator

from ledger.tables import metadata


def _plain_type(kind: str, thing: Any, _context: Any) -> str | Literal[False]:
    """Migrations outlive our code, so they are written with SQLAlchemy's own types."""
    if kind != "type":
        return False
    stored = thing.impl_instance if isinstance(thing, TypeDecorator) else thing
    if isinstance(stored, DateTime):
        return "sa.DateTime(timezone=True)"
    if isinstance(stored, String):
        return "sa.String()"
    return "sa.JSON()" if isinstance(stored, JSON) else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    compare_type=True,
    render_item=_plain_type,
    render_as_batch=True,  # SQLite changes a table by copying it
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
