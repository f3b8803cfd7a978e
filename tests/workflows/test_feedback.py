"""Cases that hear from SendGrid and Twilio what became of their messages, on a real server."""

from __future__ import annotations

import json

from dunning.values import Stage
from ledger.records import DispatchRecord
from tests.fixtures.case import Case
from tests.fixtures.engine import Engine
from tests.workflows.histories import texts

PHONE = "+15005550123"


async def told(case: Case, kind: str) -> list[str]:
    """The lines of that kind in the case's own timeline."""
    return [entry.text for entry in await case.timeline() if entry.what == kind]


async def deliveries(case: Case) -> dict[tuple[str, str], str | None]:
    """What became of each message, as the ledger knows it."""
    return {(sent.step, sent.channel.value): sent.delivery for sent in await messages(case)}


async def fates(case: Case) -> dict[str, str | None]:
    """What the ledger says of the sending of each message."""
    return {sent.step: sent.fate for sent in await messages(case)}


async def messages(case: Case) -> tuple[DispatchRecord, ...]:
    record = await case.record()
    assert record is not None
    return await case.engine.ledger.dispatches.of_case(record.id)


async def test_every_message_shows_its_fate_though_the_case_is_left_in_peace(engine: Engine) -> None:
    for kind in ("duplicate", "reorder"):
        await engine.control.webhook_fault(kind, probability=0.4, seed=7, times=0)  # type: ignore[arg-type]
    case = await engine.case("lost_card", phone=PHONE, consent=True)
    await case.until(8)
    await engine.settle()

    assert await deliveries(case) == {
        ("first_notice", "email"): "delivered",
        ("second_notice", "email"): "delivered",
        ("second_notice", "sms"): "delivered",
    }
    hints = [event for event in (await case.handle.fetch_history()).events if _is_message_hint(event)]
    assert hints == []


async def test_what_no_provider_answered_to_is_settled_by_its_events(engine: Engine) -> None:
    await engine.control.fault("drop_after", service="sendgrid", path="mail/send")
    await engine.control.fault("drop_after", service="twilio", path="Messages", times=1)
    case = await engine.case("lost_card", phone=PHONE, consent=True)
    await case.until(6)
    await engine.settle()  # the case hears of it after the ledger

    assert await fates(case) == {"first_notice": "accepted", "second_notice": "accepted"}
    assert (await case.status()).messages == 3
    assert len(await engine.control.messages()) == 3


async def test_nobody_is_suspended_whose_mails_all_bounce(engine: Engine) -> None:
    case = await engine.case("lost_card", email="bounce+ada@customer.example")

    await case.until(32)

    assert await told(case, "message.undelivered")
    status = await case.status()
    assert (status.stage, status.needs_human) == (Stage.GRACE, True)


async def test_what_a_customer_writes_back_is_done_or_waits_for_a_person(engine: Engine) -> None:
    case = await engine.case("lost_card", phone=PHONE, consent=True)
    await case.until(6)
    before = (await case.status()).last_day

    await engine.control.inbound(PHONE, "I need more time please")
    await engine.settle()
    assert (await case.status()).last_day > before
    assert await told(case, "lever.request_extension")

    await engine.control.inbound(PHONE, "My dog ate the card")
    await engine.settle()
    assert (await case.status()).needs_human
    assert await told(case, "reply.waiting")
    written = "\n".join(texts(json.loads((await case.handle.fetch_history()).to_json())))
    assert "reply.waiting" in written
    assert "ate the card" not in written

    await engine.control.inbound(PHONE, "Stop")
    await engine.settle()
    assert await told(case, "consent.revoked") == ["no more messages by SMS are wanted (sms keyword)"]
    await case.until(25)
    assert [message.channel for message in await engine.control.messages(channel="sms")] == ["sms"]


async def test_an_address_that_bounced_is_left_alone_until_it_is_another_one(engine: Engine) -> None:
    case = await engine.case("lost_card", email="bounce+ada@customer.example")
    await case.until(5.5)
    assert len(await engine.control.messages(channel="email")) == 1

    await engine.stripe.customers.update_async(case.customer, {"email": "ada@customer.example"})
    await engine.settle()
    await case.until(12.5)
    assert await case.calendar() == {0: ["email payment_failed"], 12: ["email impact"]}


async def test_whose_invoice_was_listed_in_a_mail_that_bounced_is_told_on_another_channel(
    engine: Engine,
) -> None:
    older = await engine.case("lost_card", phone=PHONE, consent=True)
    newer = await engine.renewal(older.customer, older.subscription, older.email)
    await newer.until(11)
    await engine.stripe.customers.update_async(older.customer, {"email": "bounce+ada@customer.example"})
    await newer.until(13)
    await newer.until(13.2)  # who waits until the other case has spoken looks again after minutes

    spoken = [(sent.channel.value, sent.delivery) for case in (older, newer) for sent in await messages(case)]
    assert spoken.count(("email", "undelivered")) == 1
    assert [told for told in spoken if told[0] == "sms"] == [("sms", "delivered")] * 2  # days 5 and 12
    lines = [entry for case in (older, newer) for entry in await case.timeline()]
    (silent,) = [e.text for e in lines if e.text.startswith("e-mail that spoke of this invoice, too")]
    assert "not delivered" in silent
    merged = [e.text for e in lines if e.what == "message.merged"]
    assert any("SMS third notice" in text for text in merged)


def _is_message_hint(event: object) -> bool:
    signal = event.workflow_execution_signaled_event_attributes  # type: ignore[attr-defined]
    return any(b"message." in payload.data for payload in signal.input.payloads)
