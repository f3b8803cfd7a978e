"""SMS through the real Twilio SDK: what every answer, and every silence, means for the message."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import pytest_asyncio

from activities.sending import Accepted, Refused, Unknown
from activities.texter import Text, TwilioTexter, with_query
from sandbox.app import serving_in_thread
from sandbox.control_client import ControlClient

SID, TOKEN, SERVICE = "AC" + "0" * 32, "sandbox-auth-token", "MG" + "1" * 32
TEXT = Text(dispatch_id="d-1", to="+15005559999", body="Acme: hello. Reply STOP to opt out", validity=3600)


@pytest_asyncio.fixture
async def sandbox() -> AsyncIterator[ControlClient]:
    with serving_in_thread() as world:
        async with ControlClient(world.public_url) as client:
            yield client


def texter_at(
    url: str, *, timeout: float = 5, token: str = TOKEN, callback: str | None = None
) -> TwilioTexter:
    return TwilioTexter(
        SID, token, url, messaging_service_sid=SERVICE, timeout=timeout, status_callback=callback
    )


@pytest.fixture
def texter(sandbox: ControlClient) -> Iterator[TwilioTexter]:
    texter = texter_at(sandbox.url)
    yield texter
    texter.close()


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
    async def test_a_text_arrives_as_it_was_written(
        self, sandbox: ControlClient, texter: TwilioTexter
    ) -> None:
        result = await texter.send(TEXT)

        [message] = await sandbox.messages(channel="sms")
        assert result == Accepted(message.id)
        assert (message.to, message.body) == (TEXT.to, TEXT.body)
        [request] = await sandbox.requests(service="twilio")
        assert request.body["MessagingServiceSid"] == SERVICE
        assert request.body["ValidityPeriod"] == "3600"
        assert "StatusCallback" not in request.body

    async def test_the_callback_names_the_dispatch(self, sandbox: ControlClient) -> None:
        texter = texter_at(sandbox.url, callback="https://dunning.example/webhooks/twilio/status")

        await texter.send(TEXT)

        [request] = await sandbox.requests(service="twilio")
        assert request.body["StatusCallback"] == (
            "https://dunning.example/webhooks/twilio/status?dispatch_id=d-1"
        )

    async def test_many_at_once_keep_their_own_ids(
        self, sandbox: ControlClient, texter: TwilioTexter
    ) -> None:
        numbers = [f"+1500556{number:04d}" for number in range(40)]

        results = await asyncio.gather(*(texter.send(replace(TEXT, to=number)) for number in numbers))

        kept = {message.to: message.id for message in await sandbox.messages(channel="sms")}
        assert [Accepted(kept[number]) for number in numbers] == results


class TestRefused:
    @pytest.mark.parametrize(
        ("code", "asks_for"),
        [
            (21610, {"opted_out"}),
            (21211, {"address_bad"}),
            (21614, {"address_bad"}),
            (21635, {"address_bad"}),
            (21408, {"operator"}),
            (21606, {"operator"}),
            (29999, set()),  # a code nobody knows yet
        ],
    )
    async def test_a_code_says_what_to_do(
        self, sandbox: ControlClient, texter: TwilioTexter, code: int, asks_for: set[str]
    ) -> None:
        answer = {"code": code, "message": f"The number {TEXT.to} …", "status": 400}
        await sandbox.fault("status", service="twilio", status=400, answer=answer)

        result = await texter.send(TEXT)

        assert isinstance(result, Refused)
        assert (result.retryable, result.definite) == (False, True)
        assert {
            name for name in ("opted_out", "address_bad", "operator") if getattr(result, name)
        } == asks_for
        assert str(code) in result.detail
        assert TEXT.to not in repr(result)

    async def test_the_customer_wrote_stop(self, sandbox: ControlClient, texter: TwilioTexter) -> None:
        result = await texter.send(replace(TEXT, to="+15005550004"))

        assert isinstance(result, Refused)
        assert result.opted_out

    async def test_too_many_requests_says_when_to_come_back(
        self, sandbox: ControlClient, texter: TwilioTexter
    ) -> None:
        await sandbox.fault("status", service="twilio", status=429, headers={"Retry-After": "7"})

        result = await texter.send(TEXT)

        assert isinstance(result, Refused)
        assert (result.retryable, result.definite, result.retry_after) == (True, True, 7.0)

    async def test_wrong_credentials_are_for_the_operator_and_it_may_be_sent_later(
        self, sandbox: ControlClient, texter: TwilioTexter
    ) -> None:
        await texter.send(TEXT)  # the sandbox keeps the token an account comes with first

        result = await texter_at(sandbox.url, token="another").send(TEXT)

        assert isinstance(result, Refused)
        assert (result.retryable, result.definite, result.operator) == (True, True, True)
        assert "20003" in result.detail

    async def test_nobody_listens(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]

        result = await texter_at(f"http://127.0.0.1:{port}").send(TEXT)

        assert isinstance(result, Refused)
        assert (result.retryable, result.definite, result.operator) == (True, True, False)

    async def test_no_such_host(self) -> None:
        result = await texter_at("http://twilio.invalid").send(TEXT)

        assert isinstance(result, Refused)
        assert (result.retryable, result.definite) == (True, True)

    async def test_the_connection_is_never_answered(self) -> None:
        with deaf_port() as url:
            result = await texter_at(url, timeout=0.3).send(TEXT)

        assert isinstance(result, Refused)
        assert (result.retryable, result.definite) == (True, True)


class TestUnknown:
    @pytest.mark.parametrize("status", [500, 503])
    @pytest.mark.parametrize("kind", ["status", "status_after"])
    async def test_an_error_of_the_server_proves_nothing(
        self, sandbox: ControlClient, texter: TwilioTexter, kind: str, status: int
    ) -> None:
        await sandbox.fault(kind, service="twilio", status=status)  # type: ignore[arg-type]

        result = await texter.send(TEXT)

        assert isinstance(result, Unknown)
        assert len(await sandbox.messages()) == (kind == "status_after")

    @pytest.mark.parametrize("kind", ["drop_before", "drop_after"])
    async def test_the_line_goes_dead(self, sandbox: ControlClient, texter: TwilioTexter, kind: str) -> None:
        await sandbox.fault(kind, service="twilio")  # type: ignore[arg-type]

        assert isinstance(await texter.send(TEXT), Unknown)
        assert len(await sandbox.requests(service="twilio")) == 1  # nobody tried again

    async def test_an_answer_that_comes_too_late(self, sandbox: ControlClient) -> None:
        held = await sandbox.fault("pause_after", service="twilio")

        assert isinstance(await texter_at(sandbox.url, timeout=0.2).send(TEXT), Unknown)

        await sandbox.release(held)
        assert len(await sandbox.messages()) == 1


class TestHouseKeeping:
    async def test_a_region_in_the_environment_changes_no_host(
        self, sandbox: ControlClient, texter: TwilioTexter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TWILIO_REGION", "ie1")
        monkeypatch.setenv("TWILIO_EDGE", "dublin")

        assert isinstance(await texter.send(TEXT), Accepted)

    async def test_a_provider_that_hangs_does_not_hold_up_the_loop(
        self, sandbox: ControlClient, texter: TwilioTexter
    ) -> None:
        held = await sandbox.fault("pause", service="twilio", times=0)

        sending = [asyncio.create_task(texter.send(TEXT)) for _ in range(3)]
        await sandbox.held(held, count=3)  # answered by this very loop while three calls hang

        await sandbox.release(held)
        assert all(isinstance(result, Accepted) for result in await asyncio.gather(*sending))

    async def test_nothing_personal_and_no_token_is_logged(
        self, sandbox: ControlClient, texter: TwilioTexter, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.DEBUG):
            await texter.send(TEXT)
            refused = await texter.send(replace(TEXT, to="+15005550001"))

        told = caplog.text + repr(TEXT) + repr(refused)
        assert not any(word in told for word in (TOKEN, TEXT.to, TEXT.body, "+15005550001"))

    @pytest.mark.parametrize("validity", [0, -1, 36_001])
    def test_a_stay_in_the_queue_that_twilio_refuses(self, validity: int) -> None:
        with pytest.raises(ValueError, match="validity"):
            replace(TEXT, validity=validity)

    def test_a_query_that_is_there_is_kept(self) -> None:
        assert with_query("https://x/y?a=1#rc=2", dispatch_id="d 1") == "https://x/y?a=1&dispatch_id=d+1#rc=2"
