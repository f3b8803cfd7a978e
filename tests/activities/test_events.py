"""Events on their way to the business: over real HTTP, verified by an independent library."""

from __future__ import annotations

import asyncio
import dataclasses
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from starlette.responses import Response
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.endpoints import NOBODY, Endpoints
from activities.events import EventDeliveries
from activities.posting import Poster
from dunning.case import Announcement
from dunning.endpoints import Delivered, DeliveryOrder, Endpoint
from dunning.policy import PolicyError
from ledger import Ledger
from ledger.outgoing import DeliveryAttempt, Outgoing
from tests.fixtures.backend import OTHER_SECRET, SECRET, Backend, hearing
from tests.ledger.acts import NOW, claim_case, said, summary

ORDER = DeliveryOrder(event_id="evt_1", endpoint="backend")
TOLD = Announcement(id="evt_1", type="suspended", at=NOW, data={"invoice": "in_1"})


@pytest_asyncio.fixture
async def backend() -> AsyncIterator[Backend]:
    """A system of the business."""
    async with hearing() as listens:
        yield listens


@pytest_asyncio.fixture
async def outbox(ledger: Ledger) -> Ledger:
    """A ledger with one event in its outbox."""
    claim = await claim_case(ledger)
    going = [Outgoing(announcement=TOLD, endpoints=("backend",))]
    await ledger.cases.remember(claim.case_id, 0, said("opened"), summary(), outgoing=going)
    return ledger


def to(url: str, *secrets: str) -> Endpoints:
    """One endpoint."""
    keys = [("backend", secret) for secret in secrets or (SECRET,)]
    return Endpoints.of([Endpoint(name="backend", url=url)], keys, loopback=True)


async def deliver(
    ledger: Ledger, endpoints: Endpoints, *, attempt: int = 1, seconds: float = 5.0
) -> Delivered:
    """One try of the activity."""
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(environment.info, started_time=NOW, attempt=attempt)
    poster = Poster(loopback=endpoints.loopback, seconds=seconds)
    return await environment.run(EventDeliveries(ledger, endpoints, poster).deliver_event, ORDER)


async def refused(ledger: Ledger, endpoints: Endpoints, **how: float) -> tuple[str, timedelta]:
    """Why a try failed, and when the next one is."""
    with pytest.raises(ApplicationError) as failed:
        await deliver(ledger, endpoints, **how)  # type: ignore[arg-type]
    assert failed.value.next_retry_delay is not None
    return failed.value.message, failed.value.next_retry_delay


async def logged(ledger: Ledger) -> DeliveryAttempt:
    """The one attempt in the log."""
    (attempt,) = await ledger.outbox.attempts("evt_1")
    return attempt


async def test_the_backend_hears_it_once(outbox: Ledger, backend: Backend) -> None:
    assert await deliver(outbox, to(backend.url)) == Delivered(state="delivered", detail="answered 204")
    assert backend.ids == ["evt_1"]
    assert backend.events == [
        {"type": "suspended", "timestamp": "2026-03-02T09:30:00Z", "data": {"invoice": "in_1"}}
    ]
    assert (await logged(outbox)).status == 204

    again = await deliver(outbox, to(backend.url), attempt=2)  # the answer of the first try got lost
    assert again.state == "delivered"
    assert len(backend.events) == 1


async def test_a_secret_is_rotated_while_the_backend_knows_only_the_old_one(
    outbox: Ledger, backend: Backend
) -> None:
    assert (await deliver(outbox, to(backend.url, OTHER_SECRET, SECRET))).state == "delivered"
    assert backend.headers[0]["webhook-signature"].count("v1,") == 2


async def test_a_redirect_is_a_failure_and_leads_nowhere(outbox: Ledger, backend: Backend) -> None:
    backend.answers = [Response(status_code=307, headers={"location": f"{backend.url}/elsewhere"})]
    why, pause = await refused(outbox, to(backend.url))
    assert why == "answered 307"
    assert timedelta(seconds=5) <= pause <= timedelta(seconds=6)
    assert len(backend.events) == 1


async def test_a_busy_backend_says_when_to_come_back(outbox: Ledger, backend: Backend) -> None:
    backend.answers = [Response(status_code=429, headers={"retry-after": "600"})]
    _, pause = await refused(outbox, to(backend.url))
    assert timedelta(minutes=10) <= pause <= timedelta(minutes=11)

    later = datetime.now(UTC) + timedelta(hours=1)
    backend.answers = [
        Response(status_code=503, headers={"retry-after": f"{later:%a, %d %b %Y %H:%M:%S GMT}"})
    ]
    _, pause = await refused(outbox, to(backend.url), attempt=2)
    assert timedelta(minutes=58) <= pause <= timedelta(minutes=67)


async def test_what_it_answered_is_kept_in_part_and_without_addresses(
    outbox: Ledger, backend: Backend
) -> None:
    backend.answers = [Response("no ada@customer.example here " + "x" * 200_000, status_code=500)]
    await refused(outbox, to(backend.url))
    attempt = await logged(outbox)
    assert attempt.status == 500
    assert attempt.detail.startswith("no [address] here")
    assert len(attempt.detail) <= 200


