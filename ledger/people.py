"""What the ledger knows of one customer, and how the words of it are erased.

Financial facts stay: which invoice failed, what was charged, when which message went out, what was agreed to.
What people wrote goes: reasons, notes, replies, flags. So do the fingerprints of addresses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select, union, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from dunning.forgetting import ENDINGS, LEVERS, NO_WORDS
from dunning.reconciliation import Kind
from dunning.risk import Flag
from ledger.database import Database, changed
from ledger.records import ExtensionRecord, PromiseRecord, from_row
from ledger.tables import (
    CardCaseRow,
    CaseRow,
    ConsentRow,
    DispatchEventRow,
    DispatchRow,
    EntryRow,
    ExtensionRow,
    FindingRow,
    PromiseRow,
    ReminderRow,
    ReplyRow,
    RiskRow,
    SignalRow,
    SurveyRow,
)

#: Lines of a timeline that repeat what a person wrote, as `dunning.forgetting.unsaid` has it.
_WRITTEN = or_(col(EntryRow.what).startswith(LEVERS, autoescape=True), col(EntryRow.what).in_(ENDINGS))


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

        def theirs(row: Any) -> ColumnElement[bool]:
            return and_(col(row.account) == account, col(row.customer) == customer)

        rows = (CaseRow, CardCaseRow, ReminderRow)
        cases = select(union(*(select(col(row.id)).where(theirs(row)) for row in rows)).subquery())
        stopped = select(col(EntryRow.case_id)).where(col(EntryRow.what) == f"{LEVERS}stop")
        told = and_(col(EntryRow.case_id).in_(cases), _WRITTEN)
        wrote = or_(col(ReplyRow.case_id).in_(cases), theirs(ReplyRow))
        sent = select(col(DispatchRow.id)).where(col(DispatchRow.case_id).in_(cases))
        heard = col(DispatchEventRow.dispatch_id).in_(sent)
        late = and_(col(FindingRow.case_id).in_(cases), col(FindingRow.kind) == Kind.CASE_OVERDUE)
        async with self._database.write() as session:
            lost = 0
            for row in (CaseRow, CardCaseRow):
                closed = and_(theirs(row), col(row.id).in_(stopped))
                lost += await _set(session, row, closed, closed_reason=NO_WORDS)
                lost += await _set(session, row, theirs(row), next_what="")
            lost += await _set(session, CaseRow, theirs(CaseRow), asks="")
            lost += await _set(session, EntryRow, told, text=NO_WORDS, data={})
            lost += await _set(session, ExtensionRow, col(ExtensionRow.case_id).in_(cases), reason="")
            lost += await _set(session, ConsentRow, theirs(ConsentRow), text="")
            lost += await _set(session, ReplyRow, wrote, text=NO_WORDS, address="")
            lost += await _set(session, SurveyRow, col(SurveyRow.case_id).in_(cases), text="")
            lost += await _set(session, DispatchRow, col(DispatchRow.id).in_(sent), address=None, detail="")
            lost += await _set(session, DispatchEventRow, heard, detail="")
            lost += await _set(session, FindingRow, late, words=NO_WORDS)
            lost += await _set(session, SignalRow, theirs(SignalRow), text="")
            await _unflag(session, account, customer)
            return lost

    async def forget(self, case_id: str) -> None:
        """Erase what people wrote in a case before its newest step: that one has forgotten it already."""
        newest = select(col(CaseRow.seq)).where(col(CaseRow.id) == case_id).scalar_subquery()
        told = and_(col(EntryRow.case_id) == case_id, col(EntryRow.seq) < newest, _WRITTEN)
        async with self._database.write() as session:
            await _set(session, EntryRow, told, text=NO_WORDS, data={})


async def _unflag(session: AsyncSession, account: str, customer: str) -> None:
    """A flag stays with its weight and its facts; what a system of the business wrote of it goes."""
    risk = await session.get(RiskRow, (account, customer), with_for_update=True)
    if risk is not None:
        flags = [Flag.model_validate(flag) for flag in risk.flags]
        risk.flags = [flag.model_copy(update={"text": flag.told}).model_dump(mode="json") for flag in flags]


async def _set(session: AsyncSession, row: Any, where: ColumnElement[bool], **values: Any) -> int:
    """Overwrite what is not so yet; how many rows that were."""
    plain = {name: value for name, value in values.items() if name != "data"}  # JSON cannot be compared
    differs = or_(*(col(getattr(row, name)).is_distinct_from(value) for name, value in plain.items()))
    statement = update(row).where(where, differs).values(**values)
    return await changed(session, statement.execution_options(synchronize_session=False))
