"""SendGrid's and Twilio's webhooks at the door: what is let in, and what it does, once."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from dunning.values import Channel
from ledger import Ledger
from starter.app import MOST_BYTES, create_app
from starter.settings import Settings
from starter.temporal import connect
from starter.webhooks.sendgrid import load_key
from tests.starter.conftest import app_client
from tests.starter.messaging import PUBLIC_KEY, SID, Door, settings, signed

EMAIL, SMS = Channel.EMAIL, Channel.SMS


async def app_of(ledger: Ledger, configured: Settings) -> httpx.AsyncClient:
    """The app, with a Temporal that is away: nothing here is a case's business."""
    away = configured.model_copy(update={"temporal_variables": {"TEMPORAL_ADDRESS": "127.0.0.1:1"}})
    return app_client(create_app(configured, await connect(away, lazy=True), ledger))


@pytest_asyncio.fixture
async def door(sqlite_ledger: Ledger) -> AsyncIterator[Door]:
    async with await app_of(sqlite_ledger, settings()) as http:
        yield Door(http, sqlite_ledger)


class TestMail:
    async def test_what_became_of_it_in_whatever_order_it_is_told(self, door: Door) -> None:
        await door.claim(EMAIL)

        answer = await door.mail({"event": "delivered"}, {"event": "processed"}, {"event": "deferred"})

        assert answer.json() == {"received": True, "results": {"noted": 3}}
        assert (await door.message(EMAIL)).delivery == "delivered"

    async def test_a_bounce_says_why_and_names_nobody(self, door: Door) -> None:
        await door.claim(EMAIL)
        reason = {"status": "5.1.1", "reason": "550 ada@example.com: no such user Ada", "type": "bounce"}

        await door.mail({"event": "bounce", "bounce_classification": "Invalid Address", **reason})

        message = await door.message(EMAIL)
        assert (message.delivery, message.delivery_detail) == ("undelivered", "bounce 5.1.1, Invalid Address")

    async def test_delivered_twice_under_another_id_it_is_known(self, door: Door) -> None:
        await door.claim(EMAIL)
        await door.mail({"event": "delivered", "sg_event_id": "one"})

        answer = await door.mail({"event": "delivered", "sg_event_id": "two"})

        assert answer.json()["results"] == {"known": 1}
        assert len(await door.ledger.dispatches.events(door.claimed[EMAIL])) == 1

    async def test_found_by_the_providers_id_where_ours_is_missing(self, door: Door) -> None:
        await door.claim(EMAIL)

        await door.mail({"event": "delivered", "dispatch_id": None, "sg_message_id": "mail-1.recvd-7-0.0"})

        assert (await door.message(EMAIL)).delivery == "delivered"

    async def test_of_a_message_that_nobody_sent(self, door: Door) -> None:
        answer = await door.mail({"event": "delivered", "dispatch_id": "dsp_" + "0" * 32})
        assert (answer.status_code, answer.json()["results"]) == (200, {"unknown_message": 1})

    async def test_proves_that_a_message_of_unknown_outcome_went_out(self, door: Door) -> None:
        await door.claim(EMAIL, fate="unknown")
        await door.mail({"event": "processed", "sg_message_id": "mail-1.recvd-7-0.0"})
        message = await door.message(EMAIL)
        assert (message.fate, message.provider_id) == ("accepted", "mail-1")

    @pytest.mark.parametrize(("event", "fate"), [("processed", "unknown"), ("bounce", "accepted")])
    async def test_a_case_that_cannot_be_told_now_is_told_with_the_next_delivery(
        self, door: Door, event: str, fate: str
    ) -> None:
        await door.claim(EMAIL, fate=fate, open=True)

        answer = await door.mail({"event": event})

        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
        assert await door.ledger.dispatches.events(door.claimed[EMAIL]) == ()

    async def test_one_event_that_makes_no_sense_does_not_silence_the_others(self, door: Door) -> None:
        await door.claim(EMAIL)
        strange = [{"event": "sung"}, {"event": 7}, {"timestamp": "x", "event": "bounce"}, {"event": None}]

        answer = await door.mail(*strange, {"event": "delivered"})

        assert answer.json()["results"] == {"noted": 1}

    async def test_signed_long_ago_it_is_still_heard(self, door: Door) -> None:
        await door.claim(EMAIL)
        event = {"event": "delivered", "dispatch_id": door.claimed[EMAIL], "timestamp": 1}
        body = json.dumps([event]).encode()

        assert (await door.post_mail(body, signed(body, "1000000000"))).status_code == 200
        assert (await door.message(EMAIL)).delivery == "delivered"


