"""What the ledger knows of a payment method's past, whoever charged it: the evidence of `dunning.budget`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from dunning.budget import Limits, PastAttempt, Planned
from dunning.values import DeclineClass
from ledger.tables import AttemptRow, ChargeRow


def card_name(account: str, planned: Planned) -> str:
    """Names what the limits are counted by: the card or account, or the invoice where that is unknown."""
    return f"card/{account}/{planned.fingerprint or planned.invoice_id}"


async def past_attempts(
    session: AsyncSession, account: str, planned: Planned, limits: Limits
) -> list[PastAttempt]:
    """Every attempt that a rule may count or that locked the method: the engine's and everybody else's."""
    since = planned.at - _longest(limits)
    ours = await session.scalars(select(AttemptRow).where(_ours(account, planned, since)))
    others = await session.scalars(select(ChargeRow).where(_others(account, planned, since)))
    return [*(_attempt(row) for row in ours), *(_charge(row) for row in others)]


def _longest(limits: Limits) -> timedelta:
    windows = (rule.window for rule in limits.windows)
    return max([*windows, *(rule.within for rule in limits.debits)], default=timedelta())


def _ours(account: str, planned: Planned, since: datetime) -> ColumnElement[bool]:
    return and_(
        col(AttemptRow.account) == account,
        _same_method(AttemptRow, planned),
        col(AttemptRow.reached_network).isnot(False),
        _matters(AttemptRow, col(AttemptRow.reserved_at), planned, since),
    )


def _others(account: str, planned: Planned, since: datetime) -> ColumnElement[bool]:
    """Charges of others. One that was seen before its attempt knew its id is the engine's own after all."""
    known = exists().where(
        col(AttemptRow.account) == col(ChargeRow.account),
        col(AttemptRow.charge_id) == col(ChargeRow.charge_id),
    )
    return and_(
        col(ChargeRow.account) == account,
        _same_method(ChargeRow, planned),
        col(ChargeRow.reached_network).is_(True),
        _matters(ChargeRow, col(ChargeRow.at), planned, since),
        ~known,
    )


def _same_method(row: Any, planned: Planned) -> ColumnElement[bool]:
    if planned.fingerprint is not None:
        return col(row.fingerprint) == planned.fingerprint
    return and_(col(row.fingerprint).is_(None), col(row.invoice_id) == planned.invoice_id)


def _matters(row: Any, at: Any, planned: Planned, since: datetime) -> ColumnElement[bool]:
    """Locks never open by time, and debits of one invoice are counted from its first one."""
    return or_(at >= since, col(row.lock).isnot(None), col(row.invoice_id) == planned.invoice_id)


def _attempt(row: AttemptRow) -> PastAttempt:
    return _past(
        row,
        at=row.charged_at or row.reserved_at,
        succeeded=row.outcome == "succeeded",
        pending=row.completed_at is None,
    )


def _charge(row: ChargeRow) -> PastAttempt:
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
