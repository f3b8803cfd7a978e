"""Cases: who holds one, where it stands, and everything that was said about it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Select, and_, bindparam, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from dunning.case import Entry
from dunning.values import Stage
from ledger.database import Database, changed, insert_once, put, rows_where
from ledger.errors import LedgerError, NotInLedger
from ledger.outbox import put_out
from ledger.outgoing import Outgoing
from ledger.paging import cursor_at, newest_first, place_of
from ledger.records import CaseClaim, CasePage, CaseRecord, CaseSummary, EntryRecord, from_row
from ledger.tables import AttemptRow, CaseRow, EntryRow, ExtensionRow, PromiseRow, table

#: Lines that were added after a case had closed are numbered from here on, clear of all that it said itself.
LATE = 1_000_000_000


class Cases:
    """The cases of the ledger. At most one is open per account and invoice."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(
        self,
        *,
        account: str,
        invoice_id: str,
        workflow_id: str,
        run_id: str,
        customer: str,
        subscription: str | None,
        currency: str,
        amount: int,
        policy_name: str,
        policy_version: str,
        at: datetime,
    ) -> CaseClaim:
        """Take the invoice's open case, or open its next episode; `amount` in minor units.

        The same workflow gets the same case again: also in a new run, after the old one was terminated.
        Another workflow gets nothing: `held_by` names the holder. A run that closed its case never opens
        another one, so a straggling repeat of its first step cannot leave an orphan behind.
        """
        opening = CaseRow(
            id="",
            account=account,
            invoice_id=invoice_id,
            episode=0,
            workflow_id=workflow_id,
            run_id=run_id,
            customer=customer,
            subscription=subscription,
            currency=currency,
            amount=amount,
            amount_remaining=amount,
            policy_name=policy_name,
            policy_version=policy_version,
            opened_at=at,
            stage=Stage.RECOVERING,
            remembered_at=at,
        )
        async with self._database.write() as session:
            held_by = None
            row = await _latest(session, account, invoice_id, lock=True)
            while not _goes_on(row, run_id):
                await _open(session, opening, 1 if row is None else row.episode + 1)
                row = await _latest(session, account, invoice_id, lock=True)  # ours, or the faster one's
            assert row is not None
            if row.workflow_id != workflow_id:
                held_by = row.workflow_id
            elif row.run_id != run_id:
                await _take_over(session, row, run_id, at)
            return CaseClaim(
                case=from_row(CaseRecord, row),
                fresh=held_by is None and not row.past_runs,
                next_number=await _next_number(session, account, invoice_id),
                next_seq=await _next_seq(session, row.id),
                held_by=held_by,
            )

    async def remember(
        self,
        case_id: str,
        seq0: int,
        entries: Sequence[Entry],
        summary: CaseSummary,
        *,
        run_id: str | None = None,
        outgoing: Sequence[Outgoing] = (),
    ) -> bool:
        """Write what a step said, what goes `outgoing` and where the case now stands, in one transaction.

        The entries are numbered from `seq0` on: within the run if `run_id` is given (a run that took the case
        over starts at 0 again), else within the case. A step may be carried out again when a worker died
        before Temporal recorded it, and may then see more: so the newest version of a step replaces the older
        one, the same call changes nothing, and a straggler is ignored (False), be it of an earlier step or of
        a run that was replaced. A run never heard of is a reset of the current one: it goes on from `seq0`.
        Raises NotInLedger for an unknown case, LedgerError if another case of the invoice is open.
        """
        async with self._database.write() as session:
            base = await _base(session, case_id, run_id)
            seq0 += base or 0
            if base is None or not await _update(session, case_id, seq0, summary):
                return False
            await changed(session, _DROP_ENTRIES, {"of_case": case_id, "from_seq": seq0})
            await put(session, [entry_row(case_id, seq0 + i, entry) for i, entry in enumerate(entries)])
            await put(session, _extensions(case_id, summary))
            await put(session, _promises(case_id, summary))
            await put_out(session, case_id, outgoing, summary.at)
            return True

    async def append_entry(self, case_id: str, entry: Entry, *, once: str) -> bool:
        """Add a line to the timeline of a closed case, such as a refund of what it recovered.

        `once` names what is told: a second line of the same kind about it is not added (False). Nothing is
        added while the case is open (False): then it tells its story itself. Raises NotInLedger.
        """
        async with self._database.write() as session:
            row = await session.get(CaseRow, case_id, with_for_update=True)
            if row is None:
                raise NotInLedger(f"case {case_id} is not in the ledger: claim it before you add to it")
            if row.closed_at is None:
                return False
            same = (col(EntryRow.case_id) == case_id, col(EntryRow.what) == entry.what)
            told = (await session.scalars(select(col(EntryRow.data)).where(*same))).all()
            if any(data.get("id") == once for data in told):
                return False
            late = (col(EntryRow.case_id) == case_id, col(EntryRow.seq) >= LATE)
            number = await session.scalar(select(func.count()).select_from(EntryRow).where(*late))
            data = {**entry.data, "id": once}
            noted = entry_row(case_id, LATE + (number or 0), entry.model_copy(update={"data": data}))
            return await insert_once(session, noted)

    async def get(self, case_id: str) -> CaseRecord | None:
        """The case of that id."""
        rows = await self._database.rows(CaseRow, id=case_id)
        return from_row(CaseRecord, rows[0]) if rows else None

    async def by_invoice(self, account: str, invoice_id: str) -> CaseRecord | None:
        """The latest case of an invoice, open or closed."""
        rows = await self._database.rows(CaseRow, "episode", account=account, invoice_id=invoice_id)
        return from_row(CaseRecord, rows[-1]) if rows else None

    async def older_open(
        self, account: str, customer: str, subscription: str | None, before_case_id: str
    ) -> CaseRecord | None:
        """The oldest open case of the same subscription that was opened before this one.

        A renewal that fails while an older invoice is still open adopts that case's dates.
        """
        if subscription is None:
            return None
        whose = {"account": account, "customer": customer, "subscription": subscription}
        (rows,) = await self._database.found([_older_open()], {**whose, "before": before_case_id})
        return from_row(CaseRecord, rows[0]) if rows else None

    async def find(
        self,
        *,
        account: str | None = None,
        invoice: str | None = None,
        customer: str | None = None,
        subscription: str | None = None,
        open_only: bool = False,
        stage: Stage | None = None,
        needs_human: bool | None = None,
        policy: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> CasePage:
        """Cases that fit all that is given, newest first. Raises LedgerError for a foreign cursor."""
        given = {
            "account": account,
            "invoice_id": invoice,
            "customer": customer,
            "subscription": subscription,
            "stage": stage,
            "needs_human": needs_human,
            "policy_name": policy,
        }
        wanted = {name: value for name, value in given.items() if value is not None}
        query = newest_first(tuple(wanted), open_only=open_only, onward=cursor is not None)
        place = place_of(cursor) if cursor is not None else {}
        (rows,) = await self._database.found([query], {**wanted, **place, "most": limit + 1})
        found = tuple(from_row(CaseRecord, row) for row in rows)
        page = found[:limit]
        return CasePage(cases=page, cursor=cursor_at(page[-1]) if len(found) > limit and page else None)

    async def halted(self) -> tuple[CaseRecord, ...]:
        """The open cases that wait because effects were halted."""
        held = and_(col(CaseRow.closed_at).is_(None), col(CaseRow.halted).is_(True))
        return await self._all(select(CaseRow).where(held).order_by(col(CaseRow.opened_at)))

    async def due_before(self, moment: datetime) -> tuple[CaseRecord, ...]:
        """The open cases whose next step is due by `moment`, the earliest first."""
        due = and_(col(CaseRow.closed_at).is_(None), col(CaseRow.next_at) <= moment)
        return await self._all(select(CaseRow).where(due).order_by(col(CaseRow.next_at)))

    async def entries(self, case_id: str) -> tuple[EntryRecord, ...]:
        """The timeline of a case, oldest first."""
        rows = await self._database.rows(EntryRow, "seq", case_id=case_id)
        return tuple(from_row(EntryRecord, row) for row in rows)

    async def _all(self, query: Select[CaseRow]) -> tuple[CaseRecord, ...]:
        async with self._database.read() as session:
            return tuple(from_row(CaseRecord, row) for row in await session.scalars(query))


# --- claiming -----------------------------------------------------------------------------------------


#: The latest case of an invoice. Building a statement costs more than executing it.
_LATEST = (
    select(CaseRow)
    .where(
        col(CaseRow.account) == bindparam("account"),
        col(CaseRow.invoice_id) == bindparam("invoice_id"),
    )
    .order_by(col(CaseRow.episode).desc())
    .limit(1)
)


async def _latest(session: AsyncSession, account: str, invoice_id: str, *, lock: bool) -> CaseRow | None:
    query = _LATEST.with_for_update() if lock else _LATEST
    fresh = query.execution_options(populate_existing=True)
    return (await session.scalars(fresh, {"account": account, "invoice_id": invoice_id})).first()


def _goes_on(row: CaseRow | None, run_id: str) -> bool:
    return row is not None and (row.closed_at is None or row.run_id == run_id)


async def _open(session: AsyncSession, opening: CaseRow, episode: int) -> None:
    opening.id = f"{opening.account or 'acct'}/{opening.invoice_id}/{episode}"
    opening.episode = episode
    await insert_once(session, opening)


async def _take_over(session: AsyncSession, row: CaseRow, run_id: str, at: datetime) -> None:
    """The new run counts on from the old one's entries; what the old run may still send is late."""
    row.past_runs, row.run_id = [*row.past_runs, row.run_id], run_id
    row.remembered_at, row.run_state = at, "running"
    row.seq = row.seq_base = await _next_seq(session, row.id)
    await session.flush()


async def _next_number(session: AsyncSession, account: str, invoice_id: str) -> int:
    highest = await session.scalar(_HIGHEST_NUMBER, {"account": account, "invoice_id": invoice_id})
    return 1 + (highest or 0)


async def _next_seq(session: AsyncSession, case_id: str) -> int:
    highest = await session.scalar(_HIGHEST_SEQ, {"case_id": case_id})
    return 0 if highest is None else highest + 1


_HIGHEST_NUMBER = select(func.max(col(AttemptRow.number))).where(
    col(AttemptRow.account) == bindparam("account"), col(AttemptRow.invoice_id) == bindparam("invoice_id")
)
_HIGHEST_SEQ = select(func.max(col(EntryRow.seq))).where(
    col(EntryRow.case_id) == bindparam("case_id"), col(EntryRow.seq) < LATE
)


_SAME_SUBSCRIPTION = ("account", "customer", "subscription")


@cache
def _older_open() -> Select[*tuple[Any, ...]]:
    mine, older = bindparam("before", type_=_CASES.id.type), rows_where(CaseRow, _SAME_SUBSCRIPTION)
    since = select(_CASES.opened_at).where(_CASES.id == mine).scalar_subquery()
    before = or_(_CASES.opened_at < since, and_(_CASES.opened_at == since, _CASES.id < mine))
    return (
        older.where(_CASES.closed_at.is_(None), _CASES.id != mine, before)
        .order_by(_CASES.opened_at, _CASES.id)
        .limit(1)
    )


# --- remembering --------------------------------------------------------------------------------------

# Built once: this runs at every decision of every case, and building costs more than executing.
_ENTRIES, _CASES = table(EntryRow).c, table(CaseRow).c
_DROP_ENTRIES = delete(table(EntryRow)).where(
    _ENTRIES.case_id == bindparam("of_case"), _ENTRIES.seq >= bindparam("from_seq"), _ENTRIES.seq < LATE
)
_RUN = (
    select(_CASES.run_id, _CASES.seq_base, _CASES.past_runs)
    .where(_CASES.id == bindparam("of_case"))
    .with_for_update()
)
_SUMMARY = (
    *("stage", "amount_remaining", "waiting_on", "outcome", "recovered_via", "closed_at", "closed_reason"),
    *("next_at", "next_what", "next_action", "decline_code", "decline_class", "needs_human", "halted"),
    *("asks", "asks_whom", "asks_until", "access"),
    *("grace_starts_at", "last_day", "zone", "run_state"),
)
_KEPT_IF_NONE = ("policy_name", "policy_version")
_REMEMBER = (
    update(table(CaseRow))
    .where(
        _CASES.id == bindparam("of_case"),
        or_(
            _CASES.seq < bindparam("from_seq"),
            and_(_CASES.seq == bindparam("from_seq"), _CASES.remembered_at <= bindparam("decided_at")),
        ),
    )
    .values(
        {name: bindparam(f"new_{name}", type_=_CASES[name].type) for name in _SUMMARY}
        | {
            name: func.coalesce(bindparam(f"new_{name}", type_=_CASES[name].type), _CASES[name])
            for name in _KEPT_IF_NONE
        }
        | {"seq": bindparam("from_seq"), "remembered_at": bindparam("decided_at"), "woken_at": None}
    )
)


async def _update(session: AsyncSession, case_id: str, seq0: int, summary: CaseSummary) -> bool:
    news = {f"new_{name}": getattr(summary, name) for name in (*_SUMMARY, *_KEPT_IF_NONE)}
    params = {"of_case": case_id, "from_seq": seq0, "decided_at": summary.at, **news}
    try:
        return await changed(session, _REMEMBER, params) == 1
    except IntegrityError as error:  # it closed, another episode was opened, and now it would go on
        raise LedgerError(
            f"case {case_id} is closed and a later case of its invoice is open: end this workflow"
        ) from error


async def _base(session: AsyncSession, case_id: str, run_id: str | None) -> int | None:
    """Where the run's entries begin; None for a run that was replaced."""
    row = (await session.execute(_RUN, {"of_case": case_id})).first()
    if row is None:
        raise NotInLedger(f"case {case_id} is not in the ledger: claim it before you remember anything of it")
    if run_id is None:
        return 0
    if run_id in row.past_runs:
        return None
    if run_id != row.run_id:  # a reset copies the claim and repeats steps that the ledger has seen
        news = {"run_id": run_id, "past_runs": [*row.past_runs, row.run_id], "seq": -1}
        await changed(session, update(table(CaseRow)).where(_CASES.id == case_id).values(news))
    return int(row.seq_base)


def entry_row(case_id: str, seq: int, entry: Entry) -> EntryRow:
    """The row of a line of a timeline."""
    return EntryRow(
        case_id=case_id, seq=seq, at=entry.at, what=entry.what, text=entry.text, by=entry.by, data=entry.data
    )


def _extensions(case_id: str, summary: CaseSummary) -> list[ExtensionRow]:
    return [
        ExtensionRow(
            case_id=case_id,
            index=i,
            days=granted.days,
            at=granted.at,
            by=granted.by,
            reason=granted.reason,
            by_customer=granted.by_customer,
        )
        for i, granted in enumerate(summary.extensions)
    ]


def _promises(case_id: str, summary: CaseSummary) -> list[PromiseRow]:
    return [
        PromiseRow(case_id=case_id, index=i, promised_on=made.on, at=made.at, by=made.by, state=made.state)
        for i, made in enumerate(summary.promises)
    ]
