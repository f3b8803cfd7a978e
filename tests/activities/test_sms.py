"""SMS: only with consent, never after STOP, never twice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from dunning.case import CaseState, MessageSent
from dunning.policy import ContactLimits
from dunning.values import Channel
from tests.activities.shop import Renewal, Shop, message

MESSAGES = r"/Messages\.json$"
CONSENT = {"sms_consent": "true"}


async def opened(shop: Shop, **customer: Any) -> tuple[Renewal, CaseState]:
    renewal = await shop.renewal("insufficient_funds", **customer)
    return renewal, await shop.open(renewal.invoice)


async def send(shop: Shop, case: CaseState, *, attempt: int = 1, **conditions: Any) -> MessageSent:
    order = message(case.ref, channel=Channel.SMS, **conditions)
    return await shop.run(shop.sms.send_sms, order, attempt=attempt)


async def texts(shop: Shop) -> list[Any]:
    return list(await shop.control.messages(channel="sms"))


async def test_an_sms_goes_to_who_consented_with_amount_link_and_the_way_out(shop: Shop) -> None:
    _, case = await opened(shop, metadata=CONSENT)
    until = await shop.control.now() + timedelta(minutes=30)
    assert (await send(shop, case, not_after=until)).fate == "accepted"
    (text,) = await texts(shop)
    assert text.to == "+15005550123"
    for words in ("Northwind Cloud", "$19.00", "/pay/", "STOP"):
        assert words in text.body
    (asked,) = await shop.control.requests(service="twilio", path=MESSAGES)
    assert 1700 <= int(asked.body["ValidityPeriod"]) <= 1800  # not into the quiet hours


async def test_nobody_gets_an_sms_without_consent(shop: Shop) -> None:
    _, case = await opened(shop)
    assert (await send(shop, case)).fate == "unreachable"
    assert await texts(shop) == []


async def test_who_wrote_stop_is_never_written_to_again(shop: Shop) -> None:
    renewal, case = await opened(shop, metadata=CONSENT)
    await shop.control.sms_fate("+15005550123", refuse=21610)
    done = await send(shop, case)
    assert done.fate == "unreachable"
    assert (await shop.ledger.consents.state("", renewal.customer))[Channel.SMS] == "revoked"
    await shop.control.advance(60)
    assert (await shop.read(case.ref)).channels == (Channel.EMAIL,)


async def test_a_number_that_is_none_is_unreachable_and_the_consent_stays(shop: Shop) -> None:
    renewal, case = await opened(shop, metadata=CONSENT)
    await shop.control.sms_fate("+15005550123", refuse=21614)
    assert (await send(shop, case)).fate == "unreachable"
    assert (await shop.ledger.consents.state("", renewal.customer))[Channel.SMS] == "granted"


async def test_an_sms_without_an_answer_is_unknown_and_never_sent_again(shop: Shop) -> None:
    _, case = await opened(shop, metadata=CONSENT)
    await shop.control.fault("drop_after", service="twilio", path=MESSAGES)
    assert (await send(shop, case)).fate == "unknown"
    assert (await send(shop, case, attempt=2)).fate == "unknown"
    assert len(await texts(shop)) == 1


async def test_too_many_messages_release_the_claim(shop: Shop) -> None:
    _, case = await opened(shop, metadata=CONSENT)
    await shop.control.fault("status", service="twilio", path=MESSAGES, status=429)
    with pytest.raises(ApplicationError) as busy:
        await send(shop, case)
    assert busy.value.type == "ProviderBusy"
    assert (await send(shop, case, attempt=2)).fate == "accepted"
    assert len(await texts(shop)) == 1


async def test_a_second_sms_of_the_day_is_postponed_with_until_when_and_why(shop: Shop) -> None:
    limits = ContactLimits(sms_per_day=1, sms_per_7_days=2, contacts_per_7_days=3)
    _, case = await opened(shop, metadata=CONSENT)
    first = await send(shop, case, limits=limits)
    done = await send(shop, case, step="second_notice", limits=limits)
    assert (done.fate, done.detail) == ("postponed", "at most 1 text in 24 hours")
    assert done.retry_at == first.at + timedelta(days=1)
    assert len(await texts(shop)) == 1
