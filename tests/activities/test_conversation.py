"""One conversation per person: a message lists everything that is owed, and no other case repeats it."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import date, datetime, timedelta
from typing import Any

from dunning.case import CaseState, MessageSent
from dunning.decision import Order, Send
from dunning.policy import ContactLimits
from dunning.values import Stage
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


async def test_one_message_lists_both_invoices_and_the_other_case_is_silent(
    shop: Shop,
) -> None:
    _, (older, newer) = await owing(shop, 2)
    said = await say(shop, older)
    assert said.fate == "accepted"

    done = await say(shop, newer)

    assert (done.fate, done.said_at) == ("merged", said.at)
    assert done.detail == f"said in the message of case {older.ref.case_id}"
    (mail,) = await mails(shop)
    for text in (mail.body, mail.html):
        assert text is not None
        assert "$38.00" in text
        assert "2 open invoices" in text
        assert text.count(": $19.00") == 2
        assert text.count("/pay/") >= 2
    rows = await shop.ledger.dispatches.of_case(newer.ref.case_id)
    assert rows == ()


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