class TestMailRefused:
    @pytest.mark.parametrize("body", [b"", b"{}", b'"text"', b"[", b"\xff\xfe", b"[" * 100_000])
    async def test_signed_and_no_list_of_events(self, door: Door, body: bytes) -> None:
        answer = await door.post_mail(body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "malformed")

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"X-Twilio-Email-Event-Webhook-Signature": "AAAA"},
            {"X-Twilio-Email-Event-Webhook-Timestamp": "1"},
            signed(b"[{}]"),
            signed(b"[]") | {"X-Twilio-Email-Event-Webhook-Signature": "not base64 §"},
            signed(b"[]") | {"X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(b"x").decode()},
            signed(b"[]") | {"X-Twilio-Email-Event-Webhook-Timestamp": "1"},
        ],
    )
    async def test_not_signed_or_signed_wrongly(self, door: Door, headers: dict[str, str]) -> None:
        raw = {name: value.encode() for name, value in headers.items()}
        answer = await door.http.post("/webhooks/sendgrid", content=b"[]", headers=raw)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_signature")

    async def test_written_anew_on_the_way(self, door: Door) -> None:
        sent = b'[{"event":  "delivered"}]\r\n'
        answer = await door.post_mail(sent.strip(), signed(sent))
        assert answer.json()["error"]["code"] == "bad_signature"

    async def test_too_large(self, door: Door) -> None:
        answer = await door.post_mail(b" " * (MOST_BYTES + 1))
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")

    @pytest.mark.parametrize("key", [None, "nonsense", base64.b64encode(b"der").decode()])
    async def test_nothing_to_verify_it_with(self, sqlite_ledger: Ledger, key: str | None) -> None:
        async with await app_of(sqlite_ledger, settings(sendgrid_webhook_public_key=key)) as http:
            answer = await Door(http, sqlite_ledger).post_mail(b"[]")
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_configured")
        assert "SENDGRID_WEBHOOK_PUBLIC_KEY" in answer.json()["error"]["message"]

    def test_a_key_of_another_kind(self) -> None:
        assert load_key(PUBLIC_KEY).curve.name == "secp256r1"
        with pytest.raises(ValueError, match="SENDGRID_WEBHOOK_PUBLIC_KEY"):
            load_key(PUBLIC_KEY[:-8])


class TestText:
    async def test_what_became_of_it_in_whatever_order_it_is_told(self, door: Door) -> None:
        await door.claim(SMS)
        for status in ("sent", "delivered", "queued", "sent", "undelivered"):
            assert (await door.status(status)).status_code == 204
        assert (await door.message(SMS)).delivery == "delivered"

    async def test_told_twice_it_is_kept_once(self, door: Door) -> None:
        await door.claim(SMS)
        await door.status("sent")
        await door.status("sent")
        assert len(await door.ledger.dispatches.events(door.claimed[SMS])) == 1

    async def test_an_error_is_named_by_its_code(self, door: Door) -> None:
        await door.claim(SMS)
        await door.status("undelivered", ErrorCode="30005")
        assert (await door.message(SMS)).delivery_detail == "error 30005, nobody has this number"

    async def test_found_by_the_providers_id_where_ours_is_missing(self, door: Door) -> None:
        await door.claim(SMS)
        await door.status("delivered", query="?dispatch_id=dsp_x%00")
        assert (await door.message(SMS)).delivery == "delivered"

    async def test_heard_of_before_the_call_was_answered(self, door: Door) -> None:
        await door.claim(SMS, fate=None)
        await door.status("sent")
        assert (await door.message(SMS)).fate == "accepted"

    async def test_a_field_that_comes_twice(self, door: Door) -> None:
        await door.claim(SMS)
        form = {"MessageSid": SID, "MessageStatus": "sent", "Twice": ["b", "a"]}
        path = f"/webhooks/twilio/status?dispatch_id={door.claimed[SMS]}"
        assert (await door.text(path, form)).status_code == 204

    async def test_signed_with_a_shared_key(self, door: Door) -> None:
        await door.claim(SMS)
        form = {"MessageSid": SID, "MessageStatus": "sent"}
        answer = await door.text("/webhooks/twilio/status", form, algorithm="HMAC_SHA256")
        assert answer.status_code == 204


class TestTextRefused:
    @pytest.mark.parametrize(
        "form",
        [
            {},
            {"MessageSid": SID},
            {"MessageStatus": "sent"},
            {"MessageSid": "SM1\x00", "MessageStatus": "sent"},
            {"MessageSid": SID, "MessageStatus": "sung"},
            {f"Field{i}": "x" for i in range(300)},
        ],
    )
    async def test_signed_and_no_status(self, door: Door, form: dict[str, str]) -> None:
        answer = await door.text("/webhooks/twilio/status", form)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "malformed")

    async def test_no_form_at_all(self, door: Door) -> None:
        answer = await door.post_text("/webhooks/twilio/status", b"\xff=\xfe", signature="x")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "malformed")

    @pytest.mark.parametrize("signature", [None, "", "x", "é", "A" * 28])
    async def test_not_signed_or_signed_wrongly(self, door: Door, signature: str | None) -> None:
        answer = await door.post_text("/webhooks/twilio/status", b"MessageSid=1", signature=signature)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_signature")

    async def test_signed_for_another_message(self, door: Door) -> None:
        await door.claim(SMS)
        form = {"MessageSid": SID, "MessageStatus": "sent"}
        signature = door.sign("/webhooks/twilio/status?dispatch_id=dsp_1", form)
        path = f"/webhooks/twilio/status?dispatch_id={door.claimed[SMS]}"
        answer = await door.post_text(path, b"MessageSid=x&MessageStatus=sent", signature=signature)
        assert answer.json()["error"]["code"] == "bad_signature"

    @pytest.mark.parametrize("algorithm", ["HMAC_MD5", "HMAC_SHA256"])
    async def test_another_algorithm_does_not_open_the_door(self, door: Door, algorithm: str) -> None:
        signature = door.sign("/webhooks/twilio/status", {})
        answer = await door.post_text(
            "/webhooks/twilio/status", b"", signature=signature, algorithm=algorithm
        )
        assert answer.json()["error"]["code"] == "bad_signature"

    async def test_nothing_to_verify_it_with(self, sqlite_ledger: Ledger) -> None:
        async with await app_of(sqlite_ledger, settings(public_base_url=None)) as http:
            answer = await Door(http, sqlite_ledger).status("sent")
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_configured")
