"""What the outbox takes in and hands out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from dunning.case import Announcement

DeliveryState = Literal["pending", "started", "delivered", "failed", "held"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """An announcement, and the endpoints that want it."""

    announcement: Announcement
    endpoints: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDelivery:
    """One event for one endpoint. `pending`: nobody carries it yet; `held`: the endpoint is disabled."""

    event_id: str
    endpoint: str
    state: DeliveryState
    detail: str
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """An event and how its deliveries stand. `case_id` is None when it tells of no case."""

    case_id: str | None
    announcement: Announcement
    deliveries: tuple[EventDelivery, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryAttempt:
    """One try to deliver. `status` is that of HTTP; None: there was no answer."""

    endpoint: str
    at: datetime
    status: int | None
    detail: str
