"""E-mail through the real SendGrid SDK: what every answer, and every silence, means for the message."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import pytest_asyncio

from activities.mailer import Mail, SendGridMailer, payload
from activities.sending import Accepted, Refused, Unknown, impersonal
from sandbox.app import serving_in_thread
from sandbox.control_client import ControlClient

KEY = "SG.sandbox.secret"
MAIL = Mail(
    dispatch_id="d-1",
    case_id="acct/in_1/1",
    to="anna@example.com",
    subject="Your payment didn't go through",
    text="Hello Anna",
    html="<p>Hello Anna</p>",
    sender_email="billing@acme.example",
    sender_name="Acme",
    reply_to="help@acme.example",
)


@pytest_asyncio.fixture
async def sandbox() -> AsyncIterator[ControlClient]:
    with serving_in_thread() as world:
        async with ControlClient(world.public_url) as client:
            yield client


@pytest.fixture
def mailer(sandbox: ControlClient) -> Iterator[SendGridMailer]:
    mailer = SendGridMailer(KEY, sandbox.url, timeout=5)
    yield mailer
    mailer.close()


@contextmanager
def deaf_port() -> Iterator[str]:
    """A port that takes no more connections and does not refuse them either."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for client in waiting:
            client.close()


class TestAccepted:
    async def test_a_mail_arrives_as_it_was_written(
        self, sandbox: ControlClient, mailer: SendGridMailer
    ) -> None:
        result = await mailer.send(MAIL)

        [message] = await sandbox.messages(channel="email")
        assert result == Accepted(message.id)
        assert (message.to, message.subject, message.body) == (MAIL.to, MAIL.subject, MAIL.text)
        assert message.html == MAIL.html
        assert message.custom_args == {"dispatch_id": "d-1", "case_id": "acct/in_1/1"}

    async def test_links_are_not_tracked_and_one_person_is_written_to(
        self, sandbox: ControlClient, mailer: SendGridMailer
    ) -> None:
        await mailer.send(MAIL)

        [request] = await sandbox.requests(service="sendgrid")
        assert request.body["tracking_settings"] == {
            "click_tracking": {"enable": False, "enable_text": False},
            "open_tracking": {"enable": False},
        }
        assert [part["type"] for part in request.body["content"]] == ["text/plain", "text/html"]
        assert len(request.body["personalizations"]) == len(request.body["personalizations"][0]["to"]) == 1
        assert request.body["categories"] == ["dunning"]
        assert request.body["reply_to"] == {"email": "help@acme.example"}

    async def test_many_at_once_keep_their_own_ids(
        self, sandbox: ControlClient, mailer: SendGridMailer
    ) -> None:
        ids = [f"d-{number}" for number in range(40)]

        results = await asyncio.gather(*(mailer.send(replace(MAIL, dispatch_id=name)) for name in ids))

        kept = {message.custom_args["dispatch_id"]: message.id for message in await sandbox.messages()}
        assert [Accepted(kept[name]) for name in ids] == results


class TestRefused:
    async def test_nobody_listens(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]

        result = await SendGridMailer(KEY, f"http://127.0.0.1:{port}", timeout=5).send(MAIL)

        assert isinstance(result, Refused)
        assert (result.retryable, result.definite, result.operator) == (True, True, False)

    async def test_no_such_host(self) -> None:
        result = await SendGridMailer(KEY, "http://sendgrid.invalid", timeout=5).send(MAIL)

        assert isinstance(result, Refused)
        assert (result.retryable, result.definite) == (True, True)

    async def test_the_connection_is_never_answered(self) -> None:
        with deaf_port() as url:
            result = await SendGridMailer(KEY, url, timeout=0.3).send(MAIL)

        assert isinstance(result, Refused)
        assert (result.retryable, result.definite) == (True, True)

    async def test_too_many_requests_says_when_to_come_back(
        self, sandbox: ControlClient, mailer: SendGridMailer
    ) -> None:
        await sandbox.fault("status", service="sendgrid", status=429, retry_after=30)

        result = await mailer.send(MAIL)

        assert isinstance(result, Refused)
        assert (result.retryable, result.definite) == (True, True)
        assert result.retry_after is not None
        assert 25 <= result.retry_after <= 35
        assert await sandbox.messages() == []

    async def test_a_date_line_nobody_can_read_is_no_reason_to_fail(
        self, sandbox: ControlClient, mailer: SendGridMailer
    ) -> None:
        await sandbox.fault("status", service="sendgrid", status=429, headers={"X-RateLimit-Reset": "soon"})

        result = await mailer.send(MAIL)

        assert isinstance(result, Refused)
        assert result.retry_after is None

    @pytest.mark.parametrize("status", [401, 403])
    async def test_a_bad_key_or_sender_is_for_the_operator_and_may_be_sent_later(
        self, sandbox: ControlClient, mailer: SendGridMailer, status: int
    ) -> None:
        await sandbox.fault("status", service="sendgrid", status=status)

        result = await mailer.send(MAIL)

        assert isinstance(result, Refused)
        assert (result.retryable, result.definite, result.operator) == (True, True, True)
        assert str(status) in result.detail

    async def test_a_bad_address_is_told_apart_from_a_bad_mail(self, mailer: SendGridMailer) -> None:
        bad_address = await mailer.send(replace(MAIL, to="anna"))
        bad_mail = await mailer.send(replace(MAIL, subject=""))

        assert isinstance(bad_address, Refused)
        assert isinstance(bad_mail, Refused)
        assert (bad_address.retryable, bad_address.address_bad, bad_address.operator) == (False, True, False)
        assert (bad_mail.retryable, bad_mail.address_bad, bad_mail.operator) == (False, False, True)

    async def test_a_mail_that_is_too_large(self, sandbox: ControlClient, mailer: SendGridMailer) -> None:
        await sandbox.fault("status", service="sendgrid", status=413)

        result = await mailer.send(MAIL)

        assert isinstance(result, Refused)
        assert (result.retryable, result.definite) == (False, True)


