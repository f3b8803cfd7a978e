"""Twilio's stand-in as the real SDK sees it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl

import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.request_validator import RequestValidator
from twilio.rest import Client
from webhook_receiver import Receiver

from sandbox.control_client import ControlClient, ControlError
from sandbox.twilio import ACCOUNT_SID, AUTH_TOKEN
from sandbox.twilio_wire import segments

SERVICE = "MG" + "0" * 32
TEMPLATE = "HX" + "0" * 32


def twilio(sandbox: ControlClient, sid: str = ACCOUNT_SID, token: str = AUTH_TOKEN) -> Client:
    client = Client(sid, token, http_client=TwilioHttpClient(timeout=5))
    client.api.base_url = sandbox.url
    return client


async def send(sandbox: ControlClient, to: str = "+14155550123", **how: Any) -> Any:
    wish = {"messaging_service_sid": SERVICE, "body": "Hello"} | how
    return await asyncio.to_thread(twilio(sandbox).messages.create, to=to, **wish)


def forms(receiver: Receiver) -> list[dict[str, str]]:
    return [dict(parse_qsl(got.body.decode(), keep_blank_values=True)) for got in receiver.received]


def statuses(receiver: Receiver) -> list[str]:
    return [form["MessageStatus"] for form in forms(receiver)]


async def test_a_message_by_service_is_accepted_and_can_be_fetched(sandbox: ControlClient) -> None:
    message = await send(sandbox)

    assert message.sid.startswith("SM")
    assert (message.status, message.num_segments, message.from_) == ("accepted", "0", None)
    assert message.messaging_service_sid == SERVICE
    assert abs(message.date_created - await sandbox.now()) < timedelta(seconds=5)
    client = twilio(sandbox)
    fetched = await asyncio.to_thread(client.messages(message.sid).fetch)
    assert (fetched.status, fetched.body) == ("delivered", "Hello")
    listed = await asyncio.to_thread(client.messages.list, to="+14155550123")
    assert [entry.sid for entry in listed] == [message.sid]
    [kept] = await sandbox.messages(channel="sms")
    assert (kept.id, kept.to, kept.body) == (message.sid, "+14155550123", "Hello")


async def test_a_message_from_a_number_is_queued(sandbox: ControlClient) -> None:
    message = await send(sandbox, messaging_service_sid=None, from_="+15005550006", body="x" * 161)

    assert (message.status, message.from_, message.num_segments) == ("queued", "+15005550006", "2")


async def test_an_unknown_message_is_not_found(sandbox: ControlClient) -> None:
    with pytest.raises(TwilioRestException) as missing:
        await asyncio.to_thread(twilio(sandbox).messages("SM" + "0" * 32).fetch)

    assert (missing.value.status, missing.value.code) == (404, 20404)


async def test_bad_credentials_are_refused(sandbox: ControlClient) -> None:
    client = twilio(sandbox, token="wrong")
    with pytest.raises(TwilioRestException) as refused:
        await asyncio.to_thread(client.messages.create, to="+14155550123", from_="+15005550006", body="x")

    assert (refused.value.status, refused.value.code) == (401, 20003)


async def test_an_unknown_account_keeps_the_token_it_came_with(sandbox: ControlClient) -> None:
    sid = "AC" + "1" * 32
    wish = {"to": "+14155550123", "from_": "+15005550006", "body": "x"}
    await asyncio.to_thread(twilio(sandbox, sid, "first").messages.create, **wish)

    with pytest.raises(TwilioRestException, match="Authenticate"):
        await asyncio.to_thread(twilio(sandbox, sid, "second").messages.create, **wish)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"to": "+15005550001"}, 21211),
        ({"to": "12345"}, 21211),
        ({"to": ""}, 21604),
        ({"to": "+15005550002"}, 21612),
        ({"to": "+15005550003"}, 21408),
        ({"to": "+15005550004"}, 21610),
        ({"to": "+15005550009"}, 21614),
        ({"from_": "+15005550007"}, 21606),
        ({"messaging_service_sid": None}, 21603),
        ({"messaging_service_sid": "MGshort"}, 21705),
        ({"body": None}, 21602),
        ({"body": "x" * 1601}, 21617),
        ({"content_sid": "HXshort"}, 21655),
        ({"content_sid": TEMPLATE, "content_variables": "[1]"}, 21656),
        ({"validity_period": 0}, 21624),
        ({"validity_period": 36_001}, 21624),
        ({"status_callback": "http://bad_host/x"}, 21609),
    ],
)
async def test_a_bad_message_is_refused_by_code(
    sandbox: ControlClient, change: dict[str, Any], code: int
) -> None:
    with pytest.raises(TwilioRestException) as refused:
        await send(sandbox, **change)

    assert (refused.value.status, refused.value.code) == (400, code)
    assert await sandbox.messages() == []


async def test_callbacks_are_signed_and_leave_out_the_first_status(
    sandbox: ControlClient, receiver: Receiver
) -> None:
    url = f"{receiver.url}/status?dispatch=d1"
    message = await send(sandbox, status_callback=url)
    await sandbox.drain()

    assert statuses(receiver) == ["queued", "sent", "delivered"]
    validator = RequestValidator(AUTH_TOKEN)
    for got, form in zip(receiver.received, forms(receiver), strict=True):
        signature = got.headers["x-twilio-signature"]
        assert validator.validate(url, form, signature)
        assert not validator.validate(url, form | {"MessageStatus": "read"}, signature)
        assert (form["MessageSid"], form["AccountSid"]) == (message.sid, ACCOUNT_SID)
        assert (form["From"], form["MessagingServiceSid"]) == ("+15005550006", SERVICE)
        assert "ErrorCode" not in form


async def test_a_redelivered_callback_carries_the_same_idempotency_token(
    sandbox: ControlClient, receiver: Receiver
) -> None:
    receiver.answers = [503, 204, 204]
    await send(sandbox, messaging_service_sid=None, from_="+15005550006", status_callback=receiver.url)
    await sandbox.drain()

    tokens = [got.headers["i-twilio-idempotency-token"] for got in receiver.received]
    assert sorted(statuses(receiver)) == ["delivered", "sent", "sent"]
    assert len(set(tokens)) == 2


@pytest.mark.parametrize("code", [30003, 30007, 30034])
async def test_the_number_chooses_an_error_code(
    sandbox: ControlClient, receiver: Receiver, code: int
) -> None:
    await send(sandbox, f"+150055{code}", status_callback=receiver.url)
    await sandbox.drain()

    assert statuses(receiver) == ["queued", "sent", "undelivered"]
    assert forms(receiver)[-1]["ErrorCode"] == str(code)


async def test_the_control_api_sets_a_fate_and_tells_statuses(
    sandbox: ControlClient, receiver: Receiver
) -> None:
    await sandbox.sms_fate("+14155550123", silent=True)
    message = await send(sandbox, status_callback=receiver.url)
    await sandbox.sms_status(message.sid, "undelivered", 30005)
    await sandbox.drain()
    assert [(form["MessageStatus"], form["ErrorCode"]) for form in forms(receiver)] == [
        ("undelivered", "30005")
    ]

    await sandbox.sms_fate("+14155550123", refuse=21635)
    with pytest.raises(TwilioRestException) as refused:
        await send(sandbox)
    assert refused.value.code == 21635
    with pytest.raises(ControlError, match="no message SMnone"):
        await sandbox.sms_status("SMnone", "sent")


async def test_stop_silences_a_number_until_start(sandbox: ControlClient, receiver: Receiver) -> None:
    url = f"{receiver.url}/inbound"
    await sandbox.set_targets(twilio_inbound=url)
    await sandbox.inbound("+14155550123", " stop ")
    with pytest.raises(TwilioRestException) as refused:
        await send(sandbox)
    assert refused.value.code == 21610

    await sandbox.inbound("+14155550123", "Let me back in", opt_out_type="START")
    assert (await send(sandbox)).status == "accepted"

    await sandbox.drain()
    validator = RequestValidator(AUTH_TOKEN)
    for got, form in zip(receiver.received, forms(receiver), strict=True):
        assert validator.validate(url, form, got.headers["x-twilio-signature"])
    assert [(form["Body"], form.get("OptOutType")) for form in forms(receiver)] == [
        (" stop ", None),
        ("Let me back in", "START"),
    ]


async def test_whatsapp_needs_a_template_outside_a_conversation(
    sandbox: ControlClient, receiver: Receiver
) -> None:
    to = "whatsapp:+14155550123"
    await send(sandbox, to, status_callback=receiver.url)
    await sandbox.drain()
    assert forms(receiver)[-1]["ErrorCode"] == "63016"

    template = {"content_sid": TEMPLATE, "content_variables": '{"1": "Pro"}', "body": None}
    by_template = await send(sandbox, to, **template)
    await sandbox.inbound(to, "Hi")
    in_conversation = await send(sandbox, to)

    ends = {message.id: message.status for message in await sandbox.messages(channel="whatsapp")}
    assert ends[by_template.sid] == ends[in_conversation.sid] == "delivered"


async def test_too_many_requests_look_like_twilio(sandbox: ControlClient) -> None:
    await sandbox.fault("status", service="twilio", status=429)
    with pytest.raises(TwilioRestException) as refused:
        await send(sandbox)

    assert (refused.value.status, refused.value.code) == (429, 20429)
    assert await sandbox.messages() == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("ç" * 70, 1),
        ("ç" * 71, 2),
        ("😀" * 35, 1),
        ("😀" * 36, 2),
    ],
)
def test_segments_follow_the_alphabet(text: str, count: int) -> None:
    assert segments(text) == count
