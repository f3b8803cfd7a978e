"""What the ledger knows of a payment method's past, whoever charged it: the evidence of `dunning.budget`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from functools import cache
from typing import Any, cast

from sqlalchemy import ColumnElement, Select, and_, bindparam, exists, or_, select

from dunning.budget import Limits, PastAttempt, Planned
from dunning.values import DeclineClass
from ledger.tables import AttemptRow, ChargeRow, table


def card_name(account: str, planned: Planned) -> str:
    """Names what the limits are counted by: the card or account, or the invoice where that is unknown."""
    return f"card/{account}/{planned.fingerprint or planned.invoice_id}"


_Queries = tuple[Select[*tuple[Any, ...]], Select[*tuple[Any, ...]]]


def past_queries(account: str, planned: Planned, limits: Limits) -> tuple[_Queries, dict[str, Any]]:
    """What finds every attempt that a rule may count or that locked the method, with its parameters."""
    known = planned.fingerprint is not None
    values = {
        "account": account,
        "method": planned.fingerprint if known else planned.invoice_id,
        "invoice_id": planned.invoice_id,
        "since": planned.at - _longest(limits),
    }
    return (_ours(by_fingerprint=known), _others(by_fingerprint=known)), values


def past_attempts(ours: Iterable[Any], others: Iterable[Any]) -> list[PastAttempt]:
    """The attempts that the queries found: the engine's and everybody else's."""
    return [*(_attempt(row) for row in ours), *(_charge(row) for row in others)]


def _longest(limits: Limits) -> timedelta:
    windows = (rule.window for rule in limits.windows)
    return max([*windows, *(rule.within for rule in limits.debits)], default=timedelta())


# Statements are built once: building one costs more than executing it.

_ATTEMPTS, _CHARGES = table(AttemptRow).c, table(ChargeRow).c


@cache
def _ours(*, by_fingerprint: bool) -> Select[*tuple[Any, ...]]:
    return select(table(AttemptRow)).where(
        _ATTEMPTS.account == bindparam("account"),
        _same_method(_ATTEMPTS, by_fingerprint),
        _ATTEMPTS.reached_network.isnot(False),
        _matters(_ATTEMPTS, _ATTEMPTS.reserved_at),
    )


@cache
def _others(*, by_fingerprint: bool) -> Select[*tuple[Any, ...]]:
    """Charges of others. One that was seen before its attempt knew its id is the engine's own after all."""
    known = exists().where(
        _ATTEMPTS.account == _CHARGES.account, _ATTEMPTS.charge_id == _CHARGES.charge_id
    )
    return select(table(ChargeRow)).where(
        _CHARGES.account == bindparam("account"),
        _same_method(_CHARGES, by_fingerprint),
        _CHARGES.reached_network.is_(True),
        _matters(_CHARGES, _CHARGES.at),
        ~known,
    )


def _same_method(columns: Any, by_fingerprint: bool) -> ColumnElement[bool]:
    if by_fingerprint:
        return cast("ColumnElement[bool]", columns.fingerprint == bindparam("method"))
    return and_(columns.fingerprint.is_(None), columns.invoice_id == bindparam("method"))


def _matters(columns: Any, at: Any) -> ColumnElement[bool]:
    """Locks never open by time, and debits of one invoice are counted from its first one."""
    recent, same_invoice = at >= bindparam("since"), columns.invoice_id == bindparam("invoice_id")
    return or_(recent, columns.lock.isnot(None), same_invoice)


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
