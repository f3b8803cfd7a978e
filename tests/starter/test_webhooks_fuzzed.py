"""Every webhook route, whatever arrives: malformed, oversized, unsigned, replayed, out of order.

The answer is a 2xx or a 4xx as documented, never a 5xx, and what is refused has no effect. Nothing here
concerns an open case, so neither Temporal nor a worker is needed.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
import stripe
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dunning.values import Channel
from ledger import Ledger
from starter.webhooks.routing import CONCERNS, FAILURES
from starter.webhooks.sendgrid import DELIVERIES as MAIL
from starter.webhooks.twilio import DELIVERIES as TEXT
from tests.starter import messaging
from tests.starter.messaging import SID, Door, signed
from tests.starter.test_messaging_webhooks import app_of

SECRET = "whsec_fuzz"
ROUTES = ("/webhooks/stripe", "/webhooks/sendgrid", "/webhooks/twilio/status", "/webhooks/twilio/inbound")
DOCUMENTED = {200, 204, 400, 403, 413}
fuzz = settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # each example is a whole HTTP request
)

words = st.one_of(st.text(max_size=30), st.sampled_from(["", "\x00", "\ud800", "dsp_" + "0" * 32, SID]))
numbers = st.one_of(st.integers(), st.floats(), st.sampled_from([10**30, -(10**12), 0, 1_772_450_000]))
scalars = st.one_of(st.none(), st.booleans(), numbers, words)
json_values = st.recursive(
    scalars, lambda more: st.lists(more, max_size=3) | st.dictionaries(words, more, max_size=3), max_leaves=8
)
headers = st.dictionaries(
    st.sampled_from(
        [
            "Stripe-Signature",
            "X-Twilio-Signature",
            "X-Twilio-Webhooks-Signature-Settings",
            "X-Twilio-Email-Event-Webhook-Signature",
            "X-Twilio-Email-Event-Webhook-Timestamp",
            "Content-Type",
        ]
    ),
    st.one_of(
        st.text(st.characters(min_codepoint=33, max_codepoint=255, exclude_characters="\x7f"), max_size=40),
        st.sampled_from(["t=1,v1=x", "AAAA", "key=x,algorithm=HMAC_SHA256", "9" * 400, "1"]),
    ).map(lambda text: text.encode("latin-1")),
)


@pytest_asyncio.fixture
async def door(sqlite_ledger: Ledger) -> AsyncIterator[Door]:
    """The app, and an e-mail and an SMS that were sent."""
    async with await app_of(sqlite_ledger, messaging.settings(stripe_webhook_secret=SECRET)) as http:
        door = Door(http, sqlite_ledger)
        await door.claim(Channel.EMAIL)
        await door.claim(Channel.SMS)
        yield door


async def effects(door: Door) -> list[Any]:
    """All that a webhook could have changed."""
    ledger = door.ledger
    messages = [await door.message(channel) for channel in (Channel.EMAIL, Channel.SMS)]
    told = [await ledger.dispatches.events(message.id) for message in messages]
    consents = await ledger.consents.history("", "cus_1")
    dead = await ledger.addresses.dead(messaging.ADDRESS)
    return [messages, told, consents, dead, await ledger.replies.waiting(), await ledger.cases.find()]


@pytest.mark.parametrize("route", ROUTES)
class TestAnything:
    @fuzz
    @given(body=st.binary(max_size=400), given_headers=headers, query=st.text(max_size=20))
    async def test_unsigned(
        self, door: Door, route: str, body: bytes, given_headers: dict[str, bytes], query: str
    ) -> None:
        before = await effects(door)
        named = {"dispatch_id": query}
        answer = await door.http.post(route, content=body, headers=given_headers, params=named)
        assert answer.status_code in {400, 403}, answer.text
        assert answer.json()["error"]["message"]
        assert await effects(door) == before

    async def test_too_large(self, door: Door, route: str) -> None:
        before = await effects(door)
        assert (await door.http.post(route, content=b"x" * 1_000_001)).status_code == 413
        assert await effects(door) == before


class TestSigned:
    @fuzz
    @given(body=st.one_of(st.binary(max_size=200), json_values.map(lambda v: json.dumps(v).encode())))
    async def test_any_body_to_sendgrids_route(self, door: Door, body: bytes) -> None:
        before = await effects(door)
        answer = await door.post_mail(body, signed(body))
        assert answer.status_code in DOCUMENTED, answer.text
        assert await effects(door) == before

    @fuzz
    @given(
        events=st.lists(
            st.fixed_dictionaries(
                {"event": st.one_of(st.sampled_from(sorted(MAIL)), scalars)},
                optional=dict.fromkeys(
                    ("timestamp", "dispatch_id", "sg_message_id", "type", "status", "reason"), scalars
                ),
            ),
            max_size=4,
        )
    )
    async def test_events_of_any_shape(self, door: Door, events: list[dict[str, Any]]) -> None:
        body = json.dumps(events).encode()
        assert (await door.post_mail(body, signed(body))).status_code == 200

    @fuzz
    @given(
        fields=st.dictionaries(
            st.sampled_from(["MessageSid", "MessageStatus", "ErrorCode", "From", "Body", "OptOutType", "X"]),
            st.one_of(
                st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
                st.sampled_from([SID, "sent", "30005", "+14155550123", "STOP", "whatsapp:+1", "0" * 50]),
            ),
        ),
        route=st.sampled_from(ROUTES[2:]),
    )
    async def test_any_form_to_twilios_routes(self, door: Door, fields: dict[str, str], route: str) -> None:
        assert (await door.text(route, fields)).status_code in DOCUMENTED

    @fuzz
    @given(
        event=st.fixed_dictionaries(
            {
                "id": scalars,
                "type": st.one_of(st.sampled_from(sorted(set(CONCERNS) - FAILURES)), scalars),
                "created": numbers,
                "data": st.fixed_dictionaries(
                    {
                        "object": st.dictionaries(
                            st.sampled_from(["id", "customer", "subscription", "charge", "status"]),
                            json_values,
                        )
                    },
                    optional={"previous_attributes": json_values},
                ),
            },
            optional={"account": scalars, "request": json_values},
        )
    )
    async def test_any_event_to_stripes_route(self, door: Door, event: dict[str, Any]) -> None:
        body = json.dumps(event)
        header = stripe.WebhookSignature.generate_signature_header(body, SECRET, int(time.time()))
        answer = await door.http.post(
            "/webhooks/stripe", content=body.encode(), headers={"Stripe-Signature": header}
        )
        assert answer.status_code in DOCUMENTED, answer.text


class TestOrder:
    @fuzz
    @given(told=st.lists(st.sampled_from(["processed", "deferred", "delivered", "bounce"]), max_size=5))
    async def test_mails_end_at_the_same_fate_in_any_order(self, door: Door, told: list[str]) -> None:
        step = await door.claim(Channel.EMAIL, step=f"step{time.monotonic_ns()}")
        for event in told:
            assert (await door.mail({"event": event, "type": "blocked"})).status_code == 200
        ranks = ("processed", "deferred", "delivered", "bounce")
        furthest = max(told, key=ranks.index) if told else None
        assert (await door.message(Channel.EMAIL)).delivery == (MAIL[furthest] if furthest else None)
        assert len(await door.ledger.dispatches.events(step)) == len(set(told))

    @fuzz
    @given(told=st.lists(st.sampled_from(sorted(TEXT)), max_size=5))
    async def test_a_text_that_reached_its_end_stays_there(self, door: Door, told: list[str]) -> None:
        await door.claim(Channel.SMS, step=f"step{time.monotonic_ns()}")
        for status in told:
            assert (await door.status(status)).status_code == 204
        ends = [TEXT[status] for status in told if TEXT[status] in ("delivered", "undelivered", "read")]
        if ends:
            arrived = ends[0] != "undelivered"
            assert (await door.message(Channel.SMS)).delivery in (
                ("delivered", "read") if arrived else ("undelivered",)
            )
