"""Posts to addresses that somebody wrote into a file: only to public machines, whatever their names lead to.

The host's name is resolved once, every address it leads to is checked, and the connection goes to the address
that was checked: a name that leads elsewhere a moment later leads nowhere. Redirects are not followed, and no
proxy of the environment is used.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import httpx

from activities.sending import impersonal, seconds_in
from dunning.networks import is_loopback, is_public

Resolve = Callable[[str, int], Awaitable[list[str]]]

_MOST_BYTES = 64 * 1024
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `status` None: there was no answer; `detail` says why, or how the answer began."""

    status: int | None
    detail: str = ""
    retry_after: float | None = None  # seconds


class NotCalled(Exception):
    """The address must not be called; the text says why."""


async def resolve(host: str, port: int) -> list[str]:
    """The numeric addresses of a host, the best first. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Poster:
    """Posts bodies. `loopback`: this machine may be called, too; `seconds` is the time of a whole call."""

    def __init__(
        self,
        *,
        loopback: bool = False,
        seconds: float = 15.0,
        resolve: Resolve = resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._loopback = loopback
        self._seconds = seconds
        self._resolve = resolve
        # A connection belongs to one name: another name at the same address must not go through it.
        self._http = httpx.AsyncClient(
            verify=True if tls is None else tls,
            trust_env=False,
            follow_redirects=False,
            limits=httpx.Limits(max_keepalive_connections=0),
            timeout=seconds,
        )

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post once, and tell what came back. Raises nothing for what the other side does."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._post(httpx.URL(url), body, headers)
        except TimeoutError:
            return Answer(None, f"no answer within {self._seconds:.0f} s")
        except NotCalled as why:
            return Answer(None, f"not called: {why}")
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            return Answer(None, f"cannot be reached: {_cause(error)}")

    async def _post(self, url: httpx.URL, body: bytes, headers: Mapping[str, str]) -> Answer:
        host = url.raw_host.decode("ascii").strip("[]")
        address = await self._checked(host, url.port or (443 if url.scheme == "https" else 80))
        request = self._http.build_request(
            "POST",
            url.copy_with(host=address),
            content=body,
            headers={**headers, "Host": url.netloc.decode("ascii"), "Accept-Encoding": "identity"},
            extensions={"sni_hostname": host},
        )
        answer = await self._http.send(request, stream=True)
        try:
            return Answer(answer.status_code, await _beginning(answer), _wish(answer))
        finally:
            await answer.aclose()

    async def _checked(self, host: str, port: int) -> str:
        addresses = await self._resolve(host, port)
        for address in addresses:
            if not is_public(address) and not (self._loopback and is_loopback(address)):
                raise NotCalled(f"{host} leads to {address}, which is not a public address")
        if not addresses:
            raise NotCalled(f"{host} leads nowhere")
        return addresses[0]


async def _beginning(answer: httpx.Response) -> str:
    """How the body begins, for the log of attempts. No more than `_MOST_BYTES` are read."""
    read = b""
    async for chunk in answer.aiter_raw():
        read += chunk
        if len(read) >= _MOST_BYTES:
            break
    text = read[: 4 * _SHOWN].decode("utf-8", "replace")
    return impersonal(" ".join(text.split()), _SHOWN)


def _wish(answer: httpx.Response) -> float | None:
    """The header Retry-After in seconds; it may be a number or a date (RFC 9110 §10.2.3)."""
    text = answer.headers.get("retry-after")
    seconds = seconds_in(text)
    if seconds is not None or text is None:
        return seconds
    try:
        return parsedate_to_datetime(text).timestamp() - time.time()
    except ValueError:
        return None


def _cause(error: Exception) -> str:
    return " ".join(str(error).split())[:_SHOWN] or type(error).__name__
