"""Money that went back after it was recovered: refunds and disputes, as Stripe told of them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlmodel import col

from dunning.reports import Reversal
from ledger.database import Database, insert_once
from ledger.records import ReversalRecord, from_row
from ledger.tables import ReversalRow


class Reversals:
    """The refunds and disputes of payments of invoices that have a case; one row each."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def saw(self, account: str, invoice_id: str, reversal: Reversal, at: datetime) -> None:
        """Remember it. A later word on the same one replaces an earlier one, whichever arrives first."""
        row = ReversalRow(account=account, invoice_id=invoice_id, told_at=at, **dict(reversal))
        key = (col(ReversalRow.account) == account, col(ReversalRow.id) == reversal.id)
        async with self._database.write() as session:
            if await insert_once(session, row):
                return
            known = (await session.scalars(select(ReversalRow).where(*key).with_for_update())).one()
            if known.told_at <= at:
                known.status, known.amount, known.told_at = reversal.status, reversal.amount, at

    async def of_invoice(self, account: str, invoice_id: str) -> tuple[ReversalRecord, ...]:
        """What went back of an invoice's payments."""
        mine = (col(ReversalRow.account) == account, col(ReversalRow.invoice_id) == invoice_id)
        async with self._database.read() as session:
            rows = await session.scalars(select(ReversalRow).where(*mine).order_by(col(ReversalRow.id)))
            return tuple(from_row(ReversalRecord, row) for row in rows)
