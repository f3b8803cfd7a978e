"""What the engine reads of an invoice at Stripe."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from temporalio.exceptions import ApplicationError

from activities.stripe_objects import StripeCharge, StripeInvoice, parse_dict
from activities.stripe_reading import charge_worth_reading, latest_failure, moment, wants_authentication
from dunning.values import Channel
from tests.activities.shop import Shop, charge


async def test_a_declined_renewal_tells_the_bank_s_codes_and_the_card(shop: Shop) -> None:
    renewal = await shop.renewal(
        "insufficient_funds/try_again_later/51/25", metadata={"timezone": "Europe/Berlin"}
    )
    invoice = (await shop.open(renewal.invoice)).invoice

    assert (invoice.status, invoice.amount_remaining, invoice.currency) == ("open", 1900, "usd")
    assert (invoice.customer, invoice.subscription) == (renewal.customer, renewal.subscription)
    assert (invoice.subscription_status, invoice.billing_reason) == ("past_due", "subscription_cycle")
    assert invoice.zone == "Europe/Berlin"
    failure = invoice.failure
    assert failure is not None
    assert (failure.code, failure.decline_code) == ("card_declined", "insufficient_funds")
    assert (failure.advice_code, failure.network_decline_code, failure.network_advice_code) == (
        "try_again_later", "51", "25",
    )  # fmt: skip
    assert (failure.outcome_type, failure.network_status) == ("issuer_declined", "declined_by_network")
    assert failure.method is not None
    assert (failure.method.id, failure.method.brand) == (renewal.method, "visa")
    assert invoice.method is not None
    assert invoice.method.identity == failure.method.identity


@pytest.mark.parametrize(
    ("outcome", "code", "outcome_type", "reason"),
    [
        ("stolen_card", "stolen_card", "issuer_declined", "stolen_card"),
        ("expired_card", "expired_card", "issuer_declined", "expired_card"),
        ("highest_risk_level", None, "blocked", "highest_risk_level"),
    ],
)
async def test_a_block_of_stripe_s_own_is_told_from_a_decline_of_the_bank(
    shop: Shop, outcome: str, code: str | None, outcome_type: str, reason: str
) -> None:
    renewal = await shop.renewal(outcome)
    failure = (await shop.open(renewal.invoice)).invoice.failure
    assert failure is not None
    assert (failure.outcome_type, failure.outcome_reason) == (outcome_type, reason)
    assert code is None or failure.decline_code == code


async def test_a_payment_that_waits_for_the_customer_s_bank_wants_authentication(shop: Shop) -> None:
    renewal = await shop.renewal("authentication_required")
    first = (await shop.open(renewal.invoice)).invoice
    assert first.failure is not None
    assert {first.failure.code, first.failure.decline_code} & {
        "invoice_payment_intent_requires_action", "authentication_required",
    }  # fmt: skip


async def test_a_bank_that_wants_the_customer_after_a_decline_is_the_newer_failure(shop: Shop) -> None:
    renewal = await shop.renewal("insufficient_funds", "authentication_required")
    state = await shop.open(renewal.invoice)
    await shop.control.advance(86400)
    await shop.run(shop.billing.charge, charge(state.ref))
    failure = (await shop.read(state.ref)).failure
    assert failure is not None
    assert state.invoice.failure is not None
    assert wants_authentication(failure)
    assert failure.at > state.invoice.failure.at


async def test_a_failure_without_a_charge_is_the_same_failure_when_read_again(shop: Shop) -> None:
    renewal = await shop.renewal("authentication_required")
    state = await shop.open(renewal.invoice)
    await shop.control.advance(3600)
    again = await shop.read(state.ref)
    assert state.invoice.failure is not None
    assert again.failure == state.invoice.failure
    assert again.read_at - state.invoice.read_at >= timedelta(hours=1)


def test_a_decline_is_still_known_after_stripe_wiped_the_last_error() -> None:
    intent = {"id": "pi_1", "status": "requires_payment_method", "created": 1, "latest_charge": "ch_1"}
    payment = {"type": "payment_intent", "payment_intent": intent}
    row = {"id": "inpay_1", "status": "open", "is_default": True, "payment": payment}
    invoice = parse_dict(StripeInvoice, {"id": "in_1", "status": "open", "payments": {"data": [row]}})
    outcome = {"type": "issuer_declined", "reason": "do_not_honor", "network_status": "declined_by_network"}
    charge = parse_dict(
        StripeCharge,
        {"id": "ch_1", "created": 5, "status": "failed", "failure_code": "card_declined", "outcome": outcome},
    )
    assert charge_worth_reading(invoice) == "ch_1"
    failure = latest_failure(invoice, charge)
    assert failure is not None
    assert (failure.code, failure.decline_code, failure.at) == ("card_declined", "do_not_honor", moment(5))


def test_an_answer_of_another_shape_is_refused_by_its_fields_not_its_values() -> None:
    with pytest.raises(ApplicationError) as refused:
        parse_dict(StripeInvoice, {"id": "in_1", "amount_due": "ada@customer.example"})
    assert refused.value.type == "StripeAnswerUnreadable"
    assert "amount_due" in refused.value.message
    assert "ada@" not in refused.value.message


async def test_a_bank_debit_under_way_is_processing_and_no_failure(shop: Shop) -> None:
    renewal = await shop.renewal("processing")
    invoice = (await shop.open(renewal.invoice)).invoice
    assert invoice.processing
    assert invoice.failure is None


async def test_the_method_is_the_one_stripe_would_charge(shop: Shop) -> None:
    renewal = await shop.renewal("insufficient_funds")
    state = await shop.open(renewal.invoice)
    mine, ours, this = [await shop.card(renewal.customer, "succeeded") for _ in range(3)]

    await shop.stripe.customers.update_async(
        renewal.customer, {"invoice_settings": {"default_payment_method": mine}}
    )
    assert (await _method(shop, state.ref)) == renewal.method  # the subscription's goes before the customer's
    await shop.stripe.subscriptions.update_async(renewal.subscription, {"default_payment_method": ours})
    assert (await _method(shop, state.ref)) == ours
    await shop.stripe.invoices.update_async(renewal.invoice, {"default_payment_method": this})
    assert (await _method(shop, state.ref)) == this
    await shop.stripe.invoices.update_async(renewal.invoice, {"default_payment_method": ""})
    await shop.stripe.subscriptions.update_async(renewal.subscription, {"default_payment_method": ""})
    assert (await _method(shop, state.ref)) == mine


async def test_a_card_updated_by_its_network_is_another_method_under_the_same_id(shop: Shop) -> None:
    renewal = await shop.renewal("expired_card")
    state = await shop.open(renewal.invoice)
    await shop.control.automatic_update(renewal.method, 11, 2031)
    after = await shop.read(state.ref)
    assert state.invoice.method is not None
    assert after.method is not None
    assert after.method.id == state.invoice.method.id
    assert after.method.identity != state.invoice.method.identity


async def test_an_invoice_paid_outside_stripe_is_told_from_one_paid_by_card(shop: Shop) -> None:
    by_hand, by_card = (
        await shop.renewal("insufficient_funds"),
        await shop.renewal("insufficient_funds", "succeeded"),
    )
    first, second = await shop.open(by_hand.invoice), await shop.open(by_card.invoice)
    await shop.pay_by_hand(by_hand.invoice)
    await shop.stripe.invoices.pay_async(by_card.invoice, {"payment_method": by_card.method})

    outside, inside = await shop.read(first.ref), await shop.read(second.ref)
    assert (outside.status, outside.paid_out_of_band, outside.paying_method) == ("paid", True, None)
    assert (inside.status, inside.paid_out_of_band) == ("paid", False)
    assert inside.paying_method is not None
    assert inside.paying_method.id == by_card.method
    assert inside.failure is None


async def test_an_unknown_invoice_is_gone(shop: Shop) -> None:
    renewal = await shop.renewal("insufficient_funds")
    state = await shop.open(renewal.invoice)
    invoice = await shop.read(state.ref.model_copy(update={"invoice_id": "in_nowhere"}))
    assert invoice.status == "gone"


async def test_nothing_personal_leaves_the_activity(shop: Shop) -> None:
    renewal = await shop.renewal("insufficient_funds", phone="+15005550177", metadata={"sms_consent": "yes"})
    told = json.dumps((await shop.open(renewal.invoice)).model_dump(mode="json"))
    for secret in ("ada@", r"\bAda", "5005550177", "http", r"\b4242"):  # within an id it is chance
        assert not re.search(secret, told)


# --- channels -----------------------------------------------------------------------------------------


async def test_email_needs_no_consent_and_sms_does(shop: Shop) -> None:
    renewal = await shop.renewal("insufficient_funds")
    assert (await shop.open(renewal.invoice)).invoice.channels == (Channel.EMAIL,)


async def test_a_consent_in_the_customer_s_metadata_is_recorded_once(shop: Shop) -> None:
    renewal = await shop.renewal("insufficient_funds", metadata={"sms_consent": "Yes"})
    state = await shop.open(renewal.invoice)
    await shop.control.advance(60)
    assert (await shop.read(state.ref)).channels == (Channel.EMAIL, Channel.SMS)
    said = await shop.ledger.consents.history("", renewal.customer)
    assert [(s.channel, s.state, s.source) for s in said] == [
        (Channel.SMS, "granted", "stripe customer metadata")
    ]


async def test_a_revoked_consent_stays_revoked_whatever_the_metadata_says(shop: Shop) -> None:
    renewal = await shop.renewal("insufficient_funds", metadata={"sms_consent": "true"})
    state = await shop.open(renewal.invoice)
    for channel in (Channel.SMS, Channel.EMAIL):
        await shop.ledger.consents.set(
            account="", customer=renewal.customer, channel=channel, state="revoked", source="support",
            at=await shop.control.now() + timedelta(seconds=1), by="kim",
        )  # fmt: skip
    assert (await shop.read(state.ref)).channels == ()


async def test_a_customer_without_addresses_has_no_channel(shop: Shop) -> None:
    renewal = await shop.renewal("insufficient_funds", email="", phone="", metadata={"sms_consent": "true"})
    assert (await shop.open(renewal.invoice)).invoice.channels == ()


async def test_a_time_zone_that_is_none_counts_as_unknown(shop: Shop) -> None:
    renewal = await shop.renewal("insufficient_funds", metadata={"timezone": "Mars/Olympus"})
    assert (await shop.open(renewal.invoice)).invoice.zone is None


async def _method(shop: Shop, ref: object) -> str:
    method = (await shop.read(ref)).method  # type: ignore[arg-type]
    assert method is not None
    return method.id
