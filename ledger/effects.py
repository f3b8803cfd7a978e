"""Effects that have no table of their own (write an invoice off, cancel a subscription): claimed by name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, update

from ledger.database import Database, changed, insert_once, rows_where
from ledger.errors import NotInLedger
from ledger.records import EffectClaim
from ledger.tables import EffectRow, table


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
            return _claim((await session.execute(rows_where(EffectRow, ("key",)), {"key": key})).one())

    async def complete(self, key: str, result: Mapping[str, Any], *, at: datetime) -> bool:
        """Record the result; False if there was one, which is then left as it is. Raises NotInLedger."""
        news = {"of_key": key, "result": dict(result), "completed_at": at}
        async with self._database.write() as session:
            if await changed(session, _COMPLETE, news) == 1:
                return True
        if await self.get(key) is None:
            raise NotInLedger(f"effect {key} was never claimed: claim it before you carry it out")
        return False

    async def get(self, key: str) -> EffectClaim | None:
        """The effect as it stands."""
        rows = await self._database.rows(EffectRow, key=key)
        return _claim(rows[0]) if rows else None


_COMPLETE = update(table(EffectRow)).where(
    table(EffectRow).c.key == bindparam("of_key"), table(EffectRow).c.completed_at.is_(None)
)


def _claim(row: Any) -> EffectClaim:
    return EffectClaim(
        key=row.key,
        state="reserved" if row.completed_at is None else "done",
        params=row.params,
        claimed_at=row.claimed_at,
        result=row.result,
    )
