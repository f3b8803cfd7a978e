"""Webhook delivery as providers do it: in the background, in order for each target, again on failure.

A delivery's first attempt keeps the order of its target. One that fails is sent again on its own timer,
beside the queue, because no provider lets one refused event hold back the next.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

import aiohttp

from sandbox.rules import WebhookFault

logger = logging.getLogger(__name__)

Sign = Callable[[bytes], dict[str, str]]
"""Makes the headers of one attempt from its body; called afresh each time, for signatures carry a time."""

State = Literal["queued", "waiting", "scheduled", "delivered", "undelivered", "dropped"]
RECORDS_KEPT = 50_000
"""Beyond this many records, those of delivered webhooks are forgotten."""
REORDER_PATIENCE = 2.0
"""Real seconds that a reordered delivery waits for another one to overtake it."""


@dataclass(frozen=True)
class Backoff:
    """Redelivery in real seconds: `first`, doubled up to `longest`, at most `tries` attempts in all."""

    first: float = 0.2
    longest: float = 5.0
    tries: int = 12

    def after(self, attempts: int) -> float:
        """Seconds to wait after that many failed attempts."""
        return float(min(self.longest, self.first * 2 ** (attempts - 1)))


@dataclass(frozen=True)
class Attempt:
    """One POST to a target: when (sandbox clock), and the status it answered or why there was none."""

    at: datetime
    status: int | None
    error: str | None = None


@dataclass
class Delivery:
    """One webhook on its way to one target."""

    number: int
    service: str
    url: str
    event_id: str
    body: bytes
    sign: Sign
    queued_at: datetime
    state: State = "queued"
    fault: str | None = None
    attempts: list[Attempt] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The record as the control API shows it."""
        return {
            "number": self.number,
            "service": self.service,
            "url": self.url,
            "event_id": self.event_id,
            "body": self.body.decode("utf-8", "replace"),
            "queued_at": self.queued_at.isoformat(),
            "state": self.state,
            "fault": self.fault,
            "attempts": [
                {"at": a.at.isoformat(), "status": a.status, "error": a.error} for a in self.attempts
            ],
        }


@dataclass
class _Lane:
    """The queue of one target (scheme, host and path; a query string does not make another target)."""

    queue: deque[Delivery] = field(default_factory=deque)
    held: list[Delivery] = field(default_factory=list)
    busy: bool = False


def _lane_key(delivery: Delivery) -> str:
    parts = urlsplit(delivery.url)
    return f"{delivery.service} {parts.scheme}://{parts.netloc}{parts.path}"


