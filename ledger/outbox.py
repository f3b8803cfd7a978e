"""The outbox: what the business's own systems are told, written together with what it tells of.

An event stands here before anything is sent. Whoever dies between the two loses nothing: a relay takes up
what is pending.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Select, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from dunning.case import Announcement
from ledger.database import Database, changed, insert_once
from ledger.outgoing import DeliveryAttempt, DeliveryState, EventDelivery, EventRecord, Outgoing
from ledger.records import from_row
from ledger.tables import DeliveryAttemptRow, DeliveryRow, DisabledEndpointRow, EventRow

_IN_HAND = ("pending", "started")


async def put_out(
    session: AsyncSession, case_id: str | None, outgoing: Sequence[Outgoing], at: datetime
) -> None:
    """Add events to the outbox within the transaction of what they tell of."""
    if not outgoing:
        return
    disabled = set(await session.scalars(select(col(DisabledEndpointRow.name))))
    for each in outgoing:
        told = each.announcement
        row = EventRow(id=told.id, case_id=case_id, type=told.type, at=told.at, data=told.data)
        if not await insert_once(session, row):
            continue
        for name in each.endpoints:
            state = "held" if name in disabled else "pending"
            await insert_once(
                session, DeliveryRow(event_id=told.id, endpoint=name, state=state, changed_at=at)
            )


class Outbox:
    """The events of the ledger, and how their deliveries stand."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pending(self, limit: int = 100) -> tuple[EventDelivery, ...]:
        """Deliveries that nobody carries yet, those of the oldest events first."""
        query = select(DeliveryRow).join(EventRow, col(EventRow.id) == col(DeliveryRow.event_id))
        waiting = query.where(col(DeliveryRow.state) == "pending")
        oldest_first = waiting.order_by(col(EventRow.at), col(EventRow.id), col(DeliveryRow.endpoint))
        async with self._database.read() as session:
            rows = await session.scalars(oldest_first.limit(limit))
            return tuple(from_row(EventDelivery, row) for row in rows)

    async def delivery(self, event_id: str, endpoint: str) -> EventDelivery | None:
        """One delivery."""
        async with self._database.read() as session:
            row = await session.get(DeliveryRow, (event_id, endpoint))
            return None if row is None else from_row(EventDelivery, row)

    async def started(self, event_id: str, endpoint: str, at: datetime) -> None:
        """A workflow carries it now; changes nothing once the delivery is over."""
        await self._move(event_id, endpoint, "started", at, only_from=("pending",))

    async def tried(
        self, event_id: str, endpoint: str, *, at: datetime, status: int | None, detail: str
    ) -> None:
        """Log one attempt."""
        row = DeliveryAttemptRow(event_id=event_id, endpoint=endpoint, at=at, status=status, detail=detail)
        async with self._database.write() as session:
            session.add(row)

    async def end(
        self, event_id: str, endpoint: str, state: DeliveryState, *, at: datetime, detail: str = ""
    ) -> None:
        """Record how the delivery ended."""
        await self._move(event_id, endpoint, state, at, only_from=_IN_HAND, detail=detail)

    async def again(self, event_id: str, endpoint: str, at: datetime) -> None:
        """Make the delivery pending again, whatever became of it."""
        await self._move(event_id, endpoint, "pending", at)

    async def _move(
        self,
        event_id: str,
        endpoint: str,
        state: DeliveryState,
        at: datetime,
        *,
        only_from: tuple[str, ...] = (),
        detail: str = "",
    ) -> None:
        this = update(DeliveryRow).where(
            col(DeliveryRow.event_id) == event_id, col(DeliveryRow.endpoint) == endpoint
        )
        if only_from:
            this = this.where(col(DeliveryRow.state).in_(only_from))
        statement = this.values(state=state, changed_at=at, detail=detail)
        async with self._database.write() as session:
            await changed(session, statement.execution_options(synchronize_session=False))

    # --- endpoints --------------------------------------------------------------------------------------

    async def disable(self, endpoint: str, *, at: datetime, reason: str) -> None:
        """Send this endpoint nothing more until it is enabled."""
        async with self._database.write() as session:
            await insert_once(session, DisabledEndpointRow(name=endpoint, at=at, reason=reason))

    async def disabled(self) -> dict[str, str]:
        """The endpoints that are disabled, each with the reason."""
        async with self._database.read() as session:
            rows = await session.scalars(select(DisabledEndpointRow))
            return {row.name: f"{row.reason} at {row.at:%Y-%m-%d %H:%M} UTC" for row in rows}

    async def enable(self, endpoint: str, at: datetime) -> int | None:
        """Send to the endpoint again, also what was held for it: how many events. None: it was enabled."""
        where = (col(DeliveryRow.endpoint) == endpoint, col(DeliveryRow.state) == "held")
        held = update(DeliveryRow).where(*where).values(state="pending", changed_at=at)
        gone = delete(DisabledEndpointRow).where(col(DisabledEndpointRow.name) == endpoint)
        async with self._database.write() as session:
            if not await changed(session, gone.execution_options(synchronize_session=False)):
                return None
            return await changed(session, held.execution_options(synchronize_session=False))

    # --- reading ----------------------------------------------------------------------------------------

    async def event(self, event_id: str) -> EventRecord | None:
        """One event."""
        found = await self._found(select(EventRow).where(col(EventRow.id) == event_id))
        return found[0] if found else None

    async def events(
        self,
        *,
        case_id: str | None = None,
        endpoint: str | None = None,
        state: DeliveryState | None = None,
        limit: int = 50,
    ) -> tuple[EventRecord, ...]:
        """The newest events that fit all that is given, newest first."""
        query = select(EventRow)
        if case_id is not None:
            query = query.where(col(EventRow.case_id) == case_id)
        if endpoint is not None or state is not None:
            of_delivery = select(col(DeliveryRow.event_id))
            if endpoint is not None:
                of_delivery = of_delivery.where(col(DeliveryRow.endpoint) == endpoint)
            if state is not None:
                of_delivery = of_delivery.where(col(DeliveryRow.state) == state)
            query = query.where(col(EventRow.id).in_(of_delivery))
        newest_first = query.order_by(col(EventRow.at).desc(), col(EventRow.id).desc())
        return await self._found(newest_first.limit(limit))

    async def attempts(self, event_id: str) -> tuple[DeliveryAttempt, ...]:
        """What was tried to deliver an event, oldest first."""
        query = select(DeliveryAttemptRow).where(col(DeliveryAttemptRow.event_id) == event_id)
        async with self._database.read() as session:
            rows = await session.scalars(query.order_by(col(DeliveryAttemptRow.id)))
            return tuple(from_row(DeliveryAttempt, row) for row in rows)

    async def _found(self, query: Select[EventRow]) -> tuple[EventRecord, ...]:
        async with self._database.read() as session:
            rows = (await session.scalars(query)).all()
            of_these = select(DeliveryRow).where(col(DeliveryRow.event_id).in_([row.id for row in rows]))
            deliveries = (await session.scalars(of_these.order_by(col(DeliveryRow.endpoint)))).all()
        return tuple(
            EventRecord(
                case_id=row.case_id,
                announcement=Announcement(id=row.id, type=row.type, at=row.at, data=row.data),
                deliveries=tuple(from_row(EventDelivery, d) for d in deliveries if d.event_id == row.id),
            )
            for row in rows
        )
