"""One conversation per person: a message lists everything that is owed, and no other case repeats it."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from dunning.case import CaseState, MessageSent
from dunning.decision import Order, Send
from dunning.policy import ContactLimits
from dunning.values import Channel, Stage
from ledger.records import CaseSummary
from sandbox.control_client import SentMessage
from tests.activities.shop import Renewal, Shop, message

DAY = timedelta(days=1)
LAST_DAY = date(2027, 1, 14)


async def owing(shop: Shop, number: int) -> tuple[Renewal, list[CaseState]]:
    """The cases of so many failed renewals of one subscription."""
    renewal = await shop.renewal(*["insufficient_funds"] * number)
    invoices = [renewal.invoice]
    invoices += [(await shop.control.renew(renewal.subscription))["id"] for _ in range(number - 1)]
    return renewal, [await shop.open(invoice) for invoice in invoices]


def words(case: CaseState, step: str = "first_notice", **conditions: Any) -> Order:
    """The order of a message that speaks of all that the customer owes."""
    order = message(case.ref, step, **conditions)
    assert isinstance(order.action, Send)
    limits = ContactLimits(sms_per_day=1, sms_per_7_days=2, contacts_per_7_days=3)
    return order.model_copy(
        update={"action": order.action.model_copy(update={"merge": True, "limits": limits})}
    )


async def say(shop: Shop, case: CaseState, step: str = "first_notice", **conditions: Any) -> MessageSent:
    return await shop.run(shop.email.send_email, words(case, step, **conditions))


async def mails(shop: Shop) -> list[SentMessage]:
    return list(await shop.control.messages(channel="email"))


async def remember(shop: Shop, case: CaseState, last_day: date, **given: Any) -> datetime:
    """The ledger knows where the case stands."""
    at = await shop.control.now()
    filled: dict[str, Any] = {"stage": Stage.GRACE, "amount_remaining": 1900, "last_day": last_day}
    await shop.ledger.cases.remember(case.ref.case_id, 0, [], CaseSummary(at=at, **(filled | given)))
    return at


@pytest.mark.parametrize(("number", "total"), [(2, "$38.00"), (5, "$95.00")])
async def test_one_message_lists_all_invoices_and_the_other_cases_are_silent(
    shop: Shop, number: int, total: str
) -> None:
    _, (oldest, *others) = await owing(shop, number)
    said = await say(shop, oldest)
    assert said.fate == "accepted"

    done = [await say(shop, case) for case in others]

    assert {(one.fate, one.said_at) for one in done} == {("merged", said.at)}
    assert {one.detail for one in done} == {f"said in the message of case {oldest.ref.case_id}"}
    (mail,) = await mails(shop)
    for text in (mail.body, mail.html):
        assert text is not None
        assert total in text
        assert f"{number} open invoices" in text
        assert text.count(": $19.00") == number
        assert text.count("/pay/") >= number
    for case in others:
        assert await shop.ledger.dispatches.of_case(case.ref.case_id) == ()


async def test_forty_invoices_that_are_due_at_once_are_one_message(shop: Shop) -> None:
    _, cases = await owing(shop, 40)

    fates = Counter(done.fate for done in await asyncio.gather(*(say(shop, case) for case in cases)))
    assert set(fates) <= {"accepted", "merged", "postponed"}  # postponed: while another case was speaking
    assert fates["accepted"] == 1
    again = Counter([(await say(shop, case)).fate for case in cases])

    assert again == {"accepted": 1, "merged": 39}
    (mail,) = await mails(shop)
    assert mail.body is not None
    assert "$760.00" in mail.body


async def test_who_was_told_of_by_another_step_within_a_week_needs_no_message_of_its_own(shop: Shop) -> None:
    _, (older, newer) = await owing(shop, 2)
    await say(shop, older, "second_notice")
    await shop.control.advance(6 * 86_400)
    assert (await say(shop, newer)).fate == "merged"
    await shop.control.advance(2 * 86_400)
    assert (await say(shop, newer, "second_notice")).fate == "accepted"


async def test_a_paid_invoice_is_not_listed(shop: Shop) -> None:
    _, (older, newer) = await owing(shop, 2)
    await shop.pay_by_hand(newer.ref.invoice_id)
    await say(shop, older)
    (mail,) = await mails(shop)
    assert mail.body is not None
    assert "$19.00" in mail.body
    assert "open invoices" not in mail.body


async def test_fraud_and_money_on_its_way_are_not_spoken_of(shop: Shop) -> None:
    _, (first, frozen, plain) = await owing(shop, 3)
    await remember(shop, frozen, LAST_DAY, needs_human=True)
    await remember(shop, plain, LAST_DAY)
    await say(shop, first)
    (mail,) = await mails(shop)
    assert mail.body is not None
    assert "2 open invoices" in mail.body


async def test_a_notice_that_named_the_other_date_counts_for_the_other_case(shop: Shop) -> None:
    _, (older, newer) = await owing(shop, 2)
    later = LAST_DAY + 3 * DAY
    await remember(shop, newer, later)
    notice = await say(shop, older, "final_notice", last_day=LAST_DAY)

    done = await say(shop, newer, "final_notice", last_day=later)

    assert (done.fate, done.named_day, done.said_at) == ("merged", later, notice.at)
    (mail,) = await mails(shop)
    assert mail.body is not None
    assert "January 14, 2027" in mail.body
    assert "January 17, 2027" in mail.body


async def test_a_date_that_moved_since_must_be_said_again(shop: Shop) -> None:
    _, (older, newer) = await owing(shop, 2)
    await remember(shop, newer, LAST_DAY)
    await say(shop, older, "final_notice", last_day=LAST_DAY)
    assert (await say(shop, newer, "final_notice", last_day=LAST_DAY + DAY)).fate == "accepted"


async def test_a_message_whose_outcome_is_unknown_is_no_notice(shop: Shop) -> None:
    _, (older, newer) = await owing(shop, 2)
    await remember(shop, newer, LAST_DAY)
    await shop.control.fault("drop_after", service="sendgrid")
    assert (await say(shop, older, "final_notice", last_day=LAST_DAY)).fate == "unknown"
    done = await say(shop, newer, "final_notice", last_day=LAST_DAY)
    assert (done.fate, done.named_day) == ("merged", None)


async def test_a_message_that_is_known_not_to_have_arrived_said_nothing(shop: Shop) -> None:
    """The case hears of it before the ledger has noted it (`starter.webhooks.feedback`)."""
    _, (older, newer) = await owing(shop, 2)
    await say(shop, older)
    merged = await say(shop, newer)
    (row,) = await shop.ledger.dispatches.of_case(older.ref.case_id)
    assert merged.said_by == row.id

    again = words(newer)
    assert isinstance(again.action, Send)
    action = again.action.model_copy(update={"unsaid": (row.id,)})
    done = await shop.run(shop.email.send_email, again.model_copy(update={"action": action}))

    assert done.fate == "accepted"
    assert (await say(shop, older, "second_notice")).fate == "merged"


async def test_a_stop_between_reading_and_claiming_is_heard(shop: Shop) -> None:
    """What else is owed is read last of all: while Stripe lists it, the customer stops the mails."""
    renewal, (older, _) = await owing(shop, 2)
    pause = await shop.control.fault("pause", service="stripe", path="/v1/invoices$")
    sending = asyncio.create_task(say(shop, older))
    await shop.control.held(pause)
    await shop.ledger.consents.set(
        account="", customer=renewal.customer, channel=Channel.EMAIL, state="revoked", source="support",
        at=await shop.control.now(), by="kim",
    )  # fmt: skip
    await shop.control.release(pause)

    done = await sending

    assert (done.fate, done.detail) == (
        "unreachable",
        "the customer wants no more messages on this channel",
    )
    assert done.invoice is not None
    assert Channel.EMAIL not in done.invoice.channels
    assert await mails(shop) == []
    assert await shop.ledger.dispatches.of_case(older.ref.case_id) == ()


async def test_several_currencies_are_listed_and_never_added(shop: Shop) -> None:
    renewal, (older,) = await owing(shop, 1)
    params: Any = {
        "customer": renewal.customer,
        "currency": "eur",
        "collection_method": "charge_automatically",
    }
    draft = await shop.stripe.invoices.create_async(params)
    item: Any = {"customer": renewal.customer, "invoice": draft.id, "amount": 500, "currency": "eur"}
    await shop.stripe.invoice_items.create_async(item)
    euros = await shop.stripe.invoices.finalize_invoice_async(draft.id)
    await shop.open(euros.id)

    await say(shop, older)

    (mail,) = await mails(shop)
    assert mail.body is not None
    assert "$19.00, €5.00" in mail.body
    assert "24.00" not in mail.body
