"""What the ledger knows of a payment method's past, whoever charged it: the evidence of `dunning.budget`."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from dunning.budget import Limits, PastAttempt, Planned
from dunning.values import DeclineClass
from ledger.tables import AttemptRow, ChargeRow, table


def card_name(account: str, planned: Planned) -> str:
    """Names what the limits are counted by: the card or account, or the invoice where that is unknown."""
    return f"card/{account}/{planned.fingerprint or planned.invoice_id}"


async def past_attempts(
    session: AsyncSession, account: str, planned: Planned, limits: Limits
) -> list[PastAttempt]:
    """Every attempt that a rule may count or that locked the method: the engine's and everybody else's."""
    known = planned.fingerprint is not None
    values = {
        "account": account,
        "method": planned.fingerprint if known else planned.invoice_id,
        "invoice_id": planned.invoice_id,
        "since": planned.at - _longest(limits),
    }
    ours = await session.execute(_ours(by_fingerprint=known), values)
    others = await session.execute(_others(by_fingerprint=known), values)
    return [*(_attempt(row) for row in ours), *(_charge(row) for row in others)]


def _longest(limits: Limits) -> timedelta:
    windows = (rule.window for rule in limits.windows)
    return max([*windows, *(rule.within for rule in limits.debits)], default=timedelta())


# Statements are built once: building one costs more than executing it.


@cache
def _ours(*, by_fingerprint: bool) -> Select[*tuple[Any, ...]]:
    return select(table(AttemptRow)).where(
        col(AttemptRow.account) == bindparam("account"),
        _same_method(AttemptRow, by_fingerprint),
        col(AttemptRow.reached_network).isnot(False),
        _matters(AttemptRow, col(AttemptRow.reserved_at)),
    )


@cache
def _others(*, by_fingerprint: bool) -> Select[*tuple[Any, ...]]:
    """Charges of others. One that was seen before its attempt knew its id is the engine's own after all."""
    known = exists().where(
        col(AttemptRow.account) == col(ChargeRow.account),
        col(AttemptRow.charge_id) == col(ChargeRow.charge_id),
    )
    return select(table(ChargeRow)).where(
        col(ChargeRow.account) == bindparam("account"),
        _same_method(ChargeRow, by_fingerprint),
        col(ChargeRow.reached_network).is_(True),
        _matters(ChargeRow, col(ChargeRow.at)),
        ~known,
    )


def _same_method(row: Any, by_fingerprint: bool) -> ColumnElement[bool]:
    if by_fingerprint:
        return col(row.fingerprint) == bindparam("method")
    return and_(col(row.fingerprint).is_(None), col(row.invoice_id) == bindparam("method"))


def _matters(row: Any, at: Any) -> ColumnElement[bool]:
    """Locks never open by time, and debits of one invoice are counted from its first one."""
    recent, same_invoice = at >= bindparam("since"), col(row.invoice_id) == bindparam("invoice_id")
    return or_(recent, col(row.lock).isnot(None), same_invoice)


def _attempt(row: Any) -> PastAttempt:
    return _past(
        row,
        at=row.charged_at or row.reserved_at,
        succeeded=row.outcome == "succeeded",
        pending=row.completed_at is None,
    )


def _charge(row: Any) -> PastAttempt:
    return _past(row, at=row.at, succeeded=row.status == "succeeded", pending=False)


def _past(row: Any, **more: Any) -> PastAttempt:
    return PastAttempt(
        fingerprint=row.fingerprint,
        expiry=row.expiry,
        brand=row.brand,
        amount=row.amount,
        currency=row.currency,
        reached_network=True,  # the others were not asked for
        cls=DeclineClass(row.decline_class) if row.decline_class else None,
        lock=row.lock,
        invoice_id=row.invoice_id,
        **more,
    )
