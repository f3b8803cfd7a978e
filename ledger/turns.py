"""Whose turn it is: charges of one customer go one after the other, and the oldest invoice goes first.

Two charges of one customer at once make Stripe refuse one of them as locked (docs.stripe.com/rate-limits,
"Object lock timeouts"), and a card with little on it should pay what has been owed for longest.

And whether it is anybody's turn: a try that Temporal gave up for lost may still run, wait for its turn or for
an answer, and ask when its case has long decided something else.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import Select, and_, bindparam, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from dunning.budget import Slot
from dunning.values import WaitingOn
from ledger.database import Database, changed
from ledger.tables import AttemptRow, CaseRow, table

#: The rule's name in a refusal.
TURN = "customer_turn"
#: The name of the rule that a straggler meets.
MOVED_ON = "moved_on"
#: After that long nobody waits any more for an attempt without an answer, or for a case that does not move.
PATIENCE = timedelta(minutes=10)
#: When to ask again; and so long a case that was woken may take to look up.
WAIT = timedelta(minutes=1)
_ON_THE_WAY = ("charge", "move_default", "read_invoice")


class Turns:
    """Which cases were woken together: none of them is charged before the older ones have looked up."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def woken(self, case_ids: Collection[str], at: datetime) -> None:
        """These cases are about to be woken by the same news. It lasts until each has decided something."""
        cases = table(CaseRow)
        async with self._database.write() as session:
            await changed(session, update(cases).where(cases.c.id.in_(case_ids)).values(woken_at=at))


def customer_name(account: str, customer: str) -> str:
    """Names what charges are serialised by."""
    return f"customer/{account}/{customer}"


async def not_my_turn(
    session: AsyncSession, account: str, customer: str, case_id: str, at: datetime
) -> Slot | None:
    """Why a charge of the case must wait for another one of the same customer; None if it need not."""
    if not customer:
        return None
    invoice = await _being_charged(session, account, customer, at)
    if invoice is not None:
        return _wait(at, f"a charge of this customer waits for its answer (invoice {invoice})")
    invoice = await _goes_first(session, account, customer, case_id, at)
    return _wait(at, f"the customer's older invoice {invoice} is charged first") if invoice else None


async def moved_on(session: AsyncSession, case_id: str, at: datetime) -> Slot | None:
    """Why nothing may begin for the case: what it decided last is no charge. None if it is, or is not known.

    If the case does want it, it decides so anew.
    """
    if await session.scalar(_MOVED_ON, {"case_id": case_id}) is None:
        return None
    return _wait(at, "its case has decided something else meanwhile", MOVED_ON)


def _wait(at: datetime, reason: str, rule: str = TURN) -> Slot:
    return Slot(granted=False, until=at + WAIT, reason=reason, rule=rule)


async def _being_charged(session: AsyncSession, account: str, customer: str, at: datetime) -> str | None:
    whose = {"account": account, "customer": customer, "since": at - PATIENCE}
    return await session.scalar(_PENDING, whose)


async def _goes_first(
    session: AsyncSession, account: str, customer: str, case_id: str, at: datetime
) -> str | None:
    """The invoice of an older open case whose charge is due, or that is about to look whether one is."""
    whose = {"account": account, "customer": customer, "case_id": case_id}
    moments = {"looking_since": at - WAIT, "due_until": at + WAIT, "due_since": at - PATIENCE}
    return await session.scalar(_OLDER_AND_DUE, whose | moments)


# Statements are built once: building one costs more than executing it.

_MOVED_ON = select(col(CaseRow.id)).where(
    col(CaseRow.id) == bindparam("case_id"),
    or_(
        col(CaseRow.closed_at).isnot(None),
        and_(col(CaseRow.next_at).isnot(None), col(CaseRow.next_action).is_distinct_from("charge")),
    ),
)
_PENDING = (
    select(col(AttemptRow.invoice_id))
    .where(
        col(AttemptRow.account) == bindparam("account"),
        col(AttemptRow.customer) == bindparam("customer"),
        col(AttemptRow.completed_at).is_(None),
        col(AttemptRow.reserved_at) > bindparam("since"),
    )
    .limit(1)
)


def _older_and_due() -> Select[str]:
    mine, older = aliased(CaseRow), aliased(CaseRow)
    before = or_(
        col(older.opened_at) < col(mine.opened_at),
        and_(col(older.opened_at) == col(mine.opened_at), col(older.id) < col(mine.id)),
    )
    due = and_(
        # It may have decided after the moment at which this charge was asked for.
        col(older.next_at) <= bindparam("due_until"),
        col(older.next_at) > bindparam("due_since"),
        or_(
            col(older.next_action).in_(_ON_THE_WAY),
            and_(col(older.next_action).is_(None), col(older.waiting_on) == WaitingOn.RETRY),
        ),
    )
    return (
        select(col(older.invoice_id))
        .join(mine, and_(col(mine.id) == bindparam("case_id"), before))
        .where(
            col(older.account) == bindparam("account"),
            col(older.customer) == bindparam("customer"),
            col(older.closed_at).is_(None),
            or_(col(older.woken_at) > bindparam("looking_since"), due),
        )
        .order_by(col(older.opened_at), col(older.id))
        .limit(1)
    )


_OLDER_AND_DUE = _older_and_due()
