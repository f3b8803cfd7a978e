"""Whether a customer needs and may hear one more message: the evidence of it, over all their cases."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from sqlalchemy import BindParameter, ColumnElement, String, bindparam, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped
from sqlmodel import col

from dunning.budget import Slot
from dunning.consents import refusal
from dunning.contacts import LONGEST, Contact, slot
from dunning.policy import ContactLimits
from dunning.values import MessageGroup
from ledger.tables import AddressRow, CardCaseRow, CaseRow, ConsentRow, DispatchRow, ReminderRow

#: Nothing left the house.
_UNHEARD = ("failed", "unreachable")
_SHADOW = "shadow"
#: What a message belongs to.
OWNERS = (CaseRow, CardCaseRow, ReminderRow)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On which terms a message is claimed. `counts`: as a contact; `extra`: see `Contact`.

    `told`: the other cases that it speaks of, by id, each with the last day of grace that it names, or "".
    `merge`: it is not needed where a message of another case spoke of this one, and named `names` if it must;
    but one of `unsaid` did not arrive.
    `group`: a customer may have unsubscribed from these messages alone.
    """

    counts: bool = True
    limits: ContactLimits | None = None
    extra: bool = False
    shadow: bool = False
    told: Mapping[str, str] = field(default_factory=dict)
    merge: bool = False
    names: date | None = None
    unsaid: Collection[str] = ()
    group: MessageGroup = "critical"


#: Told when it happens: no reminder of before says it.
_HAPPENED = frozenset({"suspended", "survey"})
#: A message that another case is sending at this moment is waited for, but not for ever.
_PATIENCE = timedelta(minutes=10)
_WAIT = timedelta(minutes=1)

#: No limit binds.
FREE = Terms()


def conversation(customer: str) -> str:
    """Names what messages to a customer are serialised by."""
    return f"conversation/{customer}"


async def unwelcome(session: AsyncSession, dispatch: DispatchRow, terms: Terms) -> str | None:
    """Why the customer must not hear this message at all, however it looked when the invoice was read."""
    whom = {"case_id": dispatch.case_id, "customer": dispatch.customer, "channel": dispatch.channel}
    newest = {group: state for group, state in await session.execute(_AGREED, whom)}
    where_to = (dispatch.address, dispatch.channel)
    known = await session.get(AddressRow, where_to) if dispatch.address is not None else None
    return refusal(newest, terms.group, dead=known is not None and known.dead)


async def no_room(session: AsyncSession, dispatch: DispatchRow, terms: Terms) -> Slot | None:
    """Why the customer must not hear this message now; None when there is room for it."""
    if terms.limits is None or not dispatch.customer:
        return None
    wanted = Contact(at=dispatch.claimed_at, channel=dispatch.channel, extra=terms.extra)
    room = slot(wanted, await _contacts(session, dispatch, terms.shadow), terms.limits)
    return None if room.granted else room


async def said_by_another(
    session: AsyncSession, dispatch: DispatchRow, terms: Terms
) -> DispatchRow | Slot | None:
    """The message of another case that said the same; or why to wait, while one is being sent."""
    if not terms.merge or not dispatch.customer:
        return None
    rows = [row for row in await _heard(session, dispatch, terms.shadow) if _says(row, dispatch, terms)]
    done = [row for row in rows if row.fate is not None]
    sure = [row for row in done if row.fate != "unknown"]
    sending = [row for row in rows if row.fate is None and row.claimed_at > dispatch.claimed_at - _PATIENCE]
    if not sure and sending:
        until, why = dispatch.claimed_at + _WAIT, f"case {sending[-1].case_id} speaks of it at this moment"
        return Slot(granted=False, until=until, reason=why, rule="conversation")
    return next(iter(reversed(sure or done)), None)


def _says(row: DispatchRow, dispatch: DispatchRow, terms: Terms) -> bool:
    arrived = row.delivery != "undelivered" and row.id not in terms.unsaid
    day = (row.told or {}).get(dispatch.case_id) if arrived else None
    if day is None or (row.template != dispatch.template and _HAPPENED & {row.template, dispatch.template}):
        return False
    return terms.names is None or day == terms.names.isoformat()


async def _contacts(session: AsyncSession, dispatch: DispatchRow, shadow: bool) -> list[Contact]:
    """What counts as a contact of it."""
    rows = await _heard(session, dispatch, shadow)
    return [Contact(at=row.claimed_at, channel=row.channel) for row in rows if row.counts is not False]


async def _heard(session: AsyncSession, dispatch: DispatchRow, shadow: bool) -> Sequence[DispatchRow]:
    """What the customer heard or may have heard, oldest first. A shadow counts for another shadow only."""
    whom = {"case_id": dispatch.case_id, "customer": dispatch.customer}
    since = dispatch.claimed_at - LONGEST
    unheard = _UNHEARD if shadow else (*_UNHEARD, _SHADOW)
    return (await session.scalars(_HEARD, {**whom, "since": since, "unheard": unheard})).all()


def account_of(case_id: str | Mapped[str] | BindParameter[str]) -> ColumnElement[str]:
    """The account of the case or reminder that a message belongs to."""
    of_each = (select(col(row.account)).where(col(row.id) == case_id) for row in OWNERS)
    return func.coalesce(*(one.scalar_subquery() for one in of_each))


# Built once: building a statement costs more than executing it.

_OF_THE_CASE = account_of(bindparam("case_id", type_=String))
_AGREED = (
    select(col(ConsentRow.group), col(ConsentRow.state))
    .where(
        col(ConsentRow.account) == _OF_THE_CASE,
        col(ConsentRow.customer) == bindparam("customer"),
        col(ConsentRow.channel) == bindparam("channel"),
    )
    .order_by(col(ConsentRow.at), col(ConsentRow.id))
)
_HEARD = (
    select(DispatchRow)
    .where(
        col(DispatchRow.customer) == bindparam("customer"),
        account_of(col(DispatchRow.case_id)) == _OF_THE_CASE,
        col(DispatchRow.claimed_at) > bindparam("since"),
        or_(
            col(DispatchRow.fate).is_(None),
            col(DispatchRow.fate).notin_(bindparam("unheard", expanding=True)),
        ),
    )
    .order_by(col(DispatchRow.claimed_at), col(DispatchRow.id))
)
