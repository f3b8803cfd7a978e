"""What the ledger knows of a customer's payments, and the risk that was read from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, cast

from sqlalchemy import ColumnElement, Select, and_, bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession
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
from ledger.database import Database, put
from ledger.outbox import put_out
from ledger.outgoing import Outgoing
from ledger.records import RiskRecord
from ledger.tables import AttemptRow, CaseRow, ConsentRow, PromiseRow, RiskRow, SignalRow, table

#: More of a customer's past than this changes no flag.
_MOST = 200
_Theirs = dict[str, str]  # the account and the customer


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
        theirs = {"account": account, "customer": customer}
        async with self._database.read() as session:
            return History(
                attempts=await _attempts(session, theirs),
                cases=await _cases(session, theirs),
                broken_promises=await _broken_promises(session, theirs),
                dead_channels=await _dead_channels(session, theirs),
                signals=await _signals(session, theirs),
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


async def _attempts(session: AsyncSession, theirs: _Theirs) -> tuple[PastAttempt, ...]:
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
        for row in await session.execute(_attempts_of(), theirs)
    )


def _expires_at(expiry: str | None) -> datetime | None:
    """The first moment after the month in "2029-04": a card is valid to the last day of its month."""
    if expiry is None:
        return None
    year, month = (int(part) for part in expiry.split("-"))
    return datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)


async def _cases(session: AsyncSession, theirs: _Theirs) -> tuple[PastCase, ...]:
    return tuple(
        PastCase(
            fact=f"cases/{row.id}", opened_at=row.opened_at, recovered=row.outcome is Outcome.RECOVERED
        )
        for row in await session.execute(_cases_of(), theirs)
        if row.outcome is not Outcome.NOT_APPLICABLE
    )


async def _broken_promises(session: AsyncSession, theirs: _Theirs) -> tuple[Said, ...]:
    rows = await session.execute(_broken_promises_of(), theirs)
    return tuple(Said(fact=f"promises/{case_id}/{index}", at=at) for case_id, index, at in rows)


async def _dead_channels(session: AsyncSession, theirs: _Theirs) -> tuple[Said, ...]:
    """The channels whose newest statement is a no."""
    newest = {row.channel: row for row in await session.execute(_consents_of(), theirs)}
    return tuple(
        Said(fact=f"consents/{row.id}", at=row.at, what=str(channel))
        for channel, row in sorted(newest.items())
        if row.state != "granted"
    )


async def _signals(session: AsyncSession, theirs: _Theirs) -> tuple[Signal, ...]:
    return tuple(
        Signal(
            fact=f"signals/{row.kind}/{row.key}",
            at=row.at,
            kind=cast(SignalKind, row.kind),
            text=row.text,
            until=row.until,
        )
        for row in await session.execute(_signals_of(), theirs)
    )


# Statements are built once: building one costs more than executing it.


@cache
def _attempts_of() -> Select[*tuple[Any, ...]]:
    newest = col(AttemptRow.reserved_at).desc()
    return select(table(AttemptRow)).where(_of_customer(AttemptRow)).order_by(newest).limit(_MOST)


@cache
def _cases_of() -> Select[*tuple[Any, ...]]:
    newest = col(CaseRow.opened_at).desc()
    return select(table(CaseRow)).where(_of_customer(CaseRow)).order_by(newest).limit(_MOST)


@cache
def _broken_promises_of() -> Select[str, int, datetime]:
    return (
        select(col(PromiseRow.case_id), col(PromiseRow.index), col(PromiseRow.at))
        .join(CaseRow, col(CaseRow.id) == col(PromiseRow.case_id))
        .where(_of_customer(CaseRow), col(PromiseRow.state) == "broken")
        .order_by(col(PromiseRow.at).desc())
        .limit(_MOST)
    )


@cache
def _consents_of() -> Select[*tuple[Any, ...]]:
    oldest = (col(ConsentRow.at), col(ConsentRow.id))
    return select(table(ConsentRow)).where(_of_customer(ConsentRow)).order_by(*oldest)


@cache
def _signals_of() -> Select[*tuple[Any, ...]]:
    newest = (col(SignalRow.at).desc(), col(SignalRow.key))
    return select(table(SignalRow)).where(_of_customer(SignalRow)).order_by(*newest).limit(_MOST)


def _of_customer(row: Any) -> ColumnElement[bool]:
    return and_(col(row.account) == bindparam("account"), col(row.customer) == bindparam("customer"))


def _record(row: RiskRow) -> RiskRecord:
    return RiskRecord(
        account=row.account,
        customer=row.customer,
        level=cast(Level, row.level),
        score=row.score,
        flags=tuple(Flag.model_validate(flag) for flag in row.flags),
        assessed_at=row.assessed_at,
    )
