"""What customers said went wrong."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlmodel import col

from ledger.database import Database, insert_once
from ledger.records import SurveyRecord, from_row
from ledger.tables import SurveyRow


class Surveys:
    """The surveys of the ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self, id: str, *, case_id: str, account: str, customer: str, at: datetime, reason: str, text: str
    ) -> bool:
        """Keep an answer; False if the same form came before."""
        row = SurveyRow(
            id=id, case_id=case_id, account=account, customer=customer, at=at, reason=reason, text=text
        )
        async with self._database.write() as session:
            return await insert_once(session, row)

    async def of_case(self, case_id: str) -> tuple[SurveyRecord, ...]:
        """The answers about a case, oldest first."""
        query = select(SurveyRow).where(col(SurveyRow.case_id) == case_id).order_by(col(SurveyRow.at))
        async with self._database.read() as session:
            return tuple(from_row(SurveyRecord, row) for row in await session.scalars(query))
