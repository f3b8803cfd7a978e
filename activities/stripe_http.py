"""The connections to Stripe, shared by all calls of a process."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NoReturn, Self

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
            async with self._open().request(method, url, headers=headers, data=post_data) as answer:
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

    def close(self) -> NoReturn:
        """Connections of an event loop are closed there."""
        raise NotImplementedError("close_async it")

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            trusted = ssl.create_default_context(cafile=stripe.ca_bundle_path)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=trusted, limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._patience,
                trust_env=True,  # proxies of the environment
            )
        return self._session
