"""What customers want and write back, from the webhook into the ledger. Cases: see workflows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from dunning.values import Channel
from ledger import Ledger
from tests.starter.messaging import ADDRESS, SID, Door, settings
from tests.starter.test_messaging_webhooks import app_of

EMAIL, SMS = Channel.EMAIL, Channel.SMS


@pytest_asyncio.fixture
async def door(sqlite_ledger: Ledger) -> AsyncIterator[Door]:
    async with await app_of(sqlite_ledger, settings()) as http:
        yield Door(http, sqlite_ledger)


class TestWishes:
    async def test_stop_counts_at_once_and_twilio_is_told_to_say_nothing(self, door: Door) -> None:
        await door.claim(SMS)

        answer = await door.reply("Stop!")

        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/xml; charset=utf-8")
        assert answer.text.endswith("<Response/>")
        assert await door.consents() == {"sms": "revoked"}

    async def test_stop_after_a_later_consent_by_another_clock_is_the_last_word(self, door: Door) -> None:
        await door.claim(SMS)
        ahead = datetime(2030, 1, 1, tzinfo=UTC)
        granted = {"account": "", "customer": "cus_1", "channel": SMS, "state": "granted"}
        await door.ledger.consents.set(**granted, source="metadata", at=ahead, by="customer")  # type: ignore[arg-type]
        await door.reply("STOP")
        assert await door.consents() == {"sms": "revoked"}

    async def test_start_gives_it_back_and_an_old_stop_that_comes_again_does_not_take_it(
        self, door: Door
    ) -> None:
        await door.claim(SMS)
        await door.reply("STOP")
        await door.reply("START", sid="SM" + "1" * 32)
        await door.reply("STOP")
        assert await door.consents() == {"sms": "granted"}

    async def test_twilios_own_reading_counts_in_any_language(self, door: Door) -> None:
        await door.claim(SMS)
        await door.reply("đừng nhắn nữa", OptOutType="STOP")
        assert await door.consents() == {"sms": "revoked"}

    async def test_stopall_takes_every_channel_that_texts(self, door: Door) -> None:
        await door.claim(SMS)
        await door.reply("STOPALL")
        assert await door.consents() == {"sms": "revoked", "whatsapp": "revoked"}

    async def test_a_wrong_number_is_written_to_no_more_and_a_person_looks(self, door: Door) -> None:
        await door.claim(SMS)
        await door.reply("Wrong number")
        assert (await door.consents())["sms"] == "revoked"
        assert [reply.id for reply in await door.ledger.replies.waiting()] == [SID]

    async def test_a_complaint_of_spam_ends_the_mails(self, door: Door) -> None:
        await door.claim(EMAIL)
        await door.mail({"event": "spamreport"}, {"event": "spamreport"})
        assert await door.consents() == {"email": "revoked"}
        assert len(await door.ledger.consents.history("", "cus_1")) == 1

    async def test_blocked_by_the_customer_at_the_carrier(self, door: Door) -> None:
        await door.claim(SMS)
        await door.status("undelivered", ErrorCode="30004")
        assert await door.consents() == {"sms": "revoked"}


class TestAddresses:
    async def dead(self, door: Door) -> set[Channel]:
        return set(await door.ledger.addresses.dead(ADDRESS))

    async def test_a_hard_bounce_kills_the_address_and_says_nothing_of_the_wish(self, door: Door) -> None:
        await door.claim(EMAIL)
        await door.mail({"event": "bounce", "type": "bounce", "status": "5.1.1"})
        assert await self.dead(door) == {EMAIL}
        assert await door.consents() == {}
        assert await door.ledger.addresses.dead_of("", "cus_1") == {EMAIL: "bounce 5.1.1"}

    async def test_a_mail_that_was_blocked_does_not(self, door: Door) -> None:
        await door.claim(EMAIL)
        await door.mail({"event": "bounce", "type": "blocked", "status": "5.7.1"})
        assert await self.dead(door) == set()

    async def test_a_number_that_nobody_has(self, door: Door) -> None:
        await door.claim(SMS)
        await door.status("undelivered", ErrorCode="30005")
        assert await self.dead(door) == {SMS}

    async def test_a_handset_that_is_off_is_dead_the_second_time(self, door: Door) -> None:
        await door.claim(SMS)
        await door.status("undelivered", ErrorCode="30003")
        await door.status("undelivered", ErrorCode="30003")
        assert await self.dead(door) == set()
        other = await door.claim(SMS, step="reminder")
        await door.status("failed", query=f"?dispatch_id={other}", ErrorCode="30003")
        assert await self.dead(door) == {SMS}

    async def test_consent_that_is_given_anew_tries_it_again(self, door: Door) -> None:
        await door.claim(EMAIL)
        await door.mail({"event": "bounce", "type": "bounce"})
        body = {"channel": "email", "state": "granted", "reason": "typo mended in the mailbox", "by": "maria"}
        answer = await door.http.post("/api/v1/customers/cus_1/consents", json=body)
        assert (answer.json()["channels"], answer.json()["dead"]) == ({"email": "granted"}, {})
        assert answer.json()["history"][0]["by"] == "maria"


class TestWords:
    async def test_what_no_rule_understands_waits_for_a_person_with_its_words(self, door: Door) -> None:
        dispatch = await door.claim(SMS)
        await door.reply("My dog ate the card")
        (reply,) = await door.ledger.replies.waiting()
        assert (reply.text, reply.kind, reply.customer) == ("My dog ate the card", "other", "cus_1")
        case = (await door.message(SMS)).case_id
        assert [r.id for r in await door.ledger.replies.of_case(case)] == [SID], dispatch

    async def test_from_a_number_that_nobody_wrote_to(self, door: Door) -> None:
        assert (await door.reply("who are you?", sender="+4915112345678")).status_code == 200
        (reply,) = await door.ledger.replies.waiting()
        assert (reply.customer, reply.case_id) == (None, None)

    async def test_a_reply_that_came_twice_is_one(self, door: Door) -> None:
        await door.claim(SMS)
        await door.reply("hm")
        await door.ledger.replies.settle(SID, "answered", by="maria")
        await door.reply("hm")
        assert await door.ledger.replies.waiting() == ()

    async def test_when_the_case_cannot_be_told_it_is_done_with_the_next_delivery(self, door: Door) -> None:
        await door.claim(SMS, open=True)
        assert (await door.reply("STOP")).status_code == 503
        assert await door.consents() == {"sms": "revoked"}  # already
        reply = await door.ledger.replies.get(SID)
        assert reply is not None
        assert reply.state == "received"

    @pytest.mark.parametrize(
        "form", [{}, {"MessageSid": SID}, {"From": "+1"}, {"MessageSid": SID, "From": "Ada\x00"}]
    )
    async def test_signed_and_no_message(self, door: Door, form: dict[str, str]) -> None:
        answer = await door.text("/webhooks/twilio/inbound", form)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "malformed")
