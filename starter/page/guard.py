"""Who may knock how often, and what every answer of the page says about itself."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
from collections.abc import Iterable

from fastapi import Request

from starter.throttle import Throttle

_PER_MINUTE = 60


class RateLimit:
    """A limit for each address, and one for each beginning of a token, however many addresses guess at it.

    A token of 128 bits is not guessed anyway; this keeps a visitor from tying up Stripe and Temporal.
    """

    def __init__(self) -> None:
        self._addresses, self._prefixes = Throttle(_PER_MINUTE), Throttle(_PER_MINUTE)

    def wait(self, request: Request, token: str) -> int:
        """0, or for how many seconds this visitor must wait."""
        return max(self._addresses.wait(visitor(request)), self._prefixes.wait(token[:4]))


def visitor(request: Request) -> str:
    """The address that asks. Behind a proxy of our own (a private address) it is what that proxy saw."""
    host = request.client.host if request.client else ""
    seen = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    return seen if seen and _is_private(host) else host


def _is_private(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return False


def headers(style: str, form_targets: Iterable[str]) -> dict[str, str]:
    """What a browser may do with the page: nothing but show it and send its forms to us and to Stripe."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = [
        "default-src 'none'",
        f"style-src 'sha256-{digest}'",
        f"form-action 'self' {' '.join(form_targets)}",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
    return {
        "Content-Security-Policy": "; ".join(policy),
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "X-Robots-Tag": "noindex, nofollow",
        "X-Content-Type-Options": "nosniff",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    }
