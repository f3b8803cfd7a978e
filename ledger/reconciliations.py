"""What reconciliations asked the ledger, and what they found and did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, union, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from dunning.reconciliation import Finding, Kind, Suspect, Tally
from ledger.database import Database, changed, insert_once
from ledger.outbox import put_out
from ledger.outgoing import Outgoing
from ledger.records import CaseRecord, FindingRecord, ReconciliationRecord, from_row
from ledger.tables import (
    AttemptRow,
    CardCaseRow,
    CaseRow,
    DispatchRow,
    FindingRow,
    ReconciliationRow,
    ReminderRow,
    SignalRow,
    SuspensionRow,
)

#: Rows of one page. What is left over of a list without pages is found by the next reconciliation.
PAGE = 100
MOST = 1000


#: Those that ended and were neither a trial nor an import.
WHOLE: tuple[ColumnElement[bool], ...] = (
    col(ReconciliationRow.dry_run).is_(False),
    col(ReconciliationRow.importing).is_(False),
    col(ReconciliationRow.finished_at).isnot(None),
)


class Reconciliations:
    """The reconciliations of the ledger, their findings, and where to look for more."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- the run ----------------------------------------------------------------------------------------

    async def begin(self, run: str, *, dry_run: bool, importing: bool, at: datetime) -> datetime:
        """Write down that it begins; returns when it began, which a repeat does not change."""
        row = ReconciliationRow(run=run, started_at=at, dry_run=dry_run, importing=importing, counts={})
        async with self._database.write() as session:
            await insert_once(session, row)
            begun = select(col(ReconciliationRow.started_at)).where(col(ReconciliationRow.run) == run)
            return (await session.scalars(begun)).one()

    async def finish(
        self, run: str, counts: Mapping[str, int], at: datetime, outgoing: Sequence[Outgoing] = ()
    ) -> None:
        """Write down how it ended, and what goes `outgoing`, in one transaction."""
        statement = update(ReconciliationRow).where(col(ReconciliationRow.run) == run)
        async with self._database.write() as session:
            ended = statement.values(counts=dict(counts), finished_at=at)
            await changed(session, ended.execution_options(synchronize_session=False))
            await put_out(session, None, outgoing, at)

    async def latest(self, *, whole: bool = False) -> ReconciliationRecord | None:
        """The one that began last. `whole`: of those that ended and were neither a trial nor an import."""
        query = select(ReconciliationRow).order_by(col(ReconciliationRow.started_at).desc()).limit(1)
        return await self._run(query.where(*WHOLE) if whole else query)

    async def get(self, run: str) -> ReconciliationRecord | None:
        """One reconciliation."""
        return await self._run(select(ReconciliationRow).where(col(ReconciliationRow.run) == run))

    async def imported(self) -> bool:
        """Whether an import came to its end."""
        done = and_(
            col(ReconciliationRow.importing).is_(True),
            col(ReconciliationRow.dry_run).is_(False),
            col(ReconciliationRow.finished_at).isnot(None),
        )
        return await self._run(select(ReconciliationRow).where(done).limit(1)) is not None

    async def engine_since(self) -> datetime | None:
        """When the engine began to know the account: its first case, or else its first reconciliation."""
        async with self._database.read() as session:
            first = await session.scalar(select(func.min(col(CaseRow.opened_at))))
            return first or await session.scalar(select(func.min(col(ReconciliationRow.started_at))))

    async def accounts(self) -> tuple[str, ...]:
        """The accounts of which the ledger knows anything, the platform's own ("") always among them."""
        known = union(*(select(col(row.account)) for row in (CaseRow, CardCaseRow, ReminderRow, SignalRow)))
        async with self._database.read() as session:
            return tuple(sorted({"", *(await session.scalars(known))}))

    # --- findings ---------------------------------------------------------------------------------------

    async def found(self, run: str, finding: Finding, at: datetime) -> None:
        """Write a finding down, before anything is done about it; a repeat changes nothing."""
        row = FindingRow(
            run=run,
            kind=finding.kind,
            account=finding.account,
            subject=finding.subject,
            invoice_id=finding.invoice_id,
            case_id=finding.case_id,
            workflow_id=finding.workflow_id,
            words=finding.words,
            remedy=finding.remedy,
            found_at=at,
        )
        async with self._database.write() as session:
            await insert_once(session, row)

    async def fixed(self, run: str, finding: Finding, at: datetime) -> None:
        """The remedy was carried out."""
        this = and_(
            col(FindingRow.run) == run,
            col(FindingRow.kind) == finding.kind,
            col(FindingRow.account) == finding.account,
            col(FindingRow.subject) == finding.subject,
        )
        async with self._database.write() as session:
            statement = update(FindingRow).where(this).values(fixed_at=at)
            await changed(session, statement.execution_options(synchronize_session=False))

    async def findings(self, run: str) -> tuple[FindingRecord, ...]:
        """The findings of a reconciliation, in the order in which they were made."""
        query = select(FindingRow).where(col(FindingRow.run) == run)
        query = query.order_by(col(FindingRow.found_at), col(FindingRow.kind), col(FindingRow.subject))
        async with self._database.read() as session:
            return tuple(from_row(FindingRecord, row) for row in await session.scalars(query))

    async def tally(self, run: str) -> dict[Kind, Tally]:
        """How much of each kind a reconciliation found and fixed."""
        counted = select(col(FindingRow.kind), func.count(), func.count(col(FindingRow.fixed_at)))
        query = counted.where(col(FindingRow.run) == run).group_by(col(FindingRow.kind))
        async with self._database.read() as session:
            rows = await session.execute(query.order_by(col(FindingRow.kind)))
            return {kind: Tally(found=found, fixed=fixed) for kind, found, fixed in rows}

    async def replayed(self, events: Iterable[str]) -> frozenset[str]:
        """Which of these events an earlier reconciliation replayed: Stripe goes on calling them lost."""
        known = and_(
            col(FindingRow.kind) == Kind.LOST_EVENT,
            col(FindingRow.subject).in_(list(events)),
            col(FindingRow.fixed_at).isnot(None),
        )
        async with self._database.read() as session:
            return frozenset(await session.scalars(select(col(FindingRow.subject)).where(known)))

    async def told(self, run: str, workflow_id: str) -> bool:
        """Whether this reconciliation has replayed an event for the case."""
        replayed = and_(
            col(FindingRow.run) == run,
            col(FindingRow.kind) == Kind.LOST_EVENT,
            col(FindingRow.workflow_id).contains(workflow_id, autoescape=True),
        )
        async with self._database.read() as session:
            return (await session.scalars(select(FindingRow).where(replayed).limit(1))).first() is not None

    # --- where to look ----------------------------------------------------------------------------------

    async def known(self, account: str, invoices: Sequence[str]) -> dict[str, CaseRecord]:
        """The latest case of each invoice that has one."""
        query = select(CaseRow).where(
            col(CaseRow.account) == account, col(CaseRow.invoice_id).in_(list(invoices))
        )
        async with self._database.read() as session:
            rows = await session.scalars(query.order_by(col(CaseRow.episode)))
            return {row.invoice_id: from_row(CaseRecord, row) for row in rows}

    async def owed(self, account: str, invoices: Sequence[str], at: datetime) -> None:
        """Stripe lists these invoices as open: their open cases are right to go on."""
        open_cases = and_(
            col(CaseRow.account) == account,
            col(CaseRow.invoice_id).in_(list(invoices)),
            col(CaseRow.closed_at).is_(None),
        )
        statement = update(CaseRow).where(open_cases).values(owed_at=at)
        async with self._database.write() as session:
            await changed(session, statement.execution_options(synchronize_session=False))

    async def strays(self, started: datetime, after: str | None) -> tuple[Suspect, ...]:
        """Cases that are open although Stripe did not list their invoice since `started`; one page by id."""
        where = and_(
            col(CaseRow.closed_at).is_(None),
            col(CaseRow.opened_at) < started,
            or_(col(CaseRow.owed_at).is_(None), col(CaseRow.owed_at) < started),
            col(CaseRow.id) > (after or ""),
        )
        query = select(CaseRow).where(where).order_by(col(CaseRow.id)).limit(PAGE)
        async with self._database.read() as session:
            rows = await session.scalars(query)
            return tuple(_suspect(Kind.CASE_OF_SETTLED_INVOICE, row, row.id) for row in rows)

    async def suspended(self, after: str | None) -> tuple[tuple[Suspect, ...], str | None]:
        """Suspensions in force none of whose invoices has an open case: a page, and where it ends."""
        query = select(SuspensionRow).where(
            col(SuspensionRow.state) != "lifted", col(SuspensionRow.subscription) > (after or "")
        )
        async with self._database.read() as session:
            rows = list(await session.scalars(query.order_by(col(SuspensionRow.subscription)).limit(PAGE)))
            found = [await _held_for_nothing(session, row) for row in rows]
        cursor = rows[-1].subscription if len(rows) == PAGE else None
        return tuple(suspect for suspects in found for suspect in suspects), cursor

    async def overdue(self, before: datetime) -> tuple[Suspect, ...]:
        """Open cases that should have acted before that moment."""
        where = and_(col(CaseRow.closed_at).is_(None), col(CaseRow.next_at) < before)
        query = select(CaseRow).where(where).order_by(col(CaseRow.next_at)).limit(MOST)
        async with self._database.read() as session:
            rows = await session.scalars(query)
            return tuple(
                _suspect(Kind.CASE_OVERDUE, row, row.id, since=row.next_at, note=row.next_what)
                for row in rows
            )

    async def unknown(self, before: datetime) -> tuple[Suspect, ...]:
        """Attempts and messages of open cases that began before that moment, and whose end is not known."""
        attempts = select(CaseRow, AttemptRow).where(
            col(AttemptRow.case_id) == col(CaseRow.id),
            col(CaseRow.closed_at).is_(None),
            col(AttemptRow.reserved_at) < before,
            or_(col(AttemptRow.completed_at).is_(None), col(AttemptRow.outcome) == "unknown"),
        )
        messages = select(CaseRow, DispatchRow).where(
            col(DispatchRow.case_id) == col(CaseRow.id),
            col(CaseRow.closed_at).is_(None),
            col(DispatchRow.claimed_at) < before,
            or_(col(DispatchRow.fate).is_(None), col(DispatchRow.fate) == "unknown"),
        )
        async with self._database.read() as session:
            tried = (await session.execute(attempts.order_by(col(AttemptRow.reserved_at)).limit(MOST))).all()
            sent = (await session.execute(messages.order_by(col(DispatchRow.claimed_at)).limit(MOST))).all()
        return (
            *(
                _suspect(
                    Kind.ATTEMPT_UNKNOWN,
                    case,
                    f"{case.invoice_id}/{attempt.number}",
                    since=attempt.reserved_at,
                    note=str(attempt.number),
                )
                for case, attempt in tried
            ),
            *(
                _suspect(
                    Kind.MESSAGE_UNKNOWN,
                    case,
                    message.id,
                    since=message.claimed_at,
                    note=f"{message.channel} {message.step}",
                )
                for case, message in sent
            ),
        )

    async def _run(self, query: Any) -> ReconciliationRecord | None:
        async with self._database.read() as session:
            row = (await session.scalars(query)).first()
            return None if row is None else from_row(ReconciliationRecord, row)


def _suspect(
    kind: Kind, case: CaseRow, subject: str, *, since: datetime | None = None, note: str = ""
) -> Suspect:
    return Suspect(
        kind=kind,
        account=case.account,
        invoice_id=case.invoice_id,
        subject=subject,
        case_id=case.id,
        workflow_id=case.workflow_id,
        since=since,
        note=note,
    )


async def _held_for_nothing(session: AsyncSession, row: SuspensionRow) -> list[Suspect]:
    """The invoices of a suspension as suspects, unless a case of one of them is still open."""
    if not row.invoices:
        return []  # it is being lifted: the case that lifts it is open until it is done
    of_row = and_(col(CaseRow.account) == row.account, col(CaseRow.invoice_id).in_(row.invoices))
    cases = list(await session.scalars(select(CaseRow).where(of_row).order_by(col(CaseRow.episode))))
    latest = {case.invoice_id: case for case in cases}
    if any(case.closed_at is None for case in latest.values()):
        return []
    return [_suspect(Kind.SUSPENDED_WITHOUT_DEBT, case, row.subscription) for case in latest.values()]
