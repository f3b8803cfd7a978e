"""A renewal fails, is tried again, and ends: what the real SDK sees."""

from __future__ import annotations

import httpx
import pytest
import stripe
from stripe_scene import card, default_intent, events, subscriber

from sandbox.control_client import ControlClient


async def test_a_failed_renewal_shows_everything_the_engine_reads(sandbox: ControlClient) -> None:
    ada = await subscriber(sandbox, "succeeded,insufficient_funds/try_again_later/51/25,succeeded")
    assert ada.subscription.status == "active"

    invoice = await ada.renew()

    assert (invoice.status, invoice.billing_reason) == ("open", "subscription_cycle")
    assert (invoice.attempt_count, invoice.attempted, invoice.auto_advance) == (1, True, True)
    assert invoice.next_payment_attempt is None
    assert (invoice.amount_due, invoice.amount_remaining, invoice.currency) == (2900, 2900, "usd")
    assert (invoice.customer_email, invoice.customer_phone) == ("ada@example.com", "+15550001111")
    assert invoice.parent is not None
    assert invoice.parent.subscription_details is not None
    assert invoice.parent.subscription_details.subscription == ada.subscription.id
    assert not {"subscription", "charge", "paid", "payment_intent"} & set(invoice.to_dict())
    error = default_intent(invoice).last_payment_error
    assert (error.code, error.decline_code) == ("card_declined", "insufficient_funds")
    assert (error.advice_code, error.network_decline_code) == ("try_again_later", "51")
    assert error.network_advice_code == "25"
    charge = await ada.client.v1.charges.retrieve_async(default_intent(invoice).latest_charge)
    assert charge.outcome is not None
    assert (charge.status, charge.failure_code) == ("failed", "card_declined")
    assert (charge.outcome.type, charge.outcome.network_status, charge.outcome.reason) == (
        "issuer_declined",
        "declined_by_network",
        "insufficient_funds",
    )
    assert await ada.status() == "past_due"
    assert (await ada.client.v1.customers.retrieve_async(ada.customer.id)).delinquent is True


async def test_a_second_try_recovers_the_invoice_and_the_subscription(sandbox: ControlClient) -> None:
    ada = await subscriber(sandbox, "succeeded,insufficient_funds,do_not_honor,succeeded")
    invoice = await ada.renew()

    with pytest.raises(stripe.CardError) as refusal:
        await ada.pay(invoice, "try-2")
    error = refusal.value.error
    assert error is not None
    assert (refusal.value.http_status, refusal.value.code) == (402, "card_declined")
    assert error.decline_code == "do_not_honor"
    assert error.payment_intent is not None
    assert error.payment_intent["status"] == "requires_payment_method"
    assert (await ada.invoice(invoice.id)).attempt_count == 1, "manual attempts do not count"

    paid = await ada.pay(invoice, "try-3")

    assert (paid.status, paid.amount_remaining, paid.auto_advance) == ("paid", 0, False)
    intent = default_intent(await ada.invoice(invoice.id))
    assert (intent.status, intent.last_payment_error) == ("succeeded", None)
    assert await ada.status() == "active"
    books = await sandbox.stripe_books()
    tries = [row for row in books["charges"] if row["invoice"] == invoice.id]
    assert [(row["status"], row["idempotency_key"]) for row in tries] == [
        ("failed", None),
        ("failed", "try-2"),
        ("succeeded", "try-3"),
    ]
    assert books["doubly_charged"] == []


async def test_a_paid_a_void_and_a_missing_invoice_cannot_be_paid(sandbox: ControlClient) -> None:
    ada = await subscriber(sandbox, "succeeded,insufficient_funds")
    first, second = await ada.renew(), await ada.renew()
    await ada.client.v1.invoices.void_invoice_async(second.id)

    with pytest.raises(stripe.InvalidRequestError, match="already paid") as paid:
        await ada.pay(await ada.invoice(str(ada.subscription.latest_invoice)), "k1")
    with pytest.raises(stripe.InvalidRequestError, match="void"):
        await ada.pay(second, "k2")
    with pytest.raises(stripe.InvalidRequestError, match="No such invoice: 'in_gone'") as missing:
        await ada.client.v1.invoices.pay_async("in_gone")
    assert paid.value.http_status == 400
    assert (missing.value.http_status, missing.value.code) == (404, "resource_missing")
    assert first.status == "open"


