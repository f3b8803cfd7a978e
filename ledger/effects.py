"""Effects that have no table of their own (write an invoice off, cancel a subscription): claimed by name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlmodel import col

from ledger.database import Database, changed, insert_once
from ledger.errors import NotInLedger
from ledger.records import EffectClaim
from ledger.tables import EffectRow


class Effects:
    """Claims under keys such as `mark_uncollectible/<case id>`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, key: str, params: Mapping[str, Any], *, at: datetime) -> EffectClaim:
        """Claim the effect; exactly one caller gets `new`. Later ones get the `params` stored first."""
        row = EffectRow(key=key, params=dict(params), claimed_at=at)
        async with self._database.write() as session:
            if await insert_once(session, row):
                return EffectClaim(key=key, state="new", params=row.params, claimed_at=at)
            found = (await session.scalars(select(EffectRow).where(col(EffectRow.key) == key))).one()
            return _claim(found)

    async def complete(self, key: str, result: Mapping[str, Any], *, at: datetime) -> bool:
        """Record the result; False if there was one, which is then left as it is. Raises NotInLedger."""
        statement = (
            update(EffectRow)
            .where(col(EffectRow.key) == key, col(EffectRow.completed_at).is_(None))
            .values(result=dict(result), completed_at=at)
            .execution_options(synchronize_session=False)
        )
        async with self._database.write() as session:
            if await changed(session, statement) == 1:
                return True
        if await self.get(key) is None:
            raise NotInLedger(f"effect {key} was never claimed: claim it before you carry it out")
        return False

    async def get(self, key: str) -> EffectClaim | None:
        """The effect as it stands."""
        rows = await self._database.rows(EffectRow, key=key)
        return _claim(rows[0]) if rows else None


def _claim(row: Any) -> EffectClaim:
    return EffectClaim(
        key=row.key,
        state="reserved" if row.completed_at is None else "done",
        params=row.params,
        claimed_at=row.claimed_at,
        result=row.result,
    )
