"""The world the stand-ins share: one clock, one post office for webhooks, one journal, one letter box."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sandbox.deliveries import Backoff, Deliveries, Sign

JOURNAL_LENGTH = 20_000
LONGEST_TIMER = 3600.0
_Entry = tuple[datetime, int, Callable[[datetime], None]]
Channel = Literal["email", "sms", "whatsapp"]


@dataclass
class Arrival:
    """One API request that arrived. `status` is None while it runs, and when its connection was closed."""

    number: int
    at: datetime
    service: str
    method: str
    path: str
    query: dict[str, Any]
    body: Any
    status: int | None = None
    faults: list[str] = field(default_factory=list)
    seconds: float | None = None

    def as_json(self) -> dict[str, Any]:
        """The record as the control API shows it."""
        return {**asdict(self), "at": self.at.isoformat()}


@dataclass
class Message:
    """One e-mail, SMS or WhatsApp message that a provider accepted, for one recipient."""

    channel: Channel
    id: str
    at: datetime
    to: str
    sender: str
    status: str
    subject: str | None = None
    body: str | None = None
    html: str | None = None
    custom_args: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The record as the control API shows it."""
        return {**asdict(self), "at": self.at.isoformat()}


class World:
    """Clock, deliveries, journal and accepted messages of one sandbox."""

    def __init__(self, *, start: datetime | None = None, backoff: Backoff | None = None) -> None:
        self._origin = start or datetime.now(UTC)
        if self._origin.tzinfo is None:
            raise ValueError("the sandbox's clock needs an aware datetime: give `start` a time zone")
        self._started = time.monotonic()
        self._offset = timedelta()
        self._lock = threading.RLock()
        self._agenda: list[_Entry] = []
        self._numbers = itertools.count(1)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.public_url = ""
        self.journal: deque[Arrival] = deque(maxlen=JOURNAL_LENGTH)
        self.messages: list[Message] = []
        self.deliveries = Deliveries(self.now, self.at, backoff or Backoff())

    async def start(self) -> None:
        """Begin to deliver webhooks and to run what falls due, in the running event loop."""
        self._loop = asyncio.get_running_loop()
        await self.deliveries.start()
        self._arm()

    async def close(self) -> None:
        """Stop delivering."""
        self._loop = None
        if self._timer is not None:
            self._timer.cancel()
        await self.deliveries.close()

    def now(self) -> datetime:
        """The sandbox's time: real time plus what the clock was set ahead. Aware UTC."""
        running = timedelta(seconds=time.monotonic() - self._started)
        return (self._origin + running + self._offset).astimezone(UTC)

    def set_clock(self, to: datetime) -> datetime:
        """Set the clock ahead, do what falls due on the way at its own time, and return the time it is now.

        A time that has passed leaves the clock alone: it never goes backwards. Without a zone: ValueError.
        """
        if to.tzinfo is None:
            raise ValueError("the sandbox's clock needs an aware datetime: add a time zone, such as +00:00")
        self._run_due(to)
        self._move(to)
        return self.now()

    def _move(self, to: datetime) -> None:
        with self._lock:
            self._offset += max(timedelta(), to - self.now())

    def at(self, due: datetime, action: Callable[[datetime], None]) -> None:
        """Run `action(due)` once the sandbox's clock has reached `due`."""
        with self._lock:
            heapq.heappush(self._agenda, (due, next(self._numbers), action))
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._arm)

    def deliver(self, *, url: str, event_id: str, body: bytes, sign: Sign, service: str = "stripe") -> None:
        """Queue a webhook POST: sent in the background, and again on failure, signed afresh each time."""
        self.deliveries.add(service=service, url=url, event_id=event_id, body=body, sign=sign)

    async def drain(self, timeout: float = 60.0) -> None:
        """Wait until all deliveries are settled; raises TimeoutError after `timeout` real seconds."""
        await self.deliveries.drain(timeout)

    def reset(self) -> None:
        """Forget journal, messages, deliveries and what waits for the clock; the clock itself stays."""
        with self._lock:
            self._agenda.clear()
        self.journal.clear()
        self.messages.clear()
        self.deliveries.abandon()

    def begin_again(self) -> None:
        """`reset`, and the clock shows real time: for who keeps one sandbox for many worlds."""
        self.reset()
        with self._lock:
            self._origin, self._started, self._offset = datetime.now(UTC), time.monotonic(), timedelta()

    def arrived(self, service: str, method: str, path: str, query: dict[str, Any], body: Any) -> Arrival:
        """Enter a request into the journal."""
        arrival = Arrival(next(self._numbers), self.now(), service, method, path, query, body)
        self.journal.append(arrival)
        return arrival

    def _run_due(self, until: datetime) -> None:
        """Do what is due by then, in order, with the clock at its due moment or later."""
        try:
            while (entry := self._pop_due(until)) is not None:
                due, _, action = entry
                self._move(due)
                action(due)
        finally:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._arm)

    def _pop_due(self, until: datetime) -> _Entry | None:
        with self._lock:
            return heapq.heappop(self._agenda) if self._agenda and self._agenda[0][0] <= until else None

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._loop is not None and self._agenda:
            wait = (self._agenda[0][0] - self.now()).total_seconds()
            self._timer = self._loop.call_later(
                min(max(wait, 0.0), LONGEST_TIMER), lambda: self._run_due(self.now())
            )
