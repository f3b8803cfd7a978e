"""The tables of the outbox."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    Index,
    Integer,
)
from sqlmodel import Field

from ledger.tables.base import Row, where
from ledger.types import Json, UtcDateTime, Words


class EventRow(Row, table=True):
    """Something the business's own systems are told, written with what it tells of. Not all is of a case."""

    __tablename__ = "events"
    __table_args__ = (Index("ix_events_at", "at", "id"), Index("ix_events_case_id", "case_id"))

    id: str = Field(primary_key=True)
    case_id: str | None = Field(default=None, foreign_key="cases.id")
    type: str
    at: datetime = Field(sa_type=UtcDateTime)
    data: dict[str, Any] = Field(sa_column=Column(Json, nullable=False))


class DeliveryRow(Row, table=True):
    """One event for one endpoint: pending until a workflow carries it."""

    __tablename__ = "deliveries"
    __table_args__ = (Index("ix_deliveries_pending", "event_id", **where("state = 'pending'")),)

    event_id: str = Field(primary_key=True, foreign_key="events.id")
    endpoint: str = Field(primary_key=True)
    state: str  # pending, started, delivered, failed, held
    detail: str = Field(default="", sa_type=Words)
    changed_at: datetime = Field(sa_type=UtcDateTime)


class DeliveryAttemptRow(Row, table=True):
    """One try to deliver an event, and what the endpoint answered."""

    __tablename__ = "delivery_attempts"
    __table_args__ = (Index("ix_delivery_attempts_event_id", "event_id", "endpoint"),)

    id: int | None = Field(default=None, sa_column=Column(Integer, primary_key=True, autoincrement=True))
    event_id: str = Field(foreign_key="events.id")
    endpoint: str
    at: datetime = Field(sa_type=UtcDateTime)
    status: int | None = None
    detail: str = Field(default="", sa_type=Words)


class DisabledEndpointRow(Row, table=True):
    """An endpoint that said it is gone (410). Its events are held until somebody enables it."""

    __tablename__ = "disabled_endpoints"

    name: str = Field(primary_key=True)
    at: datetime = Field(sa_type=UtcDateTime)
    reason: str = Field(default="", sa_type=Words)
