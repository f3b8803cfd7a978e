"""Suspended subscriptions: one row each, with the invoices that caused it and what to put back.

begin -> reserved -- provider said yes --> active -- lift of the last invoice --> lifting --> lifted
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Select, and_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from ledger.database import Database, insert_once
from ledger.errors import NotInLedger
from ledger.records import SuspensionRecord, from_row
from ledger.tables import SuspensionRow

_STEPS = {"active": "reserved", "lifted": "lifting"}


class Suspensions:
    """The suspensions of the ledger, one row per account and subscription."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(
        self,
        *,
        account: str,
        subscription: str,
        invoice_id: str,
        how: str,
        previous: Mapping[str, Any],
        at: datetime,
    ) -> SuspensionRecord:
        """Suspend for an invoice, or add it to the suspension in force; call before the provider.

        `first` is True for the invoice that began the suspension, also when it asks again. While the record
        is `unconfirmed` the provider must be called, by whoever asks; calling it twice does no harm.
        `previous` is stored once: what a repeat reads at Stripe may already be our own value.
        """
        row = SuspensionRow(
            account=account,
            subscription=subscription,
            state="reserved",
            how=how,
            begun_by=invoice_id,
            invoices=[invoice_id],
            previous=dict(previous),
            begun_at=at,
            changed_at=at,
        )
        async with self._database.write() as session:
            if await insert_once(session, row):
                return _record(row, first=True)
            held = await _locked(session, account, subscription)
            assert held is not None  # rows are never deleted
            if held.state == "lifted":
                held.how, held.previous, held.begun_at = how, dict(previous), at
            if held.state in ("lifted", "lifting"):  # while lifting, `previous` is still what to put back
                held.state, held.begun_by, held.changed_at = "reserved", invoice_id, at
            if invoice_id not in held.invoices:
                held.invoices = [*held.invoices, invoice_id]
            return _record(held, first=held.begun_by == invoice_id)

    async def lift(
        self, *, account: str, subscription: str, invoice_id: str, at: datetime
    ) -> SuspensionRecord | None:
        """Take an invoice away; None if the subscription is not suspended.

        Without invoices left the state is `lifting`: put `previous` back at the provider, then call
        `completed`. With some left it stays suspended for them.
        """
        async with self._database.write() as session:
            held = await _locked(session, account, subscription)
            if held is None or held.state == "lifted":
                return None
            held.invoices = [other for other in held.invoices if other != invoice_id]
            if not held.invoices and held.state != "lifting":
                held.state, held.changed_at = "lifting", at
            return _record(held)

    async def completed(
        self, *, account: str, subscription: str, to: Literal["active", "lifted"], at: datetime
    ) -> SuspensionRecord:
        """The provider said yes: `reserved` becomes `active`, `lifting` becomes `lifted`.

        In any other state nothing changes, and the record tells which: when a lift and a new suspension
        crossed, the later one is still unconfirmed. Raises NotInLedger if nothing was ever begun.
        """
        async with self._database.write() as session:
            held = await _locked(session, account, subscription)
            if held is None:
                raise NotInLedger(f"subscription {subscription} was never suspended: begin it first")
            if held.state == _STEPS[to]:
                held.state, held.changed_at = to, at
            return _record(held)

    async def active(self, account: str, subscription: str) -> SuspensionRecord | None:
        """The suspension in force, confirmed or not; None once it is lifted."""
        async with self._database.read() as session:
            row = (await session.scalars(_query(account, subscription))).first()
            return None if row is None or row.state == "lifted" else _record(row)


def _query(account: str, subscription: str) -> Select[SuspensionRow]:
    return select(SuspensionRow).where(
        and_(col(SuspensionRow.account) == account, col(SuspensionRow.subscription) == subscription)
    )


async def _locked(session: AsyncSession, account: str, subscription: str) -> SuspensionRow | None:
    return (await session.scalars(_query(account, subscription).with_for_update())).first()


def _record(row: SuspensionRow, *, first: bool = False) -> SuspensionRecord:
    return from_row(SuspensionRecord, row, invoices=tuple(row.invoices), first=first)
