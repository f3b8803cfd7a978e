"""What all tables share."""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import (
    MetaData,
    Table,
    text,
)
from sqlmodel import SQLModel

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


metadata = MetaData(naming_convention=NAMES)


class Row(SQLModel):
    """The base of all tables; it keeps them apart from other users of SQLModel in the process."""

    model_config = {"defer_build": True}  # nobody validates rows: they come from records
    metadata: ClassVar[MetaData] = metadata


def table(row: type[Row]) -> Table:
    """The table behind a class of rows, for statements that touch no object."""
    return metadata.tables[str(row.__tablename__)]


def where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


def open_only(column: str) -> dict[str, Any]:
    return {"unique": True, **where(f"{column} IS NULL")}