async def test_only_the_latest_invoice_moves_the_subscription(sandbox: ControlClient) -> None:
    ada = await subscriber(sandbox, "succeeded,insufficient_funds,insufficient_funds,succeeded")
    older, latest = await ada.renew(), await ada.renew()

    await ada.pay(older, "older")
    assert await ada.status() == "past_due"
    await ada.client.v1.invoices.void_invoice_async(latest.id)
    assert await ada.status() == "active", "the invoice before the void one is paid"


async def test_an_uncollectible_invoice_can_still_be_paid(sandbox: ControlClient) -> None:
    ada = await subscriber(sandbox, "succeeded,insufficient_funds,succeeded")
    invoice = await ada.renew()

    written_off = await ada.client.v1.invoices.mark_uncollectible_async(invoice.id)
    assert (written_off.status, written_off.auto_advance) == ("uncollectible", False)
    assert (await ada.pay(invoice, "late")).status == "paid"


async def test_an_invoice_paid_outside_of_stripe_has_no_charge(sandbox: ControlClient) -> None:
    ada = await subscriber(sandbox, "succeeded,insufficient_funds")
    invoice = await ada.renew()

    paid = await ada.pay(invoice, "cash", paid_out_of_band=True)

    assert paid.status == "paid"
    kinds = [event.type for event in await events(ada.client, "invoice.paid", "invoice.payment_succeeded")]
    assert kinds.count("invoice.paid") == kinds.count("invoice.payment_succeeded") + 1
    intent = default_intent(await ada.invoice(invoice.id))
    assert intent.status == "canceled"


async def test_authentication_is_asked_for_and_done_on_the_hosted_page(sandbox: ControlClient) -> None:
    ada = await subscriber(sandbox, "succeeded,insufficient_funds,authentication_required")
    invoice = await ada.renew()

    with pytest.raises(stripe.CardError) as refusal:
        await ada.pay(invoice, "sca")
    assert refusal.value.code == "invoice_payment_intent_requires_action"
    waiting = await ada.invoice(invoice.id)
    assert default_intent(waiting).status == "requires_action"
    assert waiting.hosted_invoice_url is not None

    async with httpx.AsyncClient() as browser:
        assert "Still due: 2900 USD" in (await browser.get(waiting.hosted_invoice_url)).text
        answer = await browser.post(waiting.hosted_invoice_url)
    assert answer.status_code == 200
    assert "paid" in answer.text
    assert (await ada.invoice(invoice.id)).status == "paid"
    assert await ada.status() == "active"
    asked = await events(ada.client, "invoice.payment_action_required")
    assert [event.data.object["id"] for event in asked] == [invoice.id]
    last = (await sandbox.stripe_books())["attempts"][-1]
    assert (last["initiator"], last["payment_method"]) == ("customer", ada.method.id)


async def test_the_customer_pays_on_the_hosted_page_with_a_new_card(sandbox: ControlClient) -> None:
    ada = await subscriber(sandbox, "succeeded,lost_card")
    invoice = await ada.renew()
    assert invoice.hosted_invoice_url is not None

    async with httpx.AsyncClient() as browser:
        refused = await browser.post(invoice.hosted_invoice_url, data={"outcome": "do_not_honor"})
        assert refused.status_code == 402
        paid = await browser.post(invoice.hosted_invoice_url, data={"card": "5555555555554444", "save": "1"})
        again = await browser.post(invoice.hosted_invoice_url, data={"card": "5555555555554444"})
    assert (paid.status_code, again.status_code) == (200, 200)
    books = await sandbox.stripe_books()
    mine = [row for row in books["charges"] if row["invoice"] == invoice.id]
    assert [(row["status"], row["initiator"]) for row in mine] == [
        ("failed", "stripe"),
        ("failed", "customer"),
        ("succeeded", "customer"),
    ]
    paid_event = (await events(ada.client, "invoice.paid"))[-1]
    assert paid_event.request is not None
    assert (paid_event.request.id, paid_event.request.idempotency_key) == (None, None)


