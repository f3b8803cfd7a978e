"""The cases of cards that expire before their next charge."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from dunning.case import Entry
from dunning.expiry.card import CardDecision, CardOutcome, CardState
from ledger.cases import entry_row
from ledger.database import Database, changed, insert_once, put
from ledger.records import from_row
from ledger.tables import CardCaseRow, DispatchRow, EntryRow, table


@dataclass(frozen=True, slots=True, kw_only=True)
class CardCaseRecord:
    """A card's case as it stood when it was last remembered."""

    id: str
    account: str
    method: str
    expiry: str
    episode: int
    workflow_id: str
    run_id: str
    customer: str
    policy_name: str
    policy_version: str
    opened_at: datetime
    charge_at: datetime
    outcome: CardOutcome | None
    closed_at: datetime | None
    closed_reason: str
    stopped: bool
    next_at: datetime | None
    next_what: str

    @property
    def settled(self) -> bool:
        """Whether no scan begins again: a person ended it, or the charge came with the old card."""
        over = self.outcome in (CardOutcome.EXPIRED, CardOutcome.UPDATED)
        return self.closed_at is not None and (over or self.stopped)


class CardCases:
    """The cards of the ledger. At most one case is open per account, payment method and expiry."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(
        self,
        *,
        account: str,
        method: str,
        expiry: str,
        workflow_id: str,
        run_id: str,
        customer: str,
        policy_name: str,
        policy_version: str,
        charge_at: datetime,
        at: datetime,
    ) -> CardCaseRecord:
        """Take the card's open case, or open its next episode; the same run gets the same case again.

        Compare `workflow_id` with your own: another workflow may hold the open case.
        """
        async with self._database.write() as session:
            row = await _latest(session, account, method, expiry)
            while row is None or (row.closed_at is not None and row.run_id != run_id):
                episode = 1 if row is None else row.episode + 1
                fresh = CardCaseRow(
                    id=f"card/{account or 'acct'}/{method}/{expiry}/{episode}",
                    account=account,
                    method=method,
                    expiry=expiry,
                    episode=episode,
                    workflow_id=workflow_id,
                    run_id=run_id,
                    customer=customer,
                    policy_name=policy_name,
                    policy_version=policy_version,
                    opened_at=at,
                    charge_at=charge_at,
                    remembered_at=at,
                )
                await insert_once(session, fresh)
                row = await _latest(session, account, method, expiry)
            if row.workflow_id == workflow_id and row.run_id != run_id:  # the old run was terminated
                highest = select(func.max(col(EntryRow.seq))).where(col(EntryRow.case_id) == row.id)
                row.run_id, row.seq_base = run_id, (await session.scalar(highest) or 0) + 1
                await session.flush()
            return _record(row)

    async def remember(
        self,
        state: CardState,
        decision: CardDecision,
        entries: Sequence[Entry],
        *,
        seq: int,
        run_id: str,
        at: datetime,
    ) -> bool:
        """Write what one step said and where the card's case now stands, in one transaction.

        A repeat of a step replaces it; what a run says that was replaced by another one is ignored (False).
        """
        mine = table(CardCaseRow).c
        async with self._database.write() as session:
            row = await session.get(CardCaseRow, state.ref.case_id, with_for_update=True)
            if row is None or row.run_id != run_id:
                return False
            news = {
                "charge_at": state.charge_at,
                "outcome": state.outcome,
                "closed_at": state.closed_at,
                "closed_reason": state.closed_reason,
                "stopped": state.stopped,
                "next_at": decision.until if decision.action is None else at,
                "next_what": decision.reason,
                "remembered_at": at,
            }
            await changed(session, update(table(CardCaseRow)).where(mine.id == row.id).values(news))
            lines, first = table(EntryRow).c, row.seq_base + seq
            await changed(session, delete(table(EntryRow)).where(lines.case_id == row.id, lines.seq >= first))
            await put(session, [entry_row(row.id, first + i, entry) for i, entry in enumerate(entries)])
            return True

    async def of(self, account: str, cards: Iterable[tuple[str, str]]) -> dict[str, CardCaseRecord]:
        """The latest case of each of these cards (payment method and expiry), by payment method."""
        wanted = dict(cards)
        query = (
            select(CardCaseRow)
            .where(col(CardCaseRow.account) == account, col(CardCaseRow.method).in_(list(wanted)))
            .order_by(col(CardCaseRow.episode))
        )
        return {r.method: r for r in await self._all(query) if r.expiry == wanted[r.method]}

    async def concerned(
        self, account: str, *, customer: str | None = None, method: str | None = None
    ) -> tuple[CardCaseRecord, ...]:
        """The open cases of a customer or of a payment method."""
        named = or_(col(CardCaseRow.customer) == (customer or ""), col(CardCaseRow.method) == (method or ""))
        return await self._all(
            select(CardCaseRow)
            .where(col(CardCaseRow.account) == account, named, col(CardCaseRow.closed_at).is_(None))
            .order_by(col(CardCaseRow.opened_at))
        )

    async def of_customer(self, account: str, customer: str) -> tuple[CardCaseRecord, ...]:
        """All cases of a customer's cards, oldest first."""
        theirs = (col(CardCaseRow.account) == account, col(CardCaseRow.customer) == customer)
        return await self._all(select(CardCaseRow).where(*theirs).order_by(col(CardCaseRow.opened_at)))

    async def get(self, case_id: str) -> CardCaseRecord | None:
        """The case of that id."""
        found = await self._all(select(CardCaseRow).where(col(CardCaseRow.id) == case_id))
        return found[0] if found else None

    async def told(self, account: str, method: str, since: datetime) -> datetime | None:
        """When the customer was last told, not before `since`, that this card will expire; None: not once."""
        query = (
            select(func.max(col(DispatchRow.claimed_at)))
            .join(CardCaseRow, col(CardCaseRow.id) == col(DispatchRow.case_id))
            .where(
                col(CardCaseRow.account) == account,
                col(CardCaseRow.method) == method,
                col(DispatchRow.fate) == "accepted",
                col(DispatchRow.claimed_at) >= since,
            )
        )
        async with self._database.read() as session:
            return await session.scalar(query)

    async def _all(self, query: Select[CardCaseRow]) -> tuple[CardCaseRecord, ...]:
        async with self._database.read() as session:
            return tuple(_record(row) for row in await session.scalars(query))


async def _latest(session: AsyncSession, account: str, method: str, expiry: str) -> CardCaseRow | None:
    query = (
        select(CardCaseRow)
        .where(
            col(CardCaseRow.account) == account,
            col(CardCaseRow.method) == method,
            col(CardCaseRow.expiry) == expiry,
        )
        .order_by(col(CardCaseRow.episode).desc())
        .limit(1)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return (await session.scalars(query)).first()


def _record(row: CardCaseRow) -> CardCaseRecord:
    return from_row(CardCaseRecord, row)
