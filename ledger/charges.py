"""Charges that Stripe or the customer began: they use up the same limits as the engine's own."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import select

from ledger.database import Database, put
from ledger.records import ChargeRecord, from_row
from ledger.tables import AttemptRow, ChargeRow, table


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What a charge was for, whoever made it, and the fingerprint of the card or account that was charged."""

    invoice_id: str
    fingerprint: str | None


class Charges:
    """The charges of others that a look at Stripe showed, one row per account and charge."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def saw(self, *charges: ChargeRecord) -> bool:
        """Remember charges of one invoice, each once; False if all of it was known.

        A later word on a charge replaces the earlier.
        """
        if not charges:
            return False
        known = await self.of_invoice(charges[0].account, charges[0].invoice_id)
        news = [ChargeRow(**asdict(charge)) for charge in charges if charge not in known]
        if news:
            async with self._database.write() as session:
                await put(session, news)
        return bool(news)

    async def get(self, account: str, charge_id: str) -> ChargeRecord | None:
        """One charge."""
        rows = await self._database.rows(ChargeRow, account=account, charge_id=charge_id)
        return from_row(ChargeRecord, rows[0]) if rows else None

    async def trace(self, account: str, charge_id: str) -> Trace | None:
        """What a charge was for: one of the engine's own or of others. None if the ledger never saw it."""
        async with self._database.read() as session:
            for row in (AttemptRow, ChargeRow):
                columns = table(row).c
                query = select(columns.invoice_id, columns.fingerprint).where(
                    columns.account == account, columns.charge_id == charge_id
                )
                found = (await session.execute(query.limit(1))).first()
                if found is not None:
                    return Trace(invoice_id=found.invoice_id, fingerprint=found.fingerprint)
        return None

    async def of_invoice(self, account: str, invoice_id: str) -> tuple[ChargeRecord, ...]:
        """The charges of an invoice that the engine did not make, oldest first."""
        rows = await self._database.rows(ChargeRow, "at", "charge_id", account=account, invoice_id=invoice_id)
        return tuple(from_row(ChargeRecord, row) for row in rows)
