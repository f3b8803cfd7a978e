"""The global stop: while it is thrown, no effect leaves the house."""

from __future__ import annotations

import time
from datetime import datetime

from sqlalchemy import select, update
from sqlmodel import col

from ledger.database import Database, changed, insert_once
from ledger.records import Halt, from_row
from ledger.tables import SwitchRow, table

_HALT = "halt"
_SWITCHES = table(SwitchRow).c
_IN_FORCE = select(table(SwitchRow)).where(_SWITCHES.name == _HALT, _SWITCHES.lifted_at.is_(None))


class Switches:
    """The switches of the ledger; every throw of one stays on record."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen: tuple[float, Halt | None] | None = None

    async def halt(self, by: str, reason: str, at: datetime) -> Halt:
        """Hold every effect. If they are held already, the halt in force stays and is returned."""
        async with self._database.write() as session:
            await insert_once(session, SwitchRow(name=_HALT, by=by, reason=reason, at=at))
        halt = await self.halted(max_age=0)
        return halt or Halt(by=by, reason=reason, at=at)  # lifted again in this very moment

    async def lift(self, by: str, at: datetime) -> bool:
        """Let effects go on; False if none were held."""
        statement = (
            update(SwitchRow)
            .where(col(SwitchRow.name) == _HALT, col(SwitchRow.lifted_at).is_(None))
            .values(lifted_by=by, lifted_at=at)
            .execution_options(synchronize_session=False)
        )
        async with self._database.write() as session:
            lifted = await changed(session, statement) == 1
        self._seen = None
        return lifted

    async def halted(self, *, max_age: float = 1.0) -> Halt | None:
        """The halt in force. What this process knows may be `max_age` seconds old; 0 asks the database."""
        if self._seen is not None and time.monotonic() - self._seen[0] < max_age:
            return self._seen[1]
        asked = time.monotonic()
        async with self._database.read() as session:
            row = (await session.execute(_IN_FORCE)).first()
        halt = None if row is None else from_row(Halt, row)
        self._seen = (asked, halt)
        return halt
