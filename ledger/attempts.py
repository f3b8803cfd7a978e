"""Charge attempts: reserved before Stripe is asked, completed after."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlmodel import col

from ledger.database import Database, changed, insert_once
from ledger.errors import NotInLedger
from ledger.records import AttemptClaim, AttemptRecord, from_row
from ledger.tables import AttemptRow

#: Outcomes that a later look at Stripe may still replace.
PROVISIONAL = ("unknown", "processing")


class Attempts:
    """The charge attempts of the ledger, one row per account, invoice and number."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reserve(
        self,
        *,
        case_id: str,
        account: str,
        invoice_id: str,
        number: int,
        params: Mapping[str, Any],
        amount: int,
        currency: str,
        fingerprint: str | None,
        brand: str | None,
        at: datetime,
    ) -> AttemptClaim:
        """Claim the attempt; exactly one caller gets `new`. `amount` in minor units.

        `reserved`: somebody began it and no end is known. Send the stored `params` under the same idempotency
        key; once that is older than 24 hours ask Stripe first (Stripe API reference: Idempotent requests).
        `done`: take its result. Raises NotInLedger if the case was never claimed.
        """
        attempt = AttemptRow(
            account=account,
            invoice_id=invoice_id,
            number=number,
            case_id=case_id,
            params=dict(params),
            amount=amount,
            currency=currency,
            fingerprint=fingerprint,
            brand=brand,
            reserved_at=at,
        )
        async with self._database.write() as session:
            if await insert_once(session, attempt):
                return AttemptClaim(state="new", params=attempt.params, reserved_at=at)
            row = (await session.scalars(select(AttemptRow).where(_key(account, invoice_id, number)))).one()
            return AttemptClaim(
                state="reserved" if row.completed_at is None else "done",
                params=row.params,
                reserved_at=row.reserved_at,
                result=row.result,
            )

    async def complete(
        self,
        *,
        account: str,
        invoice_id: str,
        number: int,
        result: Mapping[str, Any],
        outcome: str,
        decline_class: str | None,
        charge_id: str | None,
        at: datetime,
    ) -> bool:
        """Record how the attempt ended; False if it had ended before, which is then left as it is.

        Only a provisional outcome (`unknown`, `processing`) is replaced. Raises NotInLedger for an attempt
        that was never reserved.
        """
        open_end = or_(col(AttemptRow.completed_at).is_(None), col(AttemptRow.outcome).in_(PROVISIONAL))
        statement = (
            update(AttemptRow)
            .where(_key(account, invoice_id, number), open_end)
            .values(
                result=dict(result),
                outcome=outcome,
                decline_class=decline_class,
                charge_id=charge_id,
                completed_at=at,
            )
            .execution_options(synchronize_session=False)
        )
        async with self._database.write() as session:
            if await changed(session, statement) == 1:
                return True
        if await self.get(account, invoice_id, number) is None:
            raise NotInLedger(
                f"attempt {number} of invoice {invoice_id} was never reserved: reserve it before you charge"
            )
        return False

    async def get(self, account: str, invoice_id: str, number: int) -> AttemptRecord | None:
        """One attempt."""
        found = await self._all(_key(account, invoice_id, number))
        return found[0] if found else None

    async def of_case(self, case_id: str) -> tuple[AttemptRecord, ...]:
        """The attempts of a case, in order."""
        return await self._all(col(AttemptRow.case_id) == case_id)

    async def of_invoice(self, account: str, invoice_id: str) -> tuple[AttemptRecord, ...]:
        """The attempts of an invoice over all episodes, in order."""
        return await self._all(
            and_(col(AttemptRow.account) == account, col(AttemptRow.invoice_id) == invoice_id)
        )

    async def _all(self, where: ColumnElement[bool]) -> tuple[AttemptRecord, ...]:
        query = select(AttemptRow).where(where).order_by(col(AttemptRow.number))
        async with self._database.read() as session:
            return tuple(from_row(AttemptRecord, row) for row in await session.scalars(query))


def _key(account: str, invoice_id: str, number: int) -> ColumnElement[bool]:
    return and_(
        col(AttemptRow.account) == account,
        col(AttemptRow.invoice_id) == invoice_id,
        col(AttemptRow.number) == number,
    )
