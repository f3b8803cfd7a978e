"""Who may use the HTTP API: holders of a key, or, while no key is configured, this machine alone."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog
from fastapi import Depends, Request

from dunning.networks import is_this_machine
from starter.errors import Forbidden, RateLimited, Unauthorized
from starter.settings import Scope, Settings
from starter.throttle import Throttle

log = structlog.get_logger(__name__)

_RANK: dict[Scope, int] = {"read": 0, "support": 1, "admin": 2}
_TYPED = 'Basic realm="dunning", charset="UTF-8"'
_FORWARDED = ("x-forwarded-for", "forwarded", "x-real-ip")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the name of the key, or None on a machine without keys."""

    name: str | None
    scope: Scope

    @property
    def key(self) -> str:
        """Whose requests these are; callers without a key are one."""
        return self.name or ""

    def signs(self, by: str | None) -> str:
        """Who did it, for the audit trail. A key cannot hide behind another name."""
        if self.name is None:
            return by or "api"
        return f"{by} (key {self.name})" if by else self.name


def allow(settings: Settings, request: Request, scope: Scope, *, typed: bool = False) -> Caller:
    """The caller, if the key, or the place, allows the scope. Raises Unauthorized or Forbidden.

    `typed`: a person types the key where the browser asks for a password. Only for what changes nothing: a
    browser sends such a key with every request from then on, also with those that another site brings about.
    """
    if not settings.dunning_api_keys:
        _only_from_here(request)
        return Caller(None, "admin")
    header = request.headers.get("authorization", "")
    caller = _holder(settings, _password(header) if typed else _bearer(header), typed=typed)
    if _RANK[caller.scope] < _RANK[scope]:
        raise Forbidden(f"the key {caller.name!r} has the scope {caller.scope}; this needs {scope}")
    return caller


class Gate:
    """Lets callers of a scope in, each of them not too often. Who is refused is logged, without the key."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._throttle = Throttle(settings.dunning_api_requests_per_minute)

    def admit(self, request: Request, scope: Scope, *, typed: bool = False) -> Caller:
        """The caller (see `allow`). Raises Unauthorized, Forbidden or RateLimited."""
        host = request.client.host if request.client else ""
        try:
            caller = allow(self._settings, request, scope, typed=typed)
        except (Unauthorized, Forbidden) as refusal:
            path = request.url.path
            log.warning("API call refused", code=refusal.code, why=refusal.message, path=path, host=host)
            self._count(f"host {host}")
            raise
        self._count(caller.name or f"host {host}")
        return caller

    def _count(self, name: str) -> None:
        if seconds := self._throttle.wait(name):
            raise RateLimited(f"too many requests: try again in {seconds} s", seconds)


def requires(scope: Scope, *, typed: bool = False) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency that gives the caller whom the app's own gate admits."""

    async def dependency(request: Request) -> Caller:
        gate: Gate = request.app.state.gate
        return gate.admit(request, scope, typed=typed)

    return dependency


READER, SUPPORTER = Depends(requires("read")), Depends(requires("support"))


def _bearer(header: str) -> str:
    kind, _, secret = header.partition(" ")
    return secret.strip() if kind.lower() == "bearer" else ""


def _password(header: str) -> str:
    """The password of Basic authentication (RFC 7617); whatever name was typed beside it."""
    kind, _, coded = header.partition(" ")
    try:
        pair = base64.b64decode(coded.strip(), validate=True).decode() if kind.lower() == "basic" else ""
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return pair.partition(":")[2]


def _holder(settings: Settings, secret: str, *, typed: bool) -> Caller:
    challenge = _TYPED if typed else "Bearer"
    if not secret:
        how = "type it as the password, with any name" if typed else "Authorization: Bearer <key>"
        raise Unauthorized(f"send an API key: {how}", challenge)
    digest = hashlib.sha256(secret.encode()).hexdigest()
    # Every key is compared, so that the time taken tells nothing.
    matching = [key for key in settings.dunning_api_keys if hmac.compare_digest(key.digest, digest)]
    if not matching:
        raise Unauthorized("the API key is not one of DUNNING_API_KEYS", challenge)
    return Caller(matching[0].name, matching[0].scope)


def _only_from_here(request: Request) -> None:
    """No keys: only this machine, neither through a proxy nor by a web page that rebinds its name to us."""
    host = request.client.host if request.client else ""
    forwarded = any(name in request.headers for name in _FORWARDED)
    asked_for = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    if not is_this_machine(host) or forwarded or not is_this_machine(asked_for):
        raise Forbidden("no API key is configured, so only this machine may call: set DUNNING_API_KEYS")
    if request.headers.get("origin"):
        raise Forbidden("no API key is configured, so web pages may not call: set DUNNING_API_KEYS")