async def test_a_backend_that_is_gone_is_told_nothing_more(outbox: Ledger, backend: Backend) -> None:
    backend.answers = [Response(status_code=410)]
    assert (await deliver(outbox, to(backend.url))).state == "held"
    assert "backend" in await outbox.outbox.disabled()

    await outbox.outbox.again("evt_1", "backend", NOW)
    assert (await deliver(outbox, to(backend.url))).detail == "the endpoint is disabled"
    assert len(backend.events) == 1

    await outbox.outbox.enable("backend", NOW)
    assert (await deliver(outbox, to(backend.url))).state == "delivered"


async def test_after_the_last_try_it_is_given_up(outbox: Ledger, backend: Backend) -> None:
    backend.answers = [Response(status_code=500), Response(status_code=500)]
    await refused(outbox, to(backend.url), attempt=9)
    assert await deliver(outbox, to(backend.url), attempt=10) == Delivered(
        state="failed", detail="answered 500"
    )
    delivery = await outbox.outbox.delivery("evt_1", "backend")
    assert delivery is not None
    assert delivery.state == "failed"


async def test_a_backend_that_hangs_costs_its_time_and_no_more(outbox: Ledger) -> None:
    async def hang(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    why, _ = await refused(outbox, to(f"http://127.0.0.1:{port}/"), seconds=0.2)
    assert why.startswith("no answer within")
    server.close()
    why, _ = await refused(outbox, to(f"http://127.0.0.1:{port}/"), attempt=2)
    assert why.startswith("cannot be reached")


async def test_an_endpoint_that_left_the_file(outbox: Ledger) -> None:
    assert (await deliver(outbox, NOBODY)).state == "failed"


class TestAddresses:
    @pytest.mark.parametrize("host", ["localhost", "2130706433", "0x7f.1", "127.0.0.1"])
    async def test_a_name_that_leads_to_this_machine_is_not_called(self, host: str, backend: Backend) -> None:
        url = backend.url.replace("127.0.0.1", host)
        answer = await Poster().post(url, b"{}", {})
        assert answer.status is None
        assert "not a public address" in answer.detail
        assert backend.events == []

    async def test_one_private_address_among_public_ones_is_enough(self) -> None:
        async def resolve(_host: str, _port: int) -> list[str]:
            return ["93.184.215.14", "10.0.0.7"]

        answer = await Poster(resolve=resolve).post("https://rebinding.example/", b"{}", {})
        assert (
            answer.detail == "not called: rebinding.example leads to 10.0.0.7, which is not a public address"
        )

    async def test_a_name_that_leads_nowhere(self) -> None:
        answer = await Poster().post("https://nowhere.invalid/", b"{}", {})
        assert answer.detail.startswith("cannot be reached")

    async def test_the_checked_address_is_called_under_the_name_of_the_host(self, tmp_path: Path) -> None:
        asked: list[str] = []
        names: list[str | None] = []

        async def resolve(host: str, _port: int) -> list[str]:
            asked.append(host)
            return ["127.0.0.1"]

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            writer.close()

        certificate = self_signed("hooks.example.test", tmp_path)
        here = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        here.load_cert_chain(certificate)
        here.sni_callback = lambda _socket, name, _context: names.append(name)
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=here)
        port = server.sockets[0].getsockname()[1]
        trusting = ssl.create_default_context(cafile=str(certificate))
        poster = Poster(loopback=True, resolve=resolve, tls=trusting)

        answer = await poster.post(f"https://hooks.example.test:{port}/dunning", b"{}", {})
        assert answer.status == 204
        assert names == ["hooks.example.test"]
        assert asked[0] == "hooks.example.test"
        assert f"\r\nhost: hooks.example.test:{port}\r\n" in asked[1].lower()

        answer = await poster.post(f"https://other.example.test:{port}/dunning", b"{}", {})
        assert answer.status is None
        assert "certificate" in answer.detail.lower()
        server.close()


def self_signed(name: str, folder: Path) -> Path:
    """A certificate and its key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    written = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(certificate.public_bytes(Encoding.PEM) + written)
    return file


class TestConfiguration:
    def test_each_mistake_is_one_sentence(self) -> None:
        listed = [
            Endpoint(name="backend", url="http://api.example.com/"),
            Endpoint(name="backend", url="https://10.0.0.1/"),
            Endpoint(name="support", url="https://support.example.com/"),
        ]
        with pytest.raises(PolicyError) as wrong:
            Endpoints.of(listed, [("backend", SECRET), ("nobody", SECRET)])
        said_lines = str(wrong.value).splitlines()
        assert len(said_lines) == 5
        assert said_lines[0].startswith("business.yaml: endpoints: backend stands twice")
        assert "is not encrypted" in said_lines[1]
        assert "private network" in said_lines[2]
        assert "add support:whsec_" in said_lines[3]
        assert "no endpoint nobody" in said_lines[4]
        assert SECRET not in str(wrong.value)

    def test_an_event_that_nobody_wants_goes_nowhere(self) -> None:
        support = Endpoint(name="support", url="https://a.example/", events=("human.needed",))
        endpoints = Endpoints.of([support], [("support", SECRET)])
        assert endpoints.addressed([TOLD]) == []
        called = TOLD.model_copy(update={"type": "human.needed"})
        assert [going.endpoints for going in endpoints.addressed([called])] == [("support",)]
        assert SECRET not in repr(endpoints)