class TestUnknown:
    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    @pytest.mark.parametrize("kind", ["status", "status_after"])
    async def test_an_error_of_the_server_proves_nothing(
        self, sandbox: ControlClient, mailer: SendGridMailer, kind: str, status: int
    ) -> None:
        await sandbox.fault(kind, service="sendgrid", status=status)  # type: ignore[arg-type]

        result = await mailer.send(MAIL)

        assert isinstance(result, Unknown)
        assert len(await sandbox.messages()) == (kind == "status_after")

    @pytest.mark.parametrize("kind", ["drop_before", "drop_after"])
    async def test_the_line_goes_dead(
        self, sandbox: ControlClient, mailer: SendGridMailer, kind: str
    ) -> None:
        await sandbox.fault(kind, service="sendgrid")  # type: ignore[arg-type]

        assert isinstance(await mailer.send(MAIL), Unknown)
        assert len(await sandbox.requests(service="sendgrid")) == 1  # nobody tried again

    async def test_an_answer_that_comes_too_late(self, sandbox: ControlClient) -> None:
        held = await sandbox.fault("pause_after", service="sendgrid")
        mailer = SendGridMailer(KEY, sandbox.url, timeout=0.2)

        assert isinstance(await mailer.send(MAIL), Unknown)

        await sandbox.release(held)
        assert len(await sandbox.messages()) == 1


class TestHouseKeeping:
    async def test_a_provider_that_hangs_does_not_hold_up_the_loop(
        self, sandbox: ControlClient, mailer: SendGridMailer
    ) -> None:
        held = await sandbox.fault("pause", service="sendgrid", times=0)

        sending = [asyncio.create_task(mailer.send(MAIL)) for _ in range(3)]
        await sandbox.held(held, count=3)  # answered by this very loop while three calls hang

        await sandbox.release(held)
        assert all(isinstance(result, Accepted) for result in await asyncio.gather(*sending))

    async def test_nothing_personal_and_no_key_is_logged(
        self, sandbox: ControlClient, mailer: SendGridMailer, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.DEBUG):
            await mailer.send(MAIL)
            refused = await mailer.send(replace(MAIL, to="anna"))

        told = caplog.text + repr(MAIL) + repr(refused)
        assert not any(word in told for word in (KEY, MAIL.to, MAIL.subject, MAIL.text))

    def test_what_providers_repeat_is_taken_out(self) -> None:
        text = "personalizations: anna.b@example.com and +1 (500) 555-0006 are not valid, see error 21211"
        assert impersonal(text) == "personalizations: [address] and [number] are not valid, see error 21211"

    @pytest.mark.parametrize("base", ["api.sendgrid.com", "ftp://x", "https://", "https://x/?y=1"])
    def test_a_base_that_is_none_is_refused_with_the_settings_name(self, base: str) -> None:
        with pytest.raises(ValueError, match="SENDGRID_API_BASE"):
            SendGridMailer(KEY, base)

    def test_without_a_reply_address_none_is_named(self) -> None:
        assert "reply_to" not in payload(replace(MAIL, reply_to=None))
