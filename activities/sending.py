"""What became of a message handed to a provider, and what the senders share.

The one question after every call is whether the message may have left the house. If it certainly did not, the
claim on it can be released; if nobody knows, it is never sent again: neither SendGrid nor Twilio knows
idempotency keys, so a repeat would reach the customer twice.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took the message. Not yet proof of delivery."""

    provider_id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The message was not sent.

    `retryable`: the same message may be sent later; `retry_after` in seconds, when the provider named it.
    `definite`: nothing was sent for certain, so the claim may be released. `opted_out`: the customer wrote
    STOP, revoke the consent. `address_bad`: this address will never do. `operator`: only a person can mend it
    (key, sender, account). `detail` is for logs and the ledger and holds nothing personal.
    """

    detail: str
    retryable: bool
    definite: bool = True
    retry_after: float | None = None
    opted_out: bool = False
    address_bad: bool = False
    operator: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody knows whether the message was sent. Do not send it again; the provider's events may tell."""

    detail: str


SendResult = Accepted | Refused | Unknown

#: Failures to reach a provider before one byte of the message was written.
_UNREACHABLE = frozenset({errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL})

_MAIL_ADDRESS = re.compile(r"[^\s<>\"'(]+@[^\s<>\"')]+")
_LONG_NUMBER = re.compile(r"\+?\d[\d\s().-]{5,}\d")

#: A provider that asks for a longer pause is asked again sooner than its clock says.
_LONGEST_PAUSE = 3600.0


def never_sent(error: BaseException) -> bool:
    """Whether the error proves that nothing was written: refused, no such host, no route, bad certificate."""
    return any(
        isinstance(link, socket.gaierror | ssl.SSLCertVerificationError)
        or (isinstance(link, OSError) and link.errno in _UNREACHABLE)
        for link in _chain(error)
    )


def untrusted(error: BaseException) -> bool:
    """Whether the error is a certificate that cannot be trusted: a person must look at it."""
    return any(isinstance(link, ssl.SSLCertVerificationError) for link in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, what it was raised from, and what libraries wrapped into it."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        link = waiting.pop()
        if isinstance(link, BaseException) and id(link) not in seen:
            seen.add(id(link))
            yield link
            waiting += [link.__cause__, link.__context__, getattr(link, "reason", None), *link.args]


def unreached(provider: str, error: BaseException) -> Refused:
    """The result of a call that never reached the provider."""
    if untrusted(error):
        return Refused(
            f"{provider}: its certificate is not trusted; check the API base and the CA bundle",
            retryable=True,
            operator=True,
        )
    return Refused(f"{provider} cannot be reached ({type(error).__name__})", retryable=True)


def pause(seconds: float | None) -> float | None:
    """A provider's wish how long to wait, kept between one second and one hour."""
    return None if seconds is None else min(max(seconds, 1.0), _LONGEST_PAUSE)


def seconds_in(text: str | None) -> float | None:
    """The number in a header, None when there is none."""
    try:
        return float(text) if text else None
    except ValueError:
        return None


def impersonal(text: str, limit: int = 200) -> str:
    """The text without mail addresses and telephone numbers, which providers repeat in their errors."""
    return _LONG_NUMBER.sub("[number]", _MAIL_ADDRESS.sub("[address]", text))[:limit]


def checked_base(name: str, url: str) -> str:
    """The base URL of an API without its last slash. Raises ValueError, naming the setting, if it is none."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{name}={url!r} is not the base of an API: write it like https://api.example.com")
    return url.rstrip("/")
