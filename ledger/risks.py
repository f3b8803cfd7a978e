"""What the ledger knows of a customer's payments, and the risk that was read from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, cast

from sqlalchemy import Select, and_, bindparam, select
from sqlmodel import col

from dunning.risk import (
    Assessment,
    Flag,
    History,
    Level,
    PastAttempt,
    PastCase,
    Said,
    Signal,
    SignalKind,
)
from dunning.values import Outcome
from ledger.database import Database, put, rows_where
from ledger.outbox import put_out
from ledger.outgoing import Outgoing
from ledger.records import RiskRecord
from ledger.tables import AttemptRow, CaseRow, ConsentRow, PromiseRow, RiskRow, SignalRow, table

#: More of a customer's past than this changes no flag.
_MOST = 200
_Rows = Sequence[Any]


class Risks:
    """Histories, signals and levels by customer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def told(
        self,
        *,
        account: str,
        customer: str,
        kind: SignalKind,
        key: str,
        at: datetime,
        by: str,
        text: str = "",
        until: datetime | None = None,
    ) -> None:
        """Remember what was told of a customer; it replaces what was told under the same key."""
        row = SignalRow(
            account=account, customer=customer, kind=kind, key=key, at=at, by=by, text=text, until=until
        )
        async with self._database.write() as session:
            await put(session, [row])

    async def history(self, account: str, customer: str) -> History:
        """What is known of a customer, newest first; each fact names its row."""
        queries = (_attempts_of(), _cases_of(), _broken_promises_of(), _consents_of(), _signals_of())
        found = await self._database.found(queries, {"account": account, "customer": customer})
        attempts, cases, broken_promises, consents, signals = found
        return History(
            attempts=_attempts(attempts),
            cases=_cases(cases),
            broken_promises=_broken_promises(broken_promises),
            dead_channels=_dead_channels(consents),
            signals=_signals(signals),
        )

    async def assessed(
        self,
        account: str,
        customer: str,
        found: Assessment,
        *,
        at: datetime,
        outgoing: Callable[[Level | None], Sequence[Outgoing]] = lambda _before: (),
    ) -> Level | None:
        """Remember an assessment; returns the level before it, None for a customer never assessed.

        What is `outgoing` after that level is written in the same transaction, so a rise is told once. A
        straggler, older than what is remembered, changes nothing: the level before it is its own.
        """
        flags = [flag.model_dump(mode="json") for flag in found.flags]
        row = RiskRow(
            account=account,
            customer=customer,
            level=found.level,
            score=found.score,
            flags=flags,
            assessed_at=at,
        )
        async with self._database.write() as session:
            await self._database.alone(session, f"risk/{account}/{customer}")
            before = await session.get(RiskRow, (account, customer))
            if before is not None and before.assessed_at > at:
                return found.level
            level = cast(Level, before.level) if before is not None else None
            await put(session, [row])
            await put_out(session, None, outgoing(level), at)
            return level

    async def get(self, account: str, customer: str) -> RiskRecord | None:
        """A customer's risk as last assessed."""
        async with self._database.read() as session:
            row = await session.get(RiskRow, (account, customer))
            return _record(row) if row is not None else None

    async def at_least(self, level: Level, *, limit: int = 200) -> tuple[RiskRecord, ...]:
        """The customers at this level or above, the highest score first."""
        levels = {"none": ["none", "elevated", "high"], "elevated": ["elevated", "high"], "high": ["high"]}
        query = (
            select(RiskRow)
            .where(col(RiskRow.level).in_(levels[level]))
            .order_by(col(RiskRow.score).desc(), col(RiskRow.account), col(RiskRow.customer))
            .limit(limit)
        )
        async with self._database.read() as session:
            return tuple(_record(row) for row in await session.scalars(query))

    async def customers(self, after: tuple[str, str], limit: int) -> tuple[tuple[str, str], ...]:
        """Accounts and customers of whom the ledger knows anything, in order, from behind `after`."""
        known = (
            select(col(CaseRow.account), col(CaseRow.customer))
            .union(select(col(SignalRow.account), col(SignalRow.customer)))
            .subquery()
        )
        account, customer = known.c.account, known.c.customer
        beyond = (account > after[0]) | and_(account == after[0], customer > after[1])
        query = select(account, customer).where(beyond, customer != "").order_by(account, customer)
        async with self._database.read() as session:
            return tuple((row[0], row[1]) for row in await session.execute(query.limit(limit)))


