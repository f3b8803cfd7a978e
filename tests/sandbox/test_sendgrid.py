"""SendGrid's stand-in as the real SDK sees it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from python_http_client.exceptions import BadRequestsError, TooManyRequestsError, UnauthorizedError
from sendgrid import EventWebhook, SendGridAPIClient
from sendgrid.helpers.mail import CustomArg, Mail
from webhook_receiver import Receiver

from sandbox.control_client import ControlClient, ControlError

KEY = "SG.sandbox.key"


def mail(to: str = "anna@example.com", **args: str) -> Mail:
    built = Mail(
        from_email="billing@acme.example",
        to_emails=to,
        subject="Your plan",
        plain_text_content="Hello",
        html_content="<p>Hello</p>",
    )
    for name, value in args.items():
        built.add_custom_arg(CustomArg(name, value))
    return built


async def send(sandbox: ControlClient, what: Mail | dict[str, Any], key: str = KEY) -> Any:
    client = SendGridAPIClient(key, host=sandbox.url)
    client.client.timeout = 5
    return await asyncio.to_thread(client.send, what)


def events(receiver: Receiver) -> list[dict[str, Any]]:
    return [event for request in receiver.received for event in json.loads(request.body)]


def kinds(receiver: Receiver) -> list[str]:
    return [event["event"] for event in events(receiver)]


async def test_an_accepted_mail_is_kept_with_everything_that_was_said(sandbox: ControlClient) -> None:
    response = await send(sandbox, mail(dispatch_id="d1"))

    assert response.status_code == 202
    assert response.body == b""
    [message] = await sandbox.messages(channel="email", custom_args={"dispatch_id": "d1"})
    assert message.id == response.headers["X-Message-Id"]
    assert (message.to, message.sender, message.subject) == (
        "anna@example.com",
        "billing@acme.example",
        "Your plan",
    )
    assert (message.body, message.html) == ("Hello", "<p>Hello</p>")
    assert await sandbox.messages(custom_args={"dispatch_id": "d2"}) == []


@pytest.mark.parametrize("key", ["", "wrong", "SG."])
async def test_a_bad_key_is_refused(sandbox: ControlClient, key: str) -> None:
    with pytest.raises(UnauthorizedError) as refused:
        await send(sandbox, mail(), key=key)

    assert refused.value.to_dict["errors"][0]["field"] is None
    assert await sandbox.messages() == []


GOOD: dict[str, Any] = {
    "personalizations": [{"to": [{"email": "anna@example.com"}]}],
    "from": {"email": "billing@acme.example"},
    "subject": "Your plan",
    "content": [{"type": "text/plain", "value": "Hello"}],
}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"personalizations": []}, "personalizations"),
        ({"personalizations": [{"to": []}]}, "personalizations.0.to"),
        ({"personalizations": [{"to": [{"email": "nobody"}]}]}, "personalizations.0.to.0.email"),
        (
            {"personalizations": [{"to": [{"email": "a@b.example"}, {"email": "A@b.example"}]}]},
            "personalizations.0",
        ),
        ({"from": {}}, "from.email"),
        ({"from": {"email": "zürich@acme.example"}}, "from.email"),
        ({"subject": ""}, "subject"),
        ({"content": []}, "content"),
        ({"content": [{"type": "text/plain", "value": ""}]}, "content.0.value"),
        (
            {"content": [{"type": "text/html", "value": "x"}, {"type": "text/plain", "value": "x"}]},
            "content",
        ),
        ({"custom_args": {"attempt": 1}}, "custom_args"),
        ({"custom_args": {"much": "x" * 10_000}}, "custom_args"),
        ({"headers": {"Subject": "x"}}, "headers"),
        ({"categories": ["a", "a"]}, "categories"),
        ({"asm": {}}, "asm.group_id"),
        ({"send_at": 9_999_999_999}, "send_at"),
        ({"mail_settings": []}, "mail_settings"),
    ],
)
async def test_a_bad_payload_is_refused_by_field(
    sandbox: ControlClient, change: dict[str, Any], field: str
) -> None:
    with pytest.raises(BadRequestsError) as refused:
        await send(sandbox, GOOD | change)

    errors = refused.value.to_dict["errors"]
    assert [error["field"] for error in errors] == [field]
    assert errors[0]["message"]
    assert errors[0]["help"].endswith(field)


async def test_sandbox_mode_checks_and_sends_nothing(sandbox: ControlClient) -> None:
    response = await send(sandbox, GOOD | {"mail_settings": {"sandbox_mode": {"enable": True}}})

    assert response.status_code == 200
    assert await sandbox.messages() == []


async def test_events_are_signed_and_echo_the_custom_arguments(
    sandbox: ControlClient, receiver: Receiver
) -> None:
    await sandbox.set_targets(sendgrid_events=f"{receiver.url}/events")
    response = await send(sandbox, mail(dispatch_id="d1"))
    assert await sandbox.drain() == 0

    webhook = EventWebhook(await sandbox.sendgrid_public_key())
    for request in receiver.received:
        signature = request.headers["x-twilio-email-event-webhook-signature"]
        timestamp = request.headers["x-twilio-email-event-webhook-timestamp"]
        assert webhook.verify_signature(request.body.decode(), signature, timestamp)
        assert not webhook.verify_signature(request.body.decode().strip(), signature, timestamp)
    assert kinds(receiver) == ["processed", "delivered"]
    for event in events(receiver):
        assert event["dispatch_id"] == "d1"
        assert event["email"] == "anna@example.com"
        assert event["sg_message_id"].split(".")[0] == response.headers["X-Message-Id"]
    assert len({event["sg_event_id"] for event in events(receiver)}) == 2


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("bounce@example.com", ["processed", "bounce"]),
        ("anna+blocked@example.com", ["processed", "bounce"]),
        ("dropped@example.com", ["dropped"]),
        ("deferred@example.com", ["processed", "deferred", "delivered"]),
        ("spamreport@example.com", ["processed", "delivered", "spamreport"]),
        ("unsubscribe@example.com", ["processed", "delivered", "unsubscribe"]),
        ("async-bounce@example.com", ["processed", "delivered", "bounce"]),
        ("silent@example.com", []),
        ("anna+duplicate@example.com", ["processed", "processed", "delivered", "delivered"]),
    ],
)
async def test_the_address_chooses_the_fate(
    sandbox: ControlClient, receiver: Receiver, address: str, expected: list[str]
) -> None:
    await sandbox.set_targets(sendgrid_events=receiver.url)
    await send(sandbox, mail(address))
    await sandbox.drain()

    assert kinds(receiver) == expected
    told = [event["sg_event_id"] for event in events(receiver)]
    assert len(set(told)) == len(told)


async def test_a_bounce_says_which_kind_it_is(sandbox: ControlClient, receiver: Receiver) -> None:
    await sandbox.set_targets(sendgrid_events=receiver.url)
    for address in ("bounce@example.com", "blocked@example.com", "async_bounce@example.com"):
        await send(sandbox, mail(address))
    await sandbox.drain()

    bounces = [event for event in events(receiver) if event["event"] == "bounce"]
    assert [event["type"] for event in bounces] == ["bounce", "blocked", "bounce"]
    assert ["sg_message_id" in event for event in bounces] == [True, True, False]


async def test_an_address_that_bounced_is_suppressed(sandbox: ControlClient, receiver: Receiver) -> None:
    await sandbox.set_targets(sendgrid_events=receiver.url)
    for _ in range(2):
        await send(sandbox, mail("bounce@example.com"))
    await sandbox.drain()

    assert kinds(receiver) == ["processed", "bounce", "dropped"]
    assert events(receiver)[-1]["reason"] == "Bounced Address"


async def test_the_control_api_sets_a_fate_and_tells_events(
    sandbox: ControlClient, receiver: Receiver
) -> None:
    await sandbox.set_targets(sendgrid_events=receiver.url)
    await sandbox.mail_fate("anna@example.com", "silent")
    await send(sandbox, mail(dispatch_id="d1"))
    await sandbox.mail_event("spamreport", custom_args={"dispatch_id": "d1"}, extra={"ip": "192.0.2.1"})
    await sandbox.drain()

    [event] = events(receiver)
    assert (event["event"], event["ip"], event["dispatch_id"]) == ("spamreport", "192.0.2.1", "d1")
    with pytest.raises(ControlError, match="unknown fate 'gone'"):
        await sandbox.mail_fate("anna@example.com", "gone")
    with pytest.raises(ControlError, match="no such mail"):
        await sandbox.mail_event("open", message_id="nothing")


async def test_late_events_wait_for_the_sandbox_clock(sandbox: ControlClient, receiver: Receiver) -> None:
    await sandbox.set_targets(sendgrid_events=receiver.url)
    await send(sandbox, mail("late@example.com"))
    await sandbox.drain()
    assert kinds(receiver) == []

    sent_at = (await sandbox.messages())[0].at
    await sandbox.advance(2 * 86_400)
    await sandbox.drain()

    assert kinds(receiver) == ["processed", "delivered"]
    assert events(receiver)[0]["timestamp"] == pytest.approx(sent_at.timestamp() + 6 * 3600, abs=1)


async def test_too_many_requests_come_with_the_rate_limit_headers(sandbox: ControlClient) -> None:
    await sandbox.fault("status", service="sendgrid", status=429, retry_after=7)
    with pytest.raises(TooManyRequestsError) as refused:
        await send(sandbox, mail())

    reset = int(refused.value.headers["X-RateLimit-Reset"])
    assert reset == pytest.approx((await sandbox.now()).timestamp() + 7, abs=2)
    assert refused.value.headers["X-RateLimit-Remaining"] == "0"
    assert await sandbox.messages() == []
    assert (await send(sandbox, mail())).status_code == 202
