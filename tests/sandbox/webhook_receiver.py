"""A webhook endpoint that notes what it gets."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response


@dataclass
class Received:
    """A webhook as it arrived: the raw body and the headers."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """A webhook endpoint. It answers the `answers` in turn, and 204 once they are used up."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def forget(self) -> None:
        """Answer whoever still waits, and begin anew."""
        self.gate.set()
        self.received, self.answers = [], []
        self.gate, self.arrived = asyncio.Event(), asyncio.Event()

    async def take(self, request: Request) -> Response:
        """Note one webhook; `/slow` answers only when the gate is open."""
        body = await request.body()
        self.received.append(Received(request.url.path, dict(request.headers), body))
        self.arrived.set()
        if request.url.path.startswith("/slow"):
            await self.gate.wait()
        return Response(status_code=self.answers.pop(0) if self.answers else 204)
