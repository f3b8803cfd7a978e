"""The connections to Stripe, shared by all calls of a process."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import stripe


class StripeHttp(stripe.HTTPClient):
    """The SDK's calls over aiohttp, which takes half of httpx's time for one.

    The SDK's own client over aiohttp reads answers outside its guard: a connection that breaks amid one would
    be an error that nothing retries. Connections are made when they are needed and closed with the block.
    """

    name = "aiohttp"

    def __init__(self, timeout: float) -> None:
        """`timeout` in seconds is that of one request, its answer included."""
        super().__init__()
        self._patience = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None
        self._proxies: dict[tuple[str, str], str | None] = {}

    async def __aenter__(self) -> Self:
        """The client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.close_async()

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """One request. Raises stripe.APIConnectionError, which the SDK retries."""
        try:
            proxy = self._proxy_to(url)
            async with self._open().request(
                method, url, headers=headers, data=post_data, proxy=proxy
            ) as answer:
                return await answer.read(), answer.status, answer.headers
        except (aiohttp.ClientError, TimeoutError) as error:
            told = f"Stripe gave no answer: {type(error).__name__}"
            raise stripe.APIConnectionError(told, should_retry=True) from error  # type: ignore[no-untyped-call]

    def sleep_async(self, secs: float) -> Any:
        """Wait between two tries."""
        return asyncio.sleep(secs)

    async def close_async(self) -> None:
        """Close the connections; a later call makes new ones."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _proxy_to(self, url: str) -> str | None:
        """The proxy that the environment names for this address.

        aiohttp would look it up for each call, in a thread, and with it a password in ~/.netrc, which it then
        refuses to send beside the API key.
        """
        scheme, host = urlsplit(url)[:2]
        if (scheme, host) not in self._proxies:
            self._proxies[scheme, host] = None if proxy_bypass(host) else getproxies().get(scheme)
        return self._proxies[scheme, host]

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            trusted = ssl.create_default_context(cafile=stripe.ca_bundle_path)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=trusted, limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._patience,
            )
        return self._session
