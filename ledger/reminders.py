"""The reminders before renewals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlmodel import col

from dunning.renewals.reminder import ReminderOutcome
from ledger.database import Database, changed, insert_once
from ledger.records import from_row
from ledger.tables import ReminderRow, table


@dataclass(frozen=True, slots=True, kw_only=True)
class ReminderRecord:
    """A reminder as the ledger knows it."""

    id: str
    account: str
    subscription: str
    charge_at: datetime
    workflow_id: str
    run_id: str
    customer: str
    policy_name: str
    policy_version: str
    opened_at: datetime
    outcome: ReminderOutcome | None
    closed_at: datetime | None
    closed_reason: str


class Reminders:
    """The reminders of the ledger. There is one for each subscription and charge, whoever asks for it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(
        self,
        *,
        account: str,
        subscription: str,
        charge_at: datetime,
        workflow_id: str,
        run_id: str,
        customer: str,
        policy_name: str,
        policy_version: str,
        at: datetime,
    ) -> ReminderRecord:
        """Take the reminder of this charge. Compare `run_id` with your own: another run may have had it."""
        row = ReminderRow(
            id=f"renewal/{account or 'acct'}/{subscription}/{charge_at:%Y-%m-%dT%H:%M}",
            account=account,
            subscription=subscription,
            charge_at=charge_at,
            workflow_id=workflow_id,
            run_id=run_id,
            customer=customer,
            policy_name=policy_name,
            policy_version=policy_version,
            opened_at=at,
        )
        async with self._database.write() as session:
            await insert_once(session, row)
            found = await session.get_one(ReminderRow, row.id, populate_existing=True)
            if found.closed_at is None and found.workflow_id == workflow_id:  # the old run was terminated
                found.run_id = run_id
                await session.flush()
            return from_row(ReminderRecord, found)

    async def close(self, case_id: str, outcome: ReminderOutcome, reason: str, at: datetime) -> None:
        """Write down how it ended; a repeat changes nothing."""
        mine = table(ReminderRow).c
        ended = update(table(ReminderRow)).where(mine.id == case_id, mine.closed_at.is_(None))
        async with self._database.write() as session:
            await changed(session, ended.values(outcome=outcome, closed_reason=reason, closed_at=at))

    async def known(self, account: str, charges: Iterable[tuple[str, datetime]]) -> frozenset[str]:
        """Of these charges (subscription and moment) the subscriptions that have their reminder already."""
        wanted = dict(charges)
        query = select(ReminderRow).where(
            col(ReminderRow.account) == account, col(ReminderRow.subscription).in_(list(wanted))
        )
        async with self._database.read() as session:
            rows = await session.scalars(query)
            return frozenset(r.subscription for r in rows if r.charge_at == wanted[r.subscription])

    async def of_customer(self, account: str, customer: str) -> tuple[ReminderRecord, ...]:
        """The reminders of a customer, oldest first."""
        query = select(ReminderRow).where(
            col(ReminderRow.account) == account, col(ReminderRow.customer) == customer
        )
        async with self._database.read() as session:
            rows = await session.scalars(query.order_by(col(ReminderRow.opened_at)))
            return tuple(from_row(ReminderRecord, row) for row in rows)
