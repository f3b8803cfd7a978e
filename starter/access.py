"""Who may use the HTTP API: holders of a key, or, while no key is configured, this machine alone."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from fastapi import Request

from starter.errors import Forbidden, Unauthorized
from starter.settings import Scope, Settings

_RANK: dict[Scope, int] = {"read": 0, "support": 1, "admin": 2}
_FORWARDED = ("x-forwarded-for", "forwarded", "x-real-ip")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the name of the key, or None on a machine without keys."""

    name: str | None
    scope: Scope

    def signs(self, by: str | None) -> str:
        """Who did it, for the audit trail. A key cannot hide behind another name."""
        if self.name is None:
            return by or "api"
        return f"{by} (key {self.name})" if by else self.name


def allow(settings: Settings, request: Request, scope: Scope) -> Caller:
    """The caller, if the key, or the place, allows the scope. Raises Unauthorized or Forbidden."""
    if not settings.dunning_api_keys:
        _only_from_here(request)
        return Caller(None, "admin")
    caller = _holder(settings, request.headers.get("authorization", ""))
    if _RANK[caller.scope] < _RANK[scope]:
        raise Forbidden(f"the key {caller.name!r} has the scope {caller.scope}; this needs {scope}")
    return caller


def requires(settings: Settings, scope: Scope) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency that lets in only callers of a scope."""

    async def dependency(request: Request) -> Caller:
        return allow(settings, request, scope)

    return dependency


def _holder(settings: Settings, header: str) -> Caller:
    kind, _, secret = header.partition(" ")
    if kind.lower() != "bearer" or not secret.strip():
        raise Unauthorized("send an API key: Authorization: Bearer <key>")
    digest = hashlib.sha256(secret.strip().encode()).hexdigest()
    # Every key is compared, so that the time taken tells nothing.
    matching = [key for key in settings.dunning_api_keys if hmac.compare_digest(key.digest, digest)]
    if not matching:
        raise Unauthorized("the API key is not one of DUNNING_API_KEYS")
    return Caller(matching[0].name, matching[0].scope)


def _only_from_here(request: Request) -> None:
    """No keys: only this machine, neither through a proxy nor by a web page that rebinds its name to us."""
    host = request.client.host if request.client else ""
    forwarded = any(name in request.headers for name in _FORWARDED)
    asked_for = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    if not _is_loopback(host) or forwarded or not _is_loopback(asked_for):
        raise Forbidden("no API key is configured, so only this machine may call: set DUNNING_API_KEYS")
    if request.headers.get("origin"):
        raise Forbidden("no API key is configured, so web pages may not call: set DUNNING_API_KEYS")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
