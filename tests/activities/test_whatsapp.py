"""WhatsApp: approved templates only, with consent, never twice."""

from __future__ import annotations

from datetime import date
from typing import Any

from dunning.case import CaseState, MessageSent
from dunning.decision import Send
from dunning.values import Channel
from tests.activities.shop import Renewal, Shop, message

MESSAGES = r"/Messages\.json$"
CONSENT = {"whatsapp_consent": "yes"}
ENGLISH, GERMAN = "HX" + "e" * 32, "HX" + "d" * 32
LAST_DAY = date(2027, 1, 14)


async def opened(shop: Shop, **customer: Any) -> tuple[Renewal, CaseState]:
    renewal = await shop.renewal("insufficient_funds", **customer)
    return renewal, await shop.open(renewal.invoice)


async def send(shop: Shop, case: CaseState, content: dict[str, str], **conditions: Any) -> MessageSent:
    order = message(case.ref, channel=Channel.WHATSAPP, **conditions)
    assert isinstance(order.action, Send)
    action = order.action.model_copy(update={"content": content})
    return await shop.run(shop.sms.send_whatsapp, order.model_copy(update={"action": action}))


async def test_the_approved_template_of_the_customers_language_goes_out_filled(
    shop: Shop,
) -> None:
    _, case = await opened(shop, metadata=CONSENT, preferred_locales=["de-AT"])
    content = {"en": ENGLISH, "de": GERMAN}
    done = await send(shop, case, content, step="final_notice", last_day=LAST_DAY)
    assert (done.fate, done.named_day) == ("accepted", LAST_DAY)
    (told,) = await shop.control.messages(channel="whatsapp")
    assert told.to == "whatsapp:+15005550123"
    assert told.details["content_sid"] == GERMAN
    variables = told.details["content_variables"]
    assert variables["1"] == "Northwind Cloud"
    assert "19,00" in variables["2"]
    assert "/pay/" in variables["3"]
    assert "14. Jänner" in variables["4"]
    (asked,) = await shop.control.requests(service="twilio", path=MESSAGES)
    assert "Body" not in asked.body


async def test_nothing_goes_out_without_consent_or_without_an_approved_template(shop: Shop) -> None:
    _, silent = await opened(shop, metadata={"sms_consent": "yes"})
    assert (await send(shop, silent, {"en": ENGLISH})).fate == "unreachable"
    _, case = await opened(shop, metadata=CONSENT)
    done = await send(shop, case, {"de": GERMAN})
    assert (done.fate, done.detail) == ("unreachable", "no approved template of WhatsApp in en")
    assert await shop.control.messages(channel="whatsapp") == []


async def test_who_blocked_us_on_whatsapp_is_never_written_to_there_again(shop: Shop) -> None:
    renewal, case = await opened(shop, metadata=CONSENT | {"sms_consent": "yes"})
    await shop.control.sms_fate("whatsapp:+15005550123", refuse=63014)
    assert (await send(shop, case, {"en": ENGLISH})).fate == "unreachable"
    assert (await shop.ledger.consents.state("", renewal.customer))[Channel.WHATSAPP] == "revoked"
    await shop.control.advance(60)
    assert (await shop.read(case.ref)).channels == (Channel.EMAIL, Channel.SMS)


async def test_a_message_without_an_answer_is_unknown_and_never_sent_again(shop: Shop) -> None:
    _, case = await opened(shop, metadata=CONSENT)
    await shop.control.fault("drop_after", service="twilio", path=MESSAGES)
    assert (await send(shop, case, {"en": ENGLISH})).fate == "unknown"
    assert (await send(shop, case, {"en": ENGLISH})).fate == "unknown"
    assert len(await shop.control.messages(channel="whatsapp")) == 1
