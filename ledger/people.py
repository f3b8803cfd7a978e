"""What the ledger knows of one customer, and how the words of it are erased.

Financial facts stay: which invoice failed, what was charged, when which message went out, what was agreed to.
What people wrote goes: reasons, notes, replies, and the fingerprints of addresses that were written to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from ledger.database import Database, changed
from ledger.records import ExtensionRecord, PromiseRecord, from_row
from ledger.tables import (
    CaseRow,
    ConsentRow,
    DispatchEventRow,
    DispatchRow,
    EntryRow,
    ExtensionRow,
    PromiseRow,
    ReplyRow,
    SurveyRow,
)

ERASED = "(erased)"
#: Lines of a timeline that repeat what a person wrote.
_WRITTEN = or_(col(EntryRow.what).like("lever.%"), col(EntryRow.what) == "case.closed")


class People:
    """Customers, over all their cases."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def promises(self, cases: Sequence[str]) -> tuple[PromiseRecord, ...]:
        """What was promised in these cases."""
        query = select(PromiseRow).where(col(PromiseRow.case_id).in_(list(cases)))
        async with self._database.read() as session:
            rows = await session.scalars(query.order_by(col(PromiseRow.at)))
            return tuple(from_row(PromiseRecord, row) for row in rows)

    async def extensions(self, cases: Sequence[str]) -> tuple[ExtensionRecord, ...]:
        """The time that was granted in these cases."""
        query = select(ExtensionRow).where(col(ExtensionRow.case_id).in_(list(cases)))
        async with self._database.read() as session:
            rows = await session.scalars(query.order_by(col(ExtensionRow.at)))
            return tuple(from_row(ExtensionRecord, row) for row in rows)

    async def erase(self, account: str, customer: str) -> int:
        """Erase what people wrote in the customer's cases, in one transaction; how many rows lost words."""
        cases = select(col(CaseRow.id)).where(
            col(CaseRow.account) == account, col(CaseRow.customer) == customer
        )
        mine = (col(ConsentRow.account) == account, col(ConsentRow.customer) == customer)
        of_case = col(ReplyRow.case_id).in_(cases)
        theirs = or_(of_case, and_(col(ReplyRow.account) == account, col(ReplyRow.customer) == customer))
        sent = select(col(DispatchRow.id)).where(col(DispatchRow.case_id).in_(cases))
        async with self._database.write() as session:
            stopped = select(col(EntryRow.case_id)).where(col(EntryRow.what) == "lever.stop")
            closed = and_(col(CaseRow.id).in_(cases), col(CaseRow.id).in_(stopped))
            told = and_(col(EntryRow.case_id).in_(cases), _WRITTEN)
            return sum(
                [
                    await _set(session, CaseRow, closed, closed_reason=ERASED),
                    await _set(session, CaseRow, col(CaseRow.id).in_(cases), next_what=""),
                    await _set(session, EntryRow, told, text=ERASED, data={}),
                    await _set(session, ExtensionRow, col(ExtensionRow.case_id).in_(cases), reason=""),
                    await _set(session, ConsentRow, and_(*mine), text=""),
                    await _set(session, ReplyRow, theirs, text=ERASED, address=""),
                    await _set(session, SurveyRow, col(SurveyRow.case_id).in_(cases), text=""),
                    await _set(session, DispatchRow, col(DispatchRow.case_id).in_(cases), address=None),
                    await _set(session, DispatchRow, col(DispatchRow.id).in_(sent), detail=""),
                    await _set(
                        session, DispatchEventRow, col(DispatchEventRow.dispatch_id).in_(sent), detail=""
                    ),
                ]
            )


async def _set(session: AsyncSession, row: Any, where: ColumnElement[bool], **values: Any) -> int:
    """Overwrite what is not so yet; how many rows that were."""
    plain = {name: value for name, value in values.items() if name != "data"}  # JSON cannot be compared
    differs = or_(*(col(getattr(row, name)).is_distinct_from(value) for name, value in plain.items()))
    statement = update(row).where(where, differs).values(**values)
    return await changed(session, statement.execution_options(synchronize_session=False))
