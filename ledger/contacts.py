"""Whether a customer may hear one more message: the evidence of `dunning.contacts`, over all their cases."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from dunning.budget import Slot
from dunning.contacts import LONGEST, Contact, slot
from dunning.policy import ContactLimits
from ledger.tables import CaseRow, DispatchRow

#: Nothing left the house.
_UNHEARD = ("failed", "unreachable")
_SHADOW = "shadow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On which terms a message is claimed. `counts`: as a contact; `extra`: see `Contact`."""

    counts: bool = True
    limits: ContactLimits | None = None
    extra: bool = False
    shadow: bool = False


#: No limit binds.
FREE = Terms()


def conversation(customer: str) -> str:
    """Names what messages to a customer are serialised by."""
    return f"conversation/{customer}"


async def no_room(session: AsyncSession, dispatch: DispatchRow, terms: Terms) -> Slot | None:
    """Why the customer must not hear this message now; None when there is room for it."""
    if terms.limits is None or not dispatch.customer:
        return None
    wanted = Contact(at=dispatch.claimed_at, channel=dispatch.channel, extra=terms.extra)
    room = slot(wanted, await _contacts(session, dispatch, terms.shadow), terms.limits)
    return None if room.granted else room


async def _contacts(session: AsyncSession, dispatch: DispatchRow, shadow: bool) -> list[Contact]:
    """What the customer heard or may have heard. A shadow counts for another shadow only."""
    account = select(col(CaseRow.account)).where(col(CaseRow.id) == dispatch.case_id).scalar_subquery()
    unheard = _UNHEARD if shadow else (*_UNHEARD, _SHADOW)
    query = (
        select(col(DispatchRow.claimed_at), col(DispatchRow.channel))
        .join(CaseRow, col(CaseRow.id) == col(DispatchRow.case_id))
        .where(
            and_(
                col(DispatchRow.customer) == dispatch.customer,
                col(CaseRow.account) == account,
                col(DispatchRow.claimed_at) > dispatch.claimed_at - LONGEST,
                col(DispatchRow.counts).isnot(False),
                or_(col(DispatchRow.fate).is_(None), col(DispatchRow.fate).notin_(unheard)),
            )
        )
    )
    return [Contact(at=at, channel=channel) for at, channel in await session.execute(query)]