class Deliveries:
    """All webhooks of the sandbox. `add` may be called from any thread, also before `start`."""

    def __init__(
        self,
        now: Callable[[], datetime],
        at: Callable[[datetime, Callable[[datetime], None]], None],
        backoff: Backoff,
    ) -> None:
        self._now, self._at, self._backoff = now, at, backoff
        self.records: list[Delivery] = []
        self.faults: list[WebhookFault] = []
        self._numbers = itertools.count(1)
        self._lanes: dict[str, _Lane] = {}
        self._pending = 0
        self._lock = threading.RLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: aiohttp.ClientSession | None = None
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._backlog: list[Callable[[], object]] = []

    async def start(self) -> None:
        """Begin to deliver, in the running event loop."""
        patience = aiohttp.ClientTimeout(total=15.0, sock_connect=5.0)
        self._client = aiohttp.ClientSession(timeout=patience, cookie_jar=aiohttp.DummyCookieJar())
        self._loop = asyncio.get_running_loop()
        backlog, self._backlog = self._backlog, []
        for action in backlog:
            action()

    async def close(self) -> None:
        """Stop delivering; what was not delivered stays on record as it is."""
        self._loop = None
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.close()

    def add(self, *, service: str, url: str, event_id: str, body: bytes, sign: Sign) -> None:
        """Queue one webhook; the faults set for it apply from here on."""
        with self._lock:
            delivery = self._record(service, url, event_id, body, sign)
            fault = next((f for f in self.faults if f.fires(service, url, event_id, body)), None)
            if fault is None:
                self._enqueue(delivery)
                return
            delivery.fault = fault.kind
            self._apply(fault, delivery)

    def abandon(self) -> None:
        """Give up what is on its way and forget every record. Call it in the event loop that delivers."""
        with self._lock:
            for task in self._tasks:
                task.cancel()
            self._lanes.clear()
            self._backlog.clear()
            self.records = []
            self._pending = 0
        self._changed.set()

    def find(
        self, *, service: str | None = None, state: str | None = None, event: str | None = None
    ) -> list[Delivery]:
        """Records by service, state, and a regular expression over event id and body."""
        return [
            d
            for d in list(self.records)
            if (service is None or d.service == service)
            and (state is None or d.state == state)
            and (event is None or re.search(event, f"{d.event_id} {d.body.decode('utf-8', 'replace')}"))
        ]

    async def drain(self, timeout: float) -> None:
        """Wait until every delivery is settled (delivered, given up or dropped).

        Raises TimeoutError after `timeout` real seconds. What waits for the sandbox clock is left alone.
        """
        self._release_all_held()
        async with asyncio.timeout(timeout):
            while self._pending:
                self._changed.clear()
                await self._changed.wait()

    @property
    def pending(self) -> int:
        """How many deliveries are not settled yet."""
        return self._pending

    def _record(self, service: str, url: str, event_id: str, body: bytes, sign: Sign) -> Delivery:
        delivery = Delivery(next(self._numbers), service, url, event_id, body, sign, self._now())
        if len(self.records) >= RECORDS_KEPT:
            self.records = [known for known in self.records if known.state != "delivered"]
        self.records.append(delivery)
        return delivery

    def _apply(self, fault: WebhookFault, delivery: Delivery) -> None:
        if fault.kind == "drop":
            delivery.state = "dropped"
        elif fault.kind == "duplicate":
            twin = self._record(
                delivery.service, delivery.url, delivery.event_id, delivery.body, delivery.sign
            )
            twin.fault = fault.kind
            self._enqueue(delivery)
            self._enqueue(twin)
        elif fault.kind == "late":
            delivery.state = "scheduled"
            due = self._now() + timedelta(seconds=fault.wait)
            self._at(due, lambda _due: self._enqueue(delivery))
        elif fault.kind == "delay":
            self._pending += 1
            delivery.state = "waiting"
            self._call(lambda: self._spawn(self._attempt_later(delivery, fault.wait)))
        else:
            self._hold(delivery)

    def _hold(self, delivery: Delivery) -> None:
        """Keep it back until the next delivery to the same target has gone ahead of it."""
        self._pending += 1
        delivery.state = "waiting"
        lane = self._lanes.setdefault(_lane_key(delivery), _Lane())
        lane.held.append(delivery)
        self._call(lambda: self._spawn(self._release_later(lane)))

    def _enqueue(self, delivery: Delivery) -> None:
        with self._lock:
            delivery.state = "queued"
            lane = self._lanes.setdefault(_lane_key(delivery), _Lane())
            lane.queue.append(delivery)
            self._pending += 1
            self._release_held(lane)

    def _release_held(self, lane: _Lane) -> None:
        with self._lock:
            lane.queue.extend(reversed(lane.held))
            lane.held.clear()
        self._call(lambda: self._wake(lane))

    def _release_all_held(self) -> None:
        for lane in list(self._lanes.values()):
            if lane.held:
                self._release_held(lane)

    async def _release_later(self, lane: _Lane) -> None:
        await asyncio.sleep(REORDER_PATIENCE)
        self._release_held(lane)

    def _call(self, action: Callable[[], object]) -> None:
        if self._loop is None:
            self._backlog.append(action)
        else:
            self._loop.call_soon_threadsafe(action)

    def _spawn(self, work: Any) -> None:
        if self._loop is None:
            work.close()
            return
        task: asyncio.Task[None] = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _wake(self, lane: _Lane) -> None:
        if lane.queue and not lane.busy:
            lane.busy = True
            self._spawn(self._run(lane))

    async def _run(self, lane: _Lane) -> None:
        try:
            while lane.queue:
                await self._attempt(lane.queue.popleft())
        finally:
            lane.busy = False

    async def _attempt_later(self, delivery: Delivery, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._attempt(delivery)

    async def _attempt(self, delivery: Delivery) -> None:
        try:
            outcome = await self._post(delivery)
        except Exception as error:  # a broken signer or URL must not stop the queue, and must not hide either
            logger.exception("webhook %s to %s cannot be sent", delivery.event_id, delivery.url)
            delivery.attempts.append(Attempt(self._now(), None, repr(error)))
            self._settle(delivery, "undelivered")
            return
        delivery.attempts.append(outcome)
        if outcome.status is not None and 200 <= outcome.status < 300:
            self._settle(delivery, "delivered")
        elif len(delivery.attempts) >= self._backoff.tries:
            self._settle(delivery, "undelivered")
        else:
            delivery.state = "waiting"
            self._spawn(self._attempt_later(delivery, self._backoff.after(len(delivery.attempts))))

    async def _post(self, delivery: Delivery) -> Attempt:
        if self._client is None:
            raise RuntimeError("deliveries were not started: call World.start() first")
        headers = {"Content-Type": "application/json; charset=utf-8", **delivery.sign(delivery.body)}
        try:
            async with self._client.post(
                delivery.url, data=delivery.body, headers=headers, allow_redirects=False
            ) as response:
                await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            return Attempt(self._now(), None, f"{type(error).__name__}: {error}")
        return Attempt(self._now(), response.status)

    def _settle(self, delivery: Delivery, state: State) -> None:
        with self._lock:
            delivery.state = state
            self._pending -= 1
        self._changed.set()
