"""The connections to Stripe: what breaks is told in a way that the SDK tries again, and all are closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import stripe

from activities.context import make_stripe
from activities.stripe_http import StripeHttp

BODY = b'{"id": "cus_1", "object": "customer"}'
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
CUT = WHOLE[:-5]


class Wire:
    """A server that answers one connection after the other with the given bytes; None: not at all."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers, self.asked, self.gone = list(answers), 0, asyncio.Event()
        self.heads: list[str] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        self.asked += 1
        answer = self.answers.pop(0)
        writer.write(answer or b"")
        if answer in (WHOLE, None):
            await reader.read()  # until the other side hangs up
            self.gone.set()
        writer.close()


@asynccontextmanager
async def serving(wire: Wire) -> AsyncIterator[str]:
    """The address, host and port."""
    server = await asyncio.start_server(wire.talk, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def asking(wire: Wire, timeout: float = 5.0) -> AsyncIterator[stripe.StripeClient]:
    async with serving(wire) as address, StripeHttp(timeout) as http:
        yield make_stripe("sk_test_wire", http, api_base=f"http://{address}")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stripe.HTTPClient, "INITIAL_DELAY", 0.01)


async def test_an_answer_that_breaks_off_is_asked_for_again() -> None:
    wire = Wire(CUT, b"", WHOLE)
    async with asking(wire) as client:
        assert (await client.v1.customers.retrieve_async("cus_1")).id == "cus_1"
    assert wire.asked == 3


async def test_no_answer_in_time_is_no_connection() -> None:
    wire = Wire(None, None, None)
    async with asking(wire, timeout=0.1) as client:
        with pytest.raises(stripe.APIConnectionError, match="TimeoutError"):
            await client.v1.customers.retrieve_async("cus_1")
    assert wire.asked == 3, "the first try and two more"


async def test_the_end_of_the_block_closes_the_connections() -> None:
    wire = Wire(WHOLE)
    async with asking(wire) as client:
        await client.v1.customers.retrieve_async("cus_1")
        assert not wire.gone.is_set(), "it is kept for the next call"
    async with asyncio.timeout(5):
        await wire.gone.wait()


async def test_a_password_file_of_the_users_is_nobodys_business(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login ada password secret", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    wire = Wire(WHOLE)
    async with asking(wire) as client:
        await client.v1.customers.retrieve_async("cus_1")
    assert "Authorization: Bearer sk_test_wire" in wire.heads[0]


@pytest.mark.parametrize(
    ("bypass", "asked"),
    [("", "GET http://stripe.example/v1/customers/cus_1 "), ("127.0.0.1", "GET /v1/customers/cus_1 ")],
)
async def test_the_proxy_of_the_environment_is_used(
    monkeypatch: pytest.MonkeyPatch, bypass: str, asked: str
) -> None:
    wire = Wire(WHOLE)
    async with serving(wire) as address, StripeHttp(5.0) as http:
        monkeypatch.setenv("http_proxy", f"http://ada:secret@{address}")
        monkeypatch.setenv("no_proxy", bypass)
        at = address if bypass else "stripe.example"
        await make_stripe("sk_test_wire", http, api_base=f"http://{at}").v1.customers.retrieve_async("cus_1")
    assert wire.heads[0].startswith(asked)
    assert ("Proxy-Authorization: Basic" in wire.heads[0]) is not bool(bypass)
