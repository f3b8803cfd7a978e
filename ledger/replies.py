"""What customers write back: kept once, with who deals with it. Their words are nowhere else."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, select, update
from sqlmodel import col

from dunning.replies import ReplyKind
from dunning.values import Channel
from ledger.database import Database, changed, insert_once
from ledger.records import ReplyRecord, ReplyState, from_row
from ledger.tables import ReplyRow


class Replies:
    """The replies of the ledger, by the provider's id of the message."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def receive(
        self,
        reply_id: str,
        *,
        at: datetime,
        channel: Channel,
        address: str,
        kind: ReplyKind,
        text: str,
        account: str | None = None,
        customer: str | None = None,
        case_id: str | None = None,
    ) -> ReplyRecord:
        """Keep a reply before anything is done about it; the one that was kept first, if it came twice."""
        row = ReplyRow(
            id=reply_id,
            at=at,
            channel=channel,
            address=address,
            account=account,
            customer=customer,
            case_id=case_id,
            kind=kind,
            text=text,
            state="received",
        )
        async with self._database.write() as session:
            await insert_once(session, row)
            kept = (await session.scalars(select(ReplyRow).where(col(ReplyRow.id) == reply_id))).one()
            return from_row(ReplyRecord, kept)

    async def settle(self, reply_id: str, state: ReplyState, *, by: str = "") -> bool:
        """Say who deals with it: it is `done`, it is `waiting` for a person, or a person `answered` it.

        False if there is no such reply, or it was answered before.
        """
        statement = (
            update(ReplyRow)
            .where(col(ReplyRow.id) == reply_id, col(ReplyRow.state) != "answered")
            .values(state=state, by=by)
            .execution_options(synchronize_session=False)
        )
        async with self._database.write() as session:
            return await changed(session, statement) == 1

    async def get(self, reply_id: str) -> ReplyRecord | None:
        """One reply."""
        async with self._database.read() as session:
            row = await session.get(ReplyRow, reply_id)
            return None if row is None else from_row(ReplyRecord, row)

    async def of_case(self, case_id: str) -> tuple[ReplyRecord, ...]:
        """The replies to messages of a case, oldest first."""
        return await self._all(col(ReplyRow.case_id) == case_id)

    async def waiting(self) -> tuple[ReplyRecord, ...]:
        """The replies that wait for a person, oldest first."""
        return await self._all(col(ReplyRow.state) == "waiting")

    async def _all(self, where: ColumnElement[bool]) -> tuple[ReplyRecord, ...]:
        query = select(ReplyRow).where(where).order_by(col(ReplyRow.at), col(ReplyRow.id))
        async with self._database.read() as session:
            return tuple(from_row(ReplyRecord, row) for row in await session.scalars(query))
