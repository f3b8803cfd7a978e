"""E-mail: one per case and step, none to who has paid or opted out, none twice."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from activities.unsubscribing import UnsubscribeLinks
from dunning.case import CaseState, MessageSent
from dunning.decision import Order
from dunning.values import Channel
from sandbox.control_client import SentMessage
from tests.activities.shop import BASE, Renewal, Shop, before, message

SEND = r"/v3/mail/send$"


async def opened(shop: Shop, **customer: Any) -> tuple[Renewal, CaseState]:
    renewal = await shop.renewal("insufficient_funds", **customer)
    return renewal, await shop.open(renewal.invoice)


async def send(shop: Shop, order: Order, **how: Any) -> MessageSent:
    return await shop.run(shop.email.send_email, order, **how)


async def mails(shop: Shop) -> list[SentMessage]:
    return await shop.control.messages(channel="email")


# --- what goes out --------------------------------------------------------------------------------------


async def test_a_message_names_amount_product_and_link_and_goes_to_the_customer(shop: Shop) -> None:
    renewal, case = await opened(shop)
    done = await send(shop, message(case.ref))
    assert (done.fate, done.channel, done.named_day) == ("accepted", Channel.EMAIL, None)
    (mail,) = await mails(shop)
    assert mail.to == "ada@customer.example"
    assert mail.subject == "Your Pro payment didn't go through"
    told = await shop.stripe.invoices.retrieve_async(renewal.invoice)
    for words in ("Hello Ada Example", "$19.00", "Visa card ending in 4242", str(told.hosted_invoice_url)):
        assert words in str(mail.body)
    (row,) = await shop.ledger.dispatches.of_case(case.ref.case_id)
    assert mail.custom_args == {"dispatch_id": row.id, "case_id": case.ref.case_id}
    assert (row.fate, row.provider_id, row.customer) == ("accepted", mail.id, renewal.customer)


async def test_the_address_of_today_is_used_not_the_one_on_the_invoice(shop: Shop) -> None:
    renewal, case = await opened(shop)
    await shop.stripe.customers.update_async(renewal.customer, {"email": "ada@new.example"})
    await send(shop, message(case.ref))
    assert [mail.to for mail in await mails(shop)] == ["ada@new.example"]


async def test_a_message_that_names_the_last_day_says_which(shop: Shop) -> None:
    _, case = await opened(shop)
    done = await send(shop, message(case.ref, "final_notice", last_day=date(2027, 1, 15)))
    assert (done.fate, done.named_day) == ("accepted", date(2027, 1, 15))
    assert "January 15" in str((await mails(shop))[0].body)


async def test_a_receipt_goes_out_although_the_invoice_is_paid(shop: Shop) -> None:
    renewal, case = await opened(shop)
    await shop.pay_by_hand(renewal.invoice)
    assert (await send(shop, message(case.ref, "recovered", to_debtor=False))).fate == "accepted"
    assert "$19.00" in str((await mails(shop))[0].body)


async def test_the_last_word_after_a_write_off_goes_out_and_a_reminder_does_not(shop: Shop) -> None:
    renewal, case = await opened(shop)
    await shop.stripe.invoices.mark_uncollectible_async(renewal.invoice)
    assert (await send(shop, message(case.ref))).fate == "not_needed"
    assert (await send(shop, message(case.ref, "written_off"))).fate == "accepted"


async def test_two_steps_are_two_messages(shop: Shop) -> None:
    _, case = await opened(shop)
    await send(shop, message(case.ref))
    await send(shop, message(case.ref, "final_notice", last_day=date(2027, 1, 15)))
    assert len(await mails(shop)) == 2


# --- what does not --------------------------------------------------------------------------------------


async def test_who_has_paid_hears_nothing_of_a_debt(shop: Shop) -> None:
    renewal, case = await opened(shop)
    await shop.pay_by_hand(renewal.invoice)
    done = await send(shop, message(case.ref))
    assert (done.fate, done.invoice and done.invoice.status) == ("not_needed", "paid")
    assert await mails(shop) == []
    assert await shop.ledger.dispatches.of_case(case.ref.case_id) == ()


async def test_who_revoked_the_consent_is_unreachable(shop: Shop) -> None:
    renewal, case = await opened(shop)
    await shop.ledger.consents.set(
        account="", customer=renewal.customer, channel=Channel.EMAIL, state="revoked", source="support",
        at=await shop.control.now(), by="kim",
    )  # fmt: skip
    assert (await send(shop, message(case.ref))).fate == "unreachable"
    assert await mails(shop) == []


async def test_optional_mails_can_be_unsubscribed_from_and_no_others(shop: Shop) -> None:
    renewal, case = await opened(shop)
    await send(shop, message(case.ref, "second_notice"))
    await send(shop, message(case.ref, "grace_reminder", group="optional"))
    critical, optional = await mails(shop)
    (_, row) = await shop.ledger.dispatches.of_case(case.ref.case_id)
    link = UnsubscribeLinks(BASE, "k" * 40).url(row.id)
    assert critical.headers == {}
    assert optional.headers == {
        "List-Unsubscribe": f"<{link}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    for part in (optional.body, optional.html):
        assert link in str(part)
    for part in (critical.body, critical.html):
        assert "/u/" not in str(part)

    at = await shop.control.now()
    whose = {"account": "", "customer": renewal.customer, "channel": Channel.EMAIL, "group": "optional"}
    said = {"state": "revoked", "source": "one_click", "by": "customer"}
    await shop.ledger.consents.set(**whose, **said, at=at)  # type: ignore[arg-type]
    assert (await send(shop, message(case.ref, "reminder_2", group="optional"))).fate == "unreachable"
    assert (await send(shop, message(case.ref, "third_notice"))).fate == "accepted"


async def test_an_address_that_bounced_is_unreachable_until_it_is_another(shop: Shop) -> None:
    renewal, case = await opened(shop)
    await send(shop, message(case.ref))
    (row,) = await shop.ledger.dispatches.of_case(case.ref.case_id)
    await shop.ledger.addresses.failed(row.id, at=row.claimed_at, reason="bounce 5.1.1", for_good=True)
    assert (await send(shop, message(case.ref, "second_notice"))).fate == "unreachable"
    await shop.stripe.customers.update_async(renewal.customer, {"email": "ada@new.example"})
    assert (await send(shop, message(case.ref, "second_notice"))).fate == "accepted"


async def test_who_has_no_address_is_unreachable(shop: Shop) -> None:
    _, case = await opened(shop, email="")
    assert (await send(shop, message(case.ref))).fate == "unreachable"


async def test_a_halted_engine_sends_nothing_and_claims_nothing(shop: Shop) -> None:
    _, case = await opened(shop)
    await shop.ledger.switches.halt("kim", "an incident", await shop.control.now())
    assert (await send(shop, message(case.ref))).fate == "held"
    await shop.ledger.switches.lift("kim", await shop.control.now())
    assert (await send(shop, message(case.ref))).fate == "accepted"
    assert len(await mails(shop)) == 1


async def test_a_message_whose_moment_passed_is_decided_anew(shop: Shop) -> None:
    _, case = await opened(shop)
    assert (
        await send(shop, message(case.ref, not_after=before(await shop.control.now())))
    ).fate == "too_late"
    assert await mails(shop) == []


async def test_a_policy_in_shadow_records_the_message_and_sends_nothing(shop: Shop) -> None:
    _, case = await opened(shop)
    assert (await send(shop, message(case.ref, shadow=True))).fate == "shadow"
    (row,) = await shop.ledger.dispatches.of_case(case.ref.case_id)
    assert row.fate == "shadow"
    assert await mails(shop) == []


async def test_an_order_for_another_channel_is_refused_for_good(shop: Shop) -> None:
    _, case = await opened(shop)
    with pytest.raises(ApplicationError) as refused:
        await send(shop, message(case.ref, channel=Channel.SMS))
    assert refused.value.non_retryable


async def test_a_message_that_cannot_be_written_is_not_claimed_and_tells_no_values(shop: Shop) -> None:
    _, case = await opened(shop, preferred_locales=["en-GB"])
    with pytest.raises(ApplicationError) as broken:
        await send(shop, message(case.ref, "final_notice"))  # it must name a last day, and has none
    assert broken.value.type == "MessageNotWritable"
    assert "last_day" in broken.value.message
    assert await shop.ledger.dispatches.of_case(case.ref.case_id) == ()


async def test_a_deleted_customer_is_not_written_to(shop: Shop) -> None:
    renewal, case = await opened(shop)
    await shop.stripe.customers.delete_async(renewal.customer)
    done = await send(shop, message(case.ref, "recovered", to_debtor=False))
    assert done.fate == "unreachable"
    assert await mails(shop) == []


# --- never twice ----------------------------------------------------------------------------------------


async def test_a_message_that_was_sent_is_told_again_and_not_sent_again(shop: Shop) -> None:
    renewal, case = await opened(shop)
    first = await send(shop, message(case.ref))
    await shop.pay_by_hand(renewal.invoice)  # the fate of the first try still counts
    assert (await send(shop, message(case.ref), attempt=2)).fate == first.fate == "accepted"
    assert len(await mails(shop)) == 1


@pytest.mark.parametrize(("fault", "arrived"), [("drop_after", 1), ("status_after", 1), ("status", 0)])
async def test_a_send_without_a_clear_answer_is_unknown_for_good(
    shop: Shop, fault: Any, arrived: int
) -> None:
    _, case = await opened(shop)
    await shop.control.fault(fault, service="sendgrid", path=SEND)
    assert (await send(shop, message(case.ref))).fate == "unknown"
    assert (await send(shop, message(case.ref), attempt=2)).fate == "unknown"
    assert len(await mails(shop)) == arrived


async def test_a_send_cut_off_between_claim_and_answer_is_unknown_and_never_sent_again(shop: Shop) -> None:
    renewal, case = await opened(shop)
    await shop.ledger.dispatches.claim(
        case_id=case.ref.case_id, step="first_notice", channel=Channel.EMAIL, template="payment_failed",
        customer=renewal.customer, at=await shop.control.now(),
    )  # fmt: skip
    done = await send(shop, message(case.ref), attempt=2)
    assert done.fate == "unknown"
    (row,) = await shop.ledger.dispatches.of_case(case.ref.case_id)
    assert row.fate == "unknown"
    assert await mails(shop) == []


async def test_a_definite_refusal_releases_the_claim_and_is_tried_again(shop: Shop) -> None:
    _, case = await opened(shop)
    await shop.control.fault("status", service="sendgrid", path=SEND, status=429, retry_after=30)
    with pytest.raises(ApplicationError) as busy:
        await send(shop, message(case.ref))
    assert (busy.value.type, busy.value.non_retryable) == ("ProviderBusy", False)
    assert (busy.value.next_retry_delay or timedelta()) >= timedelta(seconds=20)
    assert await shop.ledger.dispatches.of_case(case.ref.case_id) == ()
    assert (await send(shop, message(case.ref), attempt=2)).fate == "accepted"
    assert len(await mails(shop)) == 1


async def test_a_key_that_the_provider_refuses_is_for_operators(shop: Shop) -> None:
    _, case = await opened(shop)
    await shop.control.fault("status", service="sendgrid", path=SEND, status=401)
    with pytest.raises(ApplicationError) as refused:
        await send(shop, message(case.ref))
    assert refused.value.type == "ProviderRefusedKey"
    assert (await send(shop, message(case.ref), attempt=2)).fate == "accepted"


async def test_a_message_that_the_provider_will_never_take_has_failed(shop: Shop) -> None:
    _, case = await opened(shop)
    answer = {"errors": [{"field": "from.email", "message": "not verified"}]}
    await shop.control.fault("status", service="sendgrid", path=SEND, status=400, answer=answer)
    assert (await send(shop, message(case.ref))).fate == "failed"
    assert (await send(shop, message(case.ref), attempt=2)).fate == "failed"
