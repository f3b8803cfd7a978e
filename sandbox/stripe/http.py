"""The HTTP face of the Stripe API: who calls, with which key, whether this very call was made before."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from sandbox.stripe.errors import (
    StripeError,
    idempotency_in_use,
    idempotency_mismatch,
    invalid_request,
    unauthenticated,
    unknown_route,
)
from sandbox.stripe.forms import Params, parse
from sandbox.stripe.store import API_VERSION, Account, Obj, Origin, StripeBooks, new_id
from sandbox.stripe.wire import page, render

logger = logging.getLogger(__name__)

KEY_LIFE = 24 * 3600
"""Seconds of the sandbox clock after which an idempotency key counts as new (Stripe: at least 24 hours)."""
_KEY_LENGTH = 255


@dataclass(frozen=True)
class Call:
    """One API call, authenticated and decoded."""

    account: Account
    params: Params
    path: str
    ids: dict[str, str]
    origin: Origin

    @property
    def books(self) -> StripeBooks:
        """The books of the whole sandbox."""
        return self.account.books

    @property
    def now(self) -> int:
        """The sandbox clock in Unix seconds."""
        return self.account.now

    def target(self, kind: str) -> Obj:
        """The object that the `{id}` of the path names. Raises StripeError 404."""
        return self.account.get(kind, self.ids["id"], kind.rpartition(".")[2])

    def rows(self, kind: str) -> Obj:
        """One page of all objects of a kind."""
        return page(self.account.rows(kind), self.params, self.path)


@dataclass(frozen=True)
class Endpoint:
    """One endpoint: its handler, and the parameters it takes besides `expand`, separated by spaces.

    `charges` marks the calls that reach the bank, and so take `StripeBooks.bank_seconds`.
    """

    method: str
    path: str
    handler: Callable[[Call], Obj]
    accepts: str = ""
    charges: bool = False
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path)
        object.__setattr__(self, "pattern", re.compile(f"^{pattern}$"))


@dataclass
class Remembered:
    """What an idempotency key stands for. `status` is None while its first request still runs."""

    request_id: str
    fingerprint: str
    path: str
    expires: int
    status: int | None = None
    body: bytes = b""


class Api:
    """Serves /v1/... from the books."""

    def __init__(self, books: StripeBooks, endpoints: Sequence[Endpoint]) -> None:
        self._books = books
        self._endpoints = endpoints

    async def serve(self, request: Request) -> Response:
        """Answer one API request, errors included, the way Stripe answers it."""
        request_id = new_id("req", 14)
        headers = {"Request-Id": request_id, "Stripe-Version": API_VERSION}
        try:
            status, body = await self._serve(request, request_id, headers)
        except StripeError as error:
            status, body = error.status, _refusal(error, request_id)
        except Exception:
            # The sandbox's own fault: answered as Stripe answers its own, and never hidden.
            logger.exception("sandbox: %s %s failed", request.method, request.url.path)
            message = f"The sandbox failed at this request; its log says why (request {request_id})."
            status, body = 500, json.dumps({"error": {"type": "api_error", "message": message}}).encode()
        return Response(body, status, headers, "application/json")

    async def _serve(self, request: Request, request_id: str, headers: dict[str, str]) -> tuple[int, bytes]:
        _authenticate(request.headers.get("authorization"))
        account = self._books.account(request.headers.get("stripe-account"))
        if account.connected:
            headers["Stripe-Account"] = account.id
        key = request.headers.get("idempotency-key") if request.method == "POST" else None
        if key is not None and len(key) > _KEY_LENGTH:
            raise invalid_request(f"Idempotency keys have at most {_KEY_LENGTH} characters.", stored=False)
        path = request.url.path
        origin = Origin(request_id, key or None)
        if not key:
            return await self._execute(account, request.method, path, await _encoded(request), origin)
        headers["Idempotency-Key"] = key
        known = self._claim(account, key, path, request_id)
        if known is not None:
            return _replay(known, key, path, await _encoded(request), headers)
        slot = (account.id, key)
        claimed = self._books.idempotency[slot]
        try:
            encoded = await _encoded(request)
            claimed.fingerprint = _fingerprint(encoded)
            status, body = await self._execute(account, request.method, path, encoded, origin)
        except StripeError as error:
            if not error.stored:
                self._books.idempotency.pop(slot, None)
                raise
            status, body = error.status, _refusal(error, request_id)
        except BaseException:
            self._books.idempotency.pop(slot, None)
            raise
        claimed.status, claimed.body = status, body
        return status, body

    def _claim(self, account: Account, key: str, path: str, request_id: str) -> Remembered | None:
        """The finished request of this key, or None after claiming the key for the present one."""
        known: Remembered | None = self._books.idempotency.get((account.id, key))
        if known is not None and known.expires > account.now:
            if known.status is None:
                raise idempotency_in_use(key)
            return known
        fresh = Remembered(request_id, "", path, account.now + KEY_LIFE)
        self._books.idempotency[(account.id, key)] = fresh
        return None

    async def _execute(
        self, account: Account, method: str, path: str, encoded: str, origin: Origin
    ) -> tuple[int, bytes]:
        endpoint, ids = self._route(method, path)
        params = Params(parse(encoded))
        params.only([*endpoint.accepts.split(), "expand"])
        if endpoint.charges and self._books.bank_seconds:
            await asyncio.sleep(self._books.bank_seconds)
        # From here to the answer nothing awaits: an execution is atomic, as Stripe's locks make it.
        with self._books.lock:
            result = endpoint.handler(Call(account, params, path, ids, origin))
            answer = render(account, result, params.texts("expand"))
            return 200, to_json(answer)

    def _route(self, method: str, path: str) -> tuple[Endpoint, dict[str, str]]:
        for endpoint in self._endpoints:
            matched = endpoint.pattern.match(path)
            if matched is not None and endpoint.method == method:
                return endpoint, matched.groupdict()
        raise unknown_route(method, path)


async def _encoded(request: Request) -> str:
    """The encoded parameters: the query string of GET and DELETE, the body of POST."""
    body = (await request.body()).decode()
    return "&".join(part for part in (request.url.query, body) if part)


def _fingerprint(encoded: str) -> str:
    return json.dumps(parse(encoded), sort_keys=True)


def _replay(
    known: Remembered, key: str, path: str, encoded: str, headers: dict[str, str]
) -> tuple[int, bytes]:
    if known.path != path or known.fingerprint != _fingerprint(encoded):
        raise idempotency_mismatch(key, known.path, known.path == path)
    headers["Idempotent-Replayed"] = "true"
    headers["Original-Request"] = known.request_id
    return known.status or 200, known.body


def _authenticate(authorization: str | None) -> None:
    scheme, _, credentials = (authorization or "").partition(" ")
    key: str | None = None
    if scheme.lower() == "bearer":
        key = credentials.strip()
    elif scheme.lower() == "basic":
        try:
            key = base64.b64decode(credentials).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            key = ""
    if key is None or not re.match(r"^(sk_test_|rk_)\w+", key):
        raise unauthenticated(key)


def _refusal(error: StripeError, request_id: str) -> bytes:
    log = f"https://dashboard.stripe.com/test/logs/{request_id}"
    body: dict[str, Any] = {**error.body, "request_log_url": log}
    return json.dumps({"error": body}).encode()
