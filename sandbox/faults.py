"""The gate every API request passes: it enters the journal, and the faults set for it happen."""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
import uuid
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sandbox.rules import RequestFault
from sandbox.world import Arrival, World

TRANSPORT = "sandbox_transport"
SECRET = re.compile(r"secret|password|passwd|auth_?token|api_?key|cvc|\bnumber\b|card_number", re.IGNORECASE)
REDACTED = "[redacted]"
TWILIO_ERRORS = {
    401: (20003, "Authenticate"),
    403: (20403, "Forbidden"),
    404: (20404, "The requested resource was not found"),
    429: (20429, "Too Many Requests"),
    500: (20500, "An internal server error has occurred"),
    503: (20503, "Service Unavailable"),
}


class ClosableProtocol(HttpToolsProtocol):
    """HTTP whose connection the application can cut: no well-formed response says "the line went dead"."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Hand the transport to the application through the scope's state."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, TRANSPORT: transport}


class Faults:
    """The faults that wait for API requests, in the order they were set."""

    def __init__(self) -> None:
        self.rules: list[RequestFault] = []
        self._gates: dict[str, asyncio.Event] = {}
        self._holding: dict[str, int] = {}
        self._changed = asyncio.Condition()

    def add(self, rule: RequestFault) -> None:
        """Set a fault."""
        self.rules.append(rule)
        self._gates[rule.id] = asyncio.Event()
        self._holding[rule.id] = 0

    def remove(self, rule_id: str) -> bool:
        """Take a fault away, and release what it holds. Tells whether there was one."""
        before = len(self.rules)
        self.rules = [rule for rule in self.rules if rule.id != rule_id]
        self.release(rule_id)
        return len(self.rules) < before

    def clear(self) -> None:
        """Take all faults away, and release what they hold."""
        self.rules = []
        for gate in self._gates.values():
            gate.set()

    def release(self, rule_id: str) -> bool:
        """Let the requests held by a pause go on, and hold no more. Tells whether it is known."""
        gate = self._gates.get(rule_id)
        if gate is not None:
            gate.set()
        return gate is not None

    def holding(self, rule_id: str) -> int:
        """How many requests a pause holds now."""
        return self._holding.get(rule_id, 0)

    async def wait_holding(self, rule_id: str, count: int, timeout: float) -> int:
        """Wait until a pause holds `count` requests; raises TimeoutError after `timeout` seconds."""
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(lambda: self.holding(rule_id) >= count)
        return self.holding(rule_id)

    def plan(self, arrival: Arrival, body: str) -> list[RequestFault]:
        """The faults of this request: any number that wait, at most one that decides the answer."""
        chosen: list[RequestFault] = []
        decided = False
        for rule in self.rules:
            if rule.outcome and decided:
                continue
            if rule.fires(arrival.service, arrival.method, arrival.path, body):
                chosen.append(rule)
                decided = decided or rule.outcome
        return chosen

    async def hold(self, rule: RequestFault) -> None:
        """Hold the calling request until the rule is released."""
        await self._count(rule.id, 1)
        try:
            await self._gates[rule.id].wait()
        finally:
            await self._count(rule.id, -1)

    async def _count(self, rule_id: str, step: int) -> None:
        async with self._changed:
            self._holding[rule_id] += step
            self._changed.notify_all()


@dataclass
class _Collected:
    """A response that was made but not sent yet."""

    messages: list[Message] = field(default_factory=list)

    async def send(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def status(self) -> int | None:
        return next((m["status"] for m in self.messages if m["type"] == "http.response.start"), None)


class Gate:
    """ASGI middleware: journal and faults around the three stand-ins; the control API passes untouched."""

    def __init__(self, app: ASGIApp, world: World, faults: Faults) -> None:
        self.app, self.world, self.faults = app, world, faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["path"].startswith("/_control"):
            await self.app(scope, receive, send)
            return
        body = await _read(receive)
        if body is None:
            return
        started = time.monotonic()
        text = body.decode("utf-8", "replace")
        arrival = self.world.arrived(
            service_of(scope["path"]),
            scope["method"],
            scope["path"],
            _fields(scope["query_string"].decode("latin-1")),
            _parsed(_header(scope, b"content-type"), text),
        )
        plan = self.faults.plan(arrival, text)
        arrival.faults = [rule.kind for rule in plan]
        try:
            if plan:
                await self._faulty(plan, arrival, scope, _replay(body, receive), send)
            else:
                await self.app(scope, _replay(body, receive), _noting(arrival, send))
        finally:
            arrival.seconds = round(time.monotonic() - started, 4)

    async def _faulty(
        self, plan: list[RequestFault], arrival: Arrival, scope: Scope, receive: Receive, send: Send
    ) -> None:
        for rule in plan:
            if rule.kind == "delay":
                await asyncio.sleep(rule.seconds)
            elif rule.kind == "pause":
                await self.faults.hold(rule)
        outcome = next((rule for rule in plan if rule.outcome), None)
        if outcome is not None and outcome.kind == "drop_before":
            await _hang_up(scope, receive)
            return
        if outcome is not None and outcome.kind == "status":
            await self._refuse(outcome, arrival, scope, receive, send)
            return
        collected = _Collected()
        await self.app(scope, receive, collected.send)
        for rule in plan:
            if rule.kind == "pause_after":
                await self.faults.hold(rule)
        if outcome is None:
            arrival.status = collected.status
            for message in collected.messages:
                await send(message)
        elif outcome.kind == "drop_after":
            await _hang_up(scope, receive)
        else:
            await self._refuse(outcome, arrival, scope, receive, send)

    async def _refuse(
        self, rule: RequestFault, arrival: Arrival, scope: Scope, receive: Receive, send: Send
    ) -> None:
        arrival.status = rule.status
        await provider_error(arrival.service, rule, self.world)(scope, receive, send)


def service_of(path: str) -> str:
    """The provider a path belongs to."""
    if path.startswith("/v3/"):
        return "sendgrid"
    return "twilio" if path.startswith("/2010-04-01/") else "stripe"


def provider_error(service: str, rule: RequestFault, world: World) -> Response:
    """An error as this provider answers it, with the rate-limit headers that belong to a 429.

    Sources: Stripe API reference (errors, rate limits), SendGrid v3 "Rate limits", Twilio error 20429.
    """
    status = rule.status
    headers: dict[str, str] = {}
    if status == 502:
        answer: dict[str, Any] | None = None
    elif service == "sendgrid":
        message = _SENDGRID.get(status, "internal error")
        answer = {"errors": [{"message": message, "field": None, "help": None}]}
        if status == 429:
            reset = math.ceil(world.now().timestamp()) + rule.retry_after
            headers = {"X-RateLimit-Limit": "600", "X-RateLimit-Remaining": "0"}
            headers["X-RateLimit-Reset"] = str(reset)
    elif service == "twilio":
        code, message = TWILIO_ERRORS.get(status, (20001, "Bad request"))
        more = f"https://www.twilio.com/docs/errors/{code}"
        answer = {"code": code, "message": message, "more_info": more, "status": status}
        headers = {"Retry-After": str(rule.retry_after)} if status == 429 else {}
    else:
        answer = {"error": _stripe_error(status)}
        headers = {"Request-Id": f"req_fault{uuid.uuid4().hex[:14]}", "Stripe-Version": _STRIPE_VERSION}
        if status == 429:
            headers |= {"Stripe-Rate-Limited-Reason": "global-rate", "Retry-After": str(rule.retry_after)}
    headers |= rule.headers
    if rule.answer is not None:
        answer = rule.answer
    if answer is None:
        page = "<html><head><title>502 Bad Gateway</title></head><body>502 Bad Gateway</body></html>"
        return Response(page, status, headers, media_type="text/html")
    return JSONResponse(answer, status, headers)


_STRIPE_VERSION = "2026-10-28.endive"
_SENDGRID = {
    401: "The provided authorization grant is invalid, expired, or revoked",
    403: "access forbidden",
    413: "Payload too large",
    429: "too many requests",
    503: "service unavailable",
}


def _stripe_error(status: int) -> dict[str, Any]:
    if status == 429:
        message = "Request rate limit exceeded. Learn more here: https://stripe.com/docs/rate-limits."
        return {"type": "invalid_request_error", "code": "rate_limit", "message": message}
    if status == 401:
        return {"type": "invalid_request_error", "message": "Invalid API Key provided."}
    if status < 500:
        return {"type": "invalid_request_error", "message": "The request was refused."}
    message = "An unknown error occurred. Contact us at https://support.stripe.com/ if it persists."
    return {"type": "api_error", "message": message}


async def _hang_up(scope: Scope, receive: Receive) -> None:
    transport = scope.get("state", {}).get(TRANSPORT)
    if transport is None:
        raise RuntimeError("cutting a connection needs the sandbox's own server: use sandbox.app.run")
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read(receive: Receive) -> bytes | None:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    told = False

    async def again() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _noting(arrival: Arrival, send: Send) -> Send:
    async def noted(message: Message) -> None:
        if message["type"] == "http.response.start":
            arrival.status = message["status"]
        await send(message)

    return noted


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def _parsed(content_type: str, text: str) -> Any:
    if "json" in content_type:
        try:
            return _redact(json.loads(text))
        except ValueError:
            return text
    return _fields(text) if text else None


def _fields(text: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        shown = REDACTED if SECRET.search(key) else value
        if key in fields:
            fields[key] = [*fields[key], shown] if isinstance(fields[key], list) else [fields[key], shown]
        else:
            fields[key] = shown
    return fields


def _redact(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: REDACTED if SECRET.search(k) else _redact(v) for k, v in value.items()}
    return [_redact(item) for item in value] if isinstance(value, list) else value