def _attempts(rows: _Rows) -> tuple[PastAttempt, ...]:
    return tuple(
        PastAttempt(
            fact=f"attempts/{row.invoice_id}/{row.number}",
            case=f"cases/{row.case_id}",
            at=row.reserved_at,
            outcome=row.outcome,
            decline_class=row.decline_class,
            funding=row.funding,
            expires_at=_expires_at(row.expiry),
        )
        for row in rows
    )


def _expires_at(expiry: str | None) -> datetime | None:
    """The first moment after the month in "2029-04": a card is valid to the last day of its month."""
    if expiry is None:
        return None
    year, month = (int(part) for part in expiry.split("-"))
    return datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)


def _cases(rows: _Rows) -> tuple[PastCase, ...]:
    return tuple(
        PastCase(
            fact=f"cases/{row.id}", opened_at=row.opened_at, recovered=row.outcome is Outcome.RECOVERED
        )
        for row in rows
        if row.outcome is not Outcome.NOT_APPLICABLE
    )


def _broken_promises(rows: _Rows) -> tuple[Said, ...]:
    return tuple(Said(fact=f"promises/{case_id}/{index}", at=at) for case_id, index, at in rows)


def _dead_channels(rows: _Rows) -> tuple[Said, ...]:
    """The channels whose newest statement is a no."""
    newest = {row.channel: row for row in rows}
    return tuple(
        Said(fact=f"consents/{row.id}", at=row.at, what=str(channel))
        for channel, row in sorted(newest.items())
        if row.state != "granted"
    )


def _signals(rows: _Rows) -> tuple[Signal, ...]:
    return tuple(
        Signal(
            fact=f"signals/{row.kind}/{row.key}",
            at=row.at,
            kind=cast(SignalKind, row.kind),
            text=row.text,
            until=row.until,
        )
        for row in rows
    )


# Statements are built once: building one costs more than executing it.

_THEIRS = ("account", "customer")


@cache
def _attempts_of() -> Select[*tuple[Any, ...]]:
    newest = table(AttemptRow).c.reserved_at.desc()
    return rows_where(AttemptRow, _THEIRS).order_by(newest).limit(_MOST)


@cache
def _cases_of() -> Select[*tuple[Any, ...]]:
    newest = table(CaseRow).c.opened_at.desc()
    return rows_where(CaseRow, _THEIRS).order_by(newest).limit(_MOST)


@cache
def _broken_promises_of() -> Select[*tuple[Any, ...]]:
    cases, promises = table(CaseRow).c, table(PromiseRow).c
    return (
        select(promises.case_id, promises.index, promises.at)
        .join(table(CaseRow), cases.id == promises.case_id)
        .where(*(cases[name] == bindparam(name) for name in _THEIRS), promises.state == "broken")
        .order_by(promises.at.desc())
        .limit(_MOST)
    )


def _consents_of() -> Select[*tuple[Any, ...]]:
    return rows_where(ConsentRow, _THEIRS, ("at", "id"))


@cache
def _signals_of() -> Select[*tuple[Any, ...]]:
    signals = table(SignalRow).c
    return rows_where(SignalRow, _THEIRS).order_by(signals.at.desc(), signals.key).limit(_MOST)


def _record(row: RiskRow) -> RiskRecord:
    return RiskRecord(
        account=row.account,
        customer=row.customer,
        level=cast(Level, row.level),
        score=row.score,
        flags=tuple(Flag.model_validate(flag) for flag in row.flags),
        assessed_at=row.assessed_at,
    )
