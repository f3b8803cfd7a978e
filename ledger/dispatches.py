"""Messages: claimed before a provider is called, because no provider knows a repeat from a new one."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import and_, bindparam, delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from dunning.deliveries import Heard, replaces
from dunning.values import Channel
from ledger.contacts import (
    FREE,
    OWNERS,
    Terms,
    account_of,
    conversation,
    no_room,
    said_by_another,
    unwelcome,
)
from ledger.database import Database, changed, insert_once, rows_where
from ledger.errors import NotInLedger
from ledger.records import DispatchClaim, DispatchEventRecord, DispatchRecord, from_row
from ledger.tables import DispatchEventRow, DispatchRow, table

#: The fate that a provider's later word may still replace.
UNKNOWN = "unknown"


def new_dispatch_id() -> str:
    """What a message that is about to be claimed will be called."""
    return f"dsp_{uuid4().hex}"


class Dispatches:
    """The messages of the ledger, one row per case, step and channel."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(
        self,
        *,
        case_id: str,
        step: str,
        channel: Channel,
        template: str,
        customer: str,
        at: datetime,
        terms: Terms = FREE,
        address: str | None = None,
        dispatch_id: str | None = None,
    ) -> DispatchClaim:
        """Claim the message; exactly one caller gets `new`. `claimed`: it may have left, never send again.

        Nothing is claimed when it is `unwelcome`, `refused` because the customer heard enough, or `said` by
        a message of another case. That is checked, and the claim is written, in one transaction that no
        other one of the same customer overlaps, be it a claim or a statement of consent.
        `address` is the fingerprint of where it goes: by it an answer finds its way back. `dispatch_id` is
        given by who has put it into the words already.
        Raises NotInLedger if the case was never claimed.
        """
        dispatch = DispatchRow(
            id=dispatch_id or new_dispatch_id(),
            case_id=case_id,
            step=step,
            channel=channel,
            template=template,
            customer=customer,
            claimed_at=at,
            counts=terms.counts,
            address=address,
            told=dict(terms.told) or None,
        )
        key = {"case_id": case_id, "step": step, "channel": channel}
        same = rows_where(DispatchRow, tuple(key))
        async with self._database.write() as session:
            await _must_be_of_a_case(session, case_id)
            await self._database.alone(session, conversation(customer))
            while (row := (await session.execute(same, key)).first()) is None:
                why = await unwelcome(session, dispatch, terms)
                if why is not None:
                    return DispatchClaim(dispatch_id=dispatch.id, state="unwelcome", why=why)
                said = await said_by_another(session, dispatch, terms)
                if isinstance(said, DispatchRow):
                    record = from_row(DispatchRecord, said)
                    return DispatchClaim(dispatch_id=dispatch.id, state="said", said_by=record)
                refusal = said or await no_room(session, dispatch, terms)
                if refusal is not None:
                    return DispatchClaim(dispatch_id=dispatch.id, state="refused", refusal=refusal)
                if await insert_once(session, dispatch):
                    return DispatchClaim(dispatch_id=dispatch.id, state="new")
            return DispatchClaim(
                dispatch_id=row.id,
                state="claimed" if row.fate is None else "done",
                fate=row.fate,
                provider_id=row.provider_id,
            )

    async def complete(
        self, dispatch_id: str, fate: str, *, at: datetime, provider_id: str | None = None, detail: str = ""
    ) -> bool:
        """Record what became of the message; False if that was known before, which is then left as it is.

        Only `unknown` is replaced. Raises NotInLedger if the claim does not exist.
        """
        news = {"fate": fate, "detail": detail, "completed_at": at, "new_provider_id": provider_id}
        async with self._database.write() as session:
            if await changed(session, _COMPLETE, {"of_id": dispatch_id, **news}) == 1:
                return True
        await self._must_exist(dispatch_id)
        return False

    async def release(self, dispatch_id: str) -> bool:
        """Undo a claim after a definite refusal; False if it has a fate or was heard of meanwhile."""
        heard_of = exists().where(col(DispatchEventRow.dispatch_id) == dispatch_id)
        unsent = and_(col(DispatchRow.id) == dispatch_id, col(DispatchRow.fate).is_(None), ~heard_of)
        async with self._database.write() as session:
            statement = delete(DispatchRow).where(unsent).execution_options(synchronize_session=False)
            return await changed(session, statement) == 1

    async def was_heard(self, dispatch_id: str, news: Heard) -> bool:
        """Whether the same was told before."""
        same = {"dispatch_id": dispatch_id, "provider": news.provider, "key": news.key}
        return bool(await self._database.rows(DispatchEventRow, **same))

    async def heard(self, dispatch_id: str, news: Heard) -> DispatchRecord | None:
        """Take in what a provider told; the message as it stood before, or None if the same was told before.

        What was told proves that the provider took the message, so a fate that was open becomes `accepted`.
        Raises NotInLedger.
        """
        async with self._database.write() as session:
            row = (await session.execute(_LOCKED, {"id": dispatch_id})).first()
            if row is None:
                raise NotInLedger(f"message {dispatch_id} is not in the ledger: never claimed, or released")
            before = from_row(DispatchRecord, row)
            event = DispatchEventRow(
                dispatch_id=dispatch_id,
                provider=news.provider,
                event=news.event,
                key=news.key,
                at=news.at,
                detail=news.detail,
            )
            if not await insert_once(session, event):
                return None
            after: dict[str, Any] = {"provider_id": row.provider_id or news.provider_id}
            if row.fate in (None, UNKNOWN):
                after |= {"fate": "accepted", "completed_at": news.at}
            if replaces(row.channel, before.delivery, news.delivery):
                told = {"delivery": news.delivery, "delivery_at": news.at, "delivery_detail": news.detail}
                after |= told
            await changed(session, _UPDATE, {"of_id": dispatch_id, **after})
            return before

    async def by_id(self, dispatch_id: str) -> DispatchRecord | None:
        """One message."""
        return await self._first(id=dispatch_id)

    async def account(self, message: DispatchRecord) -> str | None:
        """The account of the case or reminder that a message belongs to; None if that is gone."""
        async with self._database.read() as session:
            found: str | None = await session.scalar(select(account_of(message.case_id)))
            return found

    async def by_provider_id(self, provider_id: str) -> DispatchRecord | None:
        """The message that a provider knows under this id."""
        return await self._first(provider_id=provider_id)

    async def to_address(self, address: str, *, most: int) -> tuple[DispatchRecord, ...]:
        """The latest messages to an address, given by its fingerprint, the newest first."""
        query = select(DispatchRow).where(col(DispatchRow.address) == address)
        newest_first = query.order_by(col(DispatchRow.claimed_at).desc(), col(DispatchRow.id)).limit(most)
        async with self._database.read() as session:
            return tuple(from_row(DispatchRecord, row) for row in await session.scalars(newest_first))

    async def of_case(self, case_id: str) -> tuple[DispatchRecord, ...]:
        """The messages of a case, in the order of their claims."""
        return await self._all(case_id=case_id)

    async def events(self, dispatch_id: str) -> tuple[DispatchEventRecord, ...]:
        """What was heard of a message, oldest first."""
        rows = await self._database.rows(DispatchEventRow, "at", "id", dispatch_id=dispatch_id)
        return tuple(from_row(DispatchEventRecord, row) for row in rows)

    async def _must_exist(self, dispatch_id: str) -> None:
        if await self.by_id(dispatch_id) is None:
            raise NotInLedger(f"message {dispatch_id} is not in the ledger: never claimed, or released")

    async def _first(self, **where: str) -> DispatchRecord | None:
        found = await self._all(**where)
        return found[0] if found else None

    async def _all(self, **where: str) -> tuple[DispatchRecord, ...]:
        rows = await self._database.rows(DispatchRow, "claimed_at", "id", **where)
        return tuple(from_row(DispatchRecord, row) for row in rows)


async def _must_be_of_a_case(session: AsyncSession, case_id: str) -> None:
    """A message belongs to a case or to a reminder; no foreign key can say so of several tables."""
    if not await session.scalar(_IS_KNOWN, {"case_id": case_id}):
        raise NotInLedger(f"{case_id} is not in the ledger: claim it before you record anything of it")


# Built once: building a statement costs more than executing it.
_IS_KNOWN = select(or_(*(exists().where(col(row.id) == bindparam("case_id")) for row in OWNERS)))
_DISPATCHES = table(DispatchRow).c
_LOCKED = rows_where(DispatchRow, ("id",)).with_for_update()
_UPDATE = update(table(DispatchRow)).where(_DISPATCHES.id == bindparam("of_id"))
_COMPLETE = _UPDATE.where(or_(_DISPATCHES.fate.is_(None), _DISPATCHES.fate == UNKNOWN)).values(
    provider_id=func.coalesce(
        bindparam("new_provider_id", type_=_DISPATCHES.provider_id.type), _DISPATCHES.provider_id
    )
)