async def test_a_card_replaced_in_the_portal_is_the_default_but_charges_nothing(
    sandbox: ControlClient,
) -> None:
    ada = await subscriber(sandbox, "succeeded,expired_card")
    invoice = await ada.renew()
    session = await ada.client.v1.billing_portal.sessions.create_async(
        {"customer": ada.customer.id, "flow_data": {"type": "payment_method_update"}}
    )

    async with httpx.AsyncClient() as browser:
        assert (await browser.post(session.url, data={"card": "5555555555554444"})).status_code == 200

    customer = await ada.client.v1.customers.retrieve_async(
        ada.customer.id, {"expand": ["invoice_settings.default_payment_method"]}
    )
    assert customer.invoice_settings is not None
    assert customer.invoice_settings.default_payment_method.card.brand == "mastercard"  # type: ignore[union-attr]
    assert (await ada.invoice(invoice.id)).status == "open"
    assert (await ada.pay(invoice, "new-card")).status == "paid"


async def test_a_payment_that_is_processing_ends_later(sandbox: ControlClient) -> None:
    ada = await subscriber(sandbox, "succeeded,processing")
    invoice = await ada.renew()
    assert default_intent(invoice).status == "processing"
    with pytest.raises(stripe.InvalidRequestError, match="still processing"):
        await ada.pay(invoice, "too-early")

    await sandbox.settle(invoice.id, "insufficient_funds")

    intent = default_intent(await ada.invoice(invoice.id))
    assert intent.last_payment_error.decline_code == "insufficient_funds"
    assert await ada.status() == "past_due"


async def test_the_order_in_which_stripe_picks_a_method(sandbox: ControlClient) -> None:
    ada = await subscriber(sandbox, "succeeded,insufficient_funds")
    invoice = await ada.renew()
    of_subscription = await card(ada.client, ada.customer.id, "do_not_honor")
    of_invoice = await card(ada.client, ada.customer.id, "lost_card")
    await ada.client.v1.subscriptions.update_async(
        ada.subscription.id, {"default_payment_method": of_subscription.id}
    )

    async def charged(key: str) -> str | None:
        with pytest.raises(stripe.CardError) as refusal:
            await ada.pay(invoice, key)
        assert refusal.value.error is not None
        return refusal.value.error.decline_code

    assert await charged("a") == "do_not_honor"
    await ada.client.v1.invoices.update_async(invoice.id, {"default_payment_method": of_invoice.id})
    assert await charged("b") == "lost_card"


async def test_a_radar_block_never_reaches_the_network(sandbox: ControlClient) -> None:
    ada = await subscriber(sandbox, "succeeded,highest_risk_level")
    invoice = await ada.renew()

    charge = await ada.client.v1.charges.retrieve_async(default_intent(invoice).latest_charge)

    assert charge.outcome is not None
    assert (charge.outcome.type, charge.outcome.network_status) == ("blocked", "not_sent_to_network")
    assert (charge.outcome.reason, charge.outcome.advice_code) == ("highest_risk_level", "do_not_try_again")


async def test_what_a_renewal_will_cost_is_told_beforehand(sandbox: ControlClient) -> None:
    ada = await subscriber(sandbox, "succeeded")
    end = ada.subscription["items"]["data"][0]["current_period_end"]

    preview = await ada.client.v1.invoices.create_preview_async({"subscription": ada.subscription.id})
    assert (preview.amount_due, preview.currency, preview.status) == (2900, "usd", "draft")
    assert (preview.billing_reason, preview.period_end) == ("upcoming", end)

    await sandbox.announce(ada.subscription.id)
    (event,) = await events(ada.client, "invoice.upcoming")
    assert "id" not in event.data.object
    assert event.data.object["parent"]["subscription_details"]["subscription"] == ada.subscription.id
    assert len((await ada.client.v1.invoices.list_async()).data) == 1, "it is no invoice yet"


async def test_a_subscription_that_ends_has_no_next_invoice(sandbox: ControlClient) -> None:
    ada = await subscriber(sandbox, "succeeded")
    await ada.client.v1.subscriptions.update_async(ada.subscription.id, {"cancel_at_period_end": True})

    with pytest.raises(stripe.InvalidRequestError) as refusal:
        await ada.client.v1.invoices.create_preview_async({"subscription": ada.subscription.id})

    assert refusal.value.code == "invoice_upcoming_none"
