"""Webhooks accepted per second by the real app, against bare signal-with-start."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from statistics import median
from urllib.parse import urlsplit

from stripe import WebhookSignature
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy

from activities.interface import TASK_QUEUE
from bench.world import World, world
from starter.processes import StackError
from workflows.ids import invoice_dunning_id

_AT_ONCE = 32


@dataclass(frozen=True)
class Acceptance:
    """Events per second, each of which opens a case. `ratio` is the median of the rounds' ratios."""

    ratio: float
    app: float
    bare: float


async def measure(rounds: int, events: int) -> Acceptance:
    """Alternating rounds: the app over HTTP with signed events, and a client that signals with start itself.

    No worker runs: accepting is all that happens.
    """
    async with world() as stage:
        await stage.stack.children.stop(stage.stack.worker)
        names = map(str, itertools.count())
        await _app(stage, events, names)
        await _bare(stage.stack.client, events, names)
        rates = [
            (await _app(stage, events, names), await _bare(stage.stack.client, events, names))
            for _ in range(rounds)
        ]
    return Acceptance(
        ratio=median(ours / theirs for ours, theirs in rates),
        app=median(ours for ours, _ in rates),
        bare=median(theirs for _, theirs in rates),
    )


async def _app(stage: World, events: int, names: Iterator[str]) -> float:
    where = stage.stack.addresses
    requests = [_request(where.app, where.webhook_secret, next(names)) for _ in range(events)]
    lines = [await _connect(where.app) for _ in range(_AT_ONCE)]
    try:
        return await _rate(requests, [line.post for line in lines])
    finally:
        for line in lines:
            line.close()


async def _bare(client: Client, events: int, names: Iterator[str]) -> float:
    async def signal(name: str) -> None:
        await client.start_workflow(
            "InvoiceDunning",
            {"invoice_id": f"in_bare{name}"},
            id=invoice_dunning_id(f"in_bare{name}"),
            task_queue=TASK_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            start_signal="billing_event",
            start_signal_args=[{"type": "invoice.payment_failed", "id": f"evt_{name}"}],
        )

    return await _rate([next(names) for _ in range(events)], [signal] * _AT_ONCE)


async def _rate(inputs: Iterable[str], hands: Iterable[Callable[[str], Awaitable[None]]]) -> float:
    """Inputs per second, when every hand takes the next one as soon as it is free."""
    waiting = list(inputs)
    count = len(waiting)

    async def work(hand: Callable[[str], Awaitable[None]]) -> None:
        while waiting:
            await hand(waiting.pop())

    begun = time.perf_counter()
    await asyncio.gather(*(work(hand) for hand in hands))
    return count / (time.perf_counter() - begun)


def _request(app: str, secret: str, name: str) -> str:
    """A whole HTTP request with a signed event: a renewal's first charge failed."""
    now = int(time.time())
    invoice = {
        "id": f"in_app{name}",
        "object": "invoice",
        "customer": f"cus_{name}",
        "status": "open",
        "billing_reason": "subscription_cycle",
        "collection_method": "charge_automatically",
        "amount_remaining": 1_900,
        "currency": "usd",
        "attempt_count": 1,
        "lines": {"object": "list", "data": [{"id": f"il_{n}", "amount": 95} for n in range(20)]},
    }
    body = json.dumps(
        {
            "id": f"evt_app{name}",
            "object": "event",
            "api_version": "2026-08-26",
            "type": "invoice.payment_failed",
            "created": now,
            "livemode": False,
            "request": {"id": None, "idempotency_key": None},
            "data": {"object": invoice},
        }
    )
    head = [
        "POST /webhooks/stripe HTTP/1.1",
        f"Host: {urlsplit(app).netloc}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"Stripe-Signature: {WebhookSignature.generate_signature_header(body, secret, now)}",
    ]
    return "\r\n".join([*head, "", body])


@dataclass
class _Line:
    """A connection that is kept. An HTTP client library would cost as much as what is measured."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def post(self, request: str) -> None:
        """Send a request and read its answer. Raises StackError when it is not 200."""
        self.writer.write(request.encode())
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = await self.reader.readexactly(int(fields["content-length"]))
        if " 200 " not in head.split("\r\n")[0] or b'"woken"' not in body:
            raise StackError(
                f"the app did not accept a webhook: {head.splitlines()[0]} {body.decode()[:200]}"
            )

    def close(self) -> None:
        """Close the connection."""
        self.writer.close()


async def _connect(app: str) -> _Line:
    url = urlsplit(app)
    return _Line(*await asyncio.open_connection(url.hostname, url.port))
