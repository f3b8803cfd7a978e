"""The life of a subscription: pauses, cancellation, Stripe's own retries, what the clock brings."""

from __future__ import annotations

from datetime import timedelta

import pytest
import stripe
from stripe_scene import default_intent, events, sdk, subscriber

from sandbox.control_client import ControlClient


@pytest.mark.parametrize(
    ("behavior", "status", "attempts"),
    [("void", "void", 0), ("mark_uncollectible", "uncollectible", 0), ("keep_as_draft", "draft", 0)],
)
async def test_a_paused_collection_makes_invoices_that_nobody_pays(
    sandbox: ControlClient, behavior: str, status: str, attempts: int
) -> None:
    ada = await subscriber(sandbox, "succeeded,insufficient_funds")
    paused = await ada.client.v1.subscriptions.update_async(
        ada.subscription.id,
        {"pause_collection": {"behavior": behavior}},
    )
    assert paused.status == "active", "pause_collection leaves the status alone"
    assert paused.pause_collection is not None

    invoice = await ada.renew()

    assert (invoice.status, invoice.attempt_count) == (status, attempts)
    assert await ada.status() == "active"
    resumed = await ada.client.v1.subscriptions.update_async(ada.subscription.id, {"pause_collection": ""})
    assert resumed.pause_collection is None
    assert (await ada.renew()).status == "open"
    kinds = {event.type for event in await events(ada.client, "customer.subscription.*")}
    assert "customer.subscription.paused" not in kinds


async def test_a_paused_collection_resumes_when_its_time_comes(sandbox: ControlClient) -> None:
    ada = await subscriber(sandbox, "succeeded")
    resumes = int((await sandbox.now()).timestamp()) + 3 * 86400
    await ada.client.v1.subscriptions.update_async(
        ada.subscription.id, {"pause_collection": {"behavior": "void", "resumes_at": resumes}}
    )
    await sandbox.advance(3 * 86400 + 1)
    found = await ada.client.v1.subscriptions.retrieve_async(ada.subscription.id)
    assert found.pause_collection is None


async def test_a_canceled_subscription_can_only_settle_its_debts(sandbox: ControlClient) -> None:
    ada = await subscriber(sandbox, "succeeded,insufficient_funds,succeeded")
    invoice = await ada.renew()

    ended = await ada.client.v1.subscriptions.cancel_async(ada.subscription.id)

    assert ended.status == "canceled"
    assert (await ada.invoice(invoice.id)).auto_advance is False
    with pytest.raises(stripe.InvalidRequestError):
        await ada.client.v1.subscriptions.cancel_async(ada.subscription.id)
    assert (await ada.pay(invoice, "late")).status == "paid"
    assert await ada.status() == "canceled"
    active = await ada.client.v1.subscriptions.list_async({"customer": ada.customer.id})
    assert active.data == []
    gone = await ada.client.v1.subscriptions.list_async({"customer": ada.customer.id, "status": "canceled"})
    assert [row.id for row in gone.data] == [ada.subscription.id]


async def test_a_subscription_ends_with_its_period(sandbox: ControlClient) -> None:
    ada = await subscriber(sandbox, "succeeded")
    leaving = await ada.client.v1.subscriptions.update_async(
        ada.subscription.id, {"cancel_at_period_end": True}
    )
    assert leaving.cancel_at == leaving["items"].data[0].current_period_end
    await sandbox.advance(32 * 86400)
    assert await ada.status() == "canceled"


async def test_pause_and_resume_change_the_status_and_bill_anew(sandbox: ControlClient) -> None:
    ada = await subscriber(sandbox, "succeeded")
    paused = await ada.client.v1.subscriptions.pause_async(ada.subscription.id)
    assert paused.status == "paused"
    assert paused.status_details is not None
    resumed = await ada.client.v1.subscriptions.resume_async(ada.subscription.id)
    assert resumed.status == "active"
    latest = await ada.client.v1.invoices.retrieve_async(str(resumed.latest_invoice))
    assert (latest.status, latest.amount_paid) == ("paid", 2900)
    kinds = [event.type for event in await events(ada.client, "customer.subscription.*")]
    assert "customer.subscription.paused" in kinds
    assert "customer.subscription.resumed" in kinds


async def test_stripe_retries_by_itself_only_when_told_and_stops_with_auto_advance(
    sandbox: ControlClient,
) -> None:
    ada = await subscriber(sandbox, "succeeded,insufficient_funds,do_not_honor,succeeded")
    start = await sandbox.now()
    tries = [start + timedelta(days=days) for days in (3, 5, 8)]

    invoice = await ada.renew(retries=tries)
    assert invoice.next_payment_attempt == int((start + timedelta(days=3)).timestamp())
    await sandbox.advance(3 * 86400 + 60)
    second = await ada.invoice(invoice.id)
    assert (second.attempt_count, second.status) == (2, "open")
    assert default_intent(second).last_payment_error.decline_code == "do_not_honor"
    held = await ada.client.v1.invoices.update_async(invoice.id, {"auto_advance": False})
    assert held.next_payment_attempt is None
    await sandbox.advance(3 * 86400)
    assert (await ada.invoice(invoice.id)).attempt_count == 2
    given_back = await ada.client.v1.invoices.update_async(invoice.id, {"auto_advance": True})
    assert given_back.next_payment_attempt is not None
    await sandbox.advance(3 * 86400)
    assert (await ada.invoice(invoice.id)).status == "paid"


async def test_after_a_hard_decline_stripes_retry_counts_without_a_charge(sandbox: ControlClient) -> None:
    ada = await subscriber(sandbox, "succeeded,stolen_card")
    start = await sandbox.now()
    invoice = await ada.renew(retries=[start + timedelta(days=2)])
    await sandbox.advance(2 * 86400 + 60)

    assert (await ada.invoice(invoice.id)).attempt_count == 2
    charges = [row for row in (await sandbox.stripe_books())["charges"] if row["invoice"] == invoice.id]
    assert len(charges) == 1


async def test_an_unpaid_subscription_keeps_new_invoices_as_drafts(sandbox: ControlClient) -> None:
    ada = await subscriber(sandbox, "succeeded,insufficient_funds,succeeded")
    invoice = await ada.renew()
    await sandbox.exhaust_retries(ada.subscription.id, "unpaid")
    assert await ada.status() == "unpaid"

    later = await ada.renew()
    assert (later.status, later.auto_advance) == ("draft", False)
    await ada.pay(invoice, "k")
    assert await ada.status() == "active"


async def test_the_card_updater_brings_a_new_expiry_and_new_luck(sandbox: ControlClient) -> None:
    ada = await subscriber(sandbox, "succeeded,expired_card")
    invoice = await ada.renew()
    assert ada.method.card is not None

    await sandbox.automatic_update(ada.method.id, 7, 2033, last4="4321", outcomes="succeeded")

    told = (await events(ada.client, "payment_method.automatically_updated"))[-1]
    assert told.data.object["id"] == ada.method.id
    assert told.data.previous_attributes is not None
    assert told.data.previous_attributes["card"]["last4"] == "4242"
    assert (await ada.pay(invoice, "renewed")).status == "paid"


async def test_a_first_invoice_that_fails_leaves_an_incomplete_subscription(sandbox: ControlClient) -> None:
    ada = await subscriber(sandbox, "insufficient_funds")
    assert ada.subscription.status == "incomplete"
    first = await ada.invoice(str(ada.subscription.latest_invoice))
    assert (first.billing_reason, first.status) == ("subscription_create", "open")
    await sandbox.advance(24 * 3600)
    assert await ada.status() == "incomplete_expired"
    assert (await ada.invoice(first.id)).status == "void"


async def test_a_subscription_that_must_be_paid_at_once_is_refused_whole(sandbox: ControlClient) -> None:
    with pytest.raises(stripe.CardError):
        await subscriber(sandbox, "do_not_honor", payment_behavior="error_if_incomplete")
    assert (await sandbox.stripe_books())["subscriptions"] == []


async def test_an_unconfirmed_first_invoice_waits(sandbox: ControlClient) -> None:
    ada = await subscriber(sandbox, "succeeded", payment_behavior="default_incomplete")
    assert ada.subscription.status == "incomplete"
    first = await ada.invoice(str(ada.subscription.latest_invoice))
    assert (first.attempted, first.status) == (False, "open")
    await ada.pay(first, "first")
    assert await ada.status() == "active"


async def test_a_refund_gives_money_back_once(sandbox: ControlClient) -> None:
    ada = await subscriber(sandbox, "succeeded")
    first = await ada.invoice(str(ada.subscription.latest_invoice))
    charge = default_intent(first).latest_charge
    await ada.client.v1.refunds.create_async({"charge": charge, "amount": 900})
    await ada.client.v1.refunds.create_async({"charge": charge})
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        await ada.client.v1.refunds.create_async({"charge": charge})
    assert refusal.value.code == "charge_already_refunded"
    found = await ada.client.v1.charges.retrieve_async(charge)
    assert (found.amount_refunded, found.refunded) == (2900, True)


async def test_a_setup_intent_stores_a_card(sandbox: ControlClient) -> None:
    client = sdk(sandbox)
    customer = await client.v1.customers.create_async({})
    made = await client.v1.setup_intents.create_async(
        {"customer": customer.id, "payment_method": "pm_card_visa", "confirm": True}
    )
    assert made.status == "succeeded"
    cards = await client.v1.customers.payment_methods.list_async(customer.id)
    assert [row.id for row in cards.data] == [made.payment_method]
    kinds = [event.type for event in await events(client)]
    assert kinds[-3:] == ["setup_intent.created", "payment_method.attached", "setup_intent.succeeded"]


async def test_a_draft_that_advances_is_finalised_and_paid_after_an_hour(sandbox: ControlClient) -> None:
    ada = await subscriber(sandbox, "succeeded")
    await ada.client.v1.invoice_items.create_async(
        {"customer": ada.customer.id, "amount": 500, "currency": "usd"}
    )
    draft = await ada.client.v1.invoices.create_async(
        {
            "customer": ada.customer.id,
            "pending_invoice_items_behavior": "include",
            "auto_advance": True,
        }
    )
    assert (draft.status, draft.total) == ("draft", 500)
    await sandbox.advance(3601)
    assert (await ada.invoice(draft.id)).status == "paid"


@pytest.mark.parametrize(("card_on_file", "status"), [(True, "active"), (False, "paused")])
async def test_a_trial_ends_with_the_first_bill_or_with_what_was_settled(
    sandbox: ControlClient, card_on_file: bool, status: str
) -> None:
    ada = await subscriber(
        sandbox,
        "succeeded",
        trial_period_days=7,
        trial_settings={"end_behavior": {"missing_payment_method": "pause"}},
    )
    assert ada.subscription.status == "trialing"
    if not card_on_file:
        await ada.client.v1.payment_methods.detach_async(ada.method.id)
    await sandbox.advance(7 * 86400 + 60)
    assert await ada.status() == status


async def test_an_invoice_that_is_sent_is_overdue_after_its_due_date(sandbox: ControlClient) -> None:
    ada = await subscriber(sandbox, "succeeded", collection_method="send_invoice", days_until_due=14)
    assert ada.subscription.status == "active"
    invoice = await ada.invoice(str(ada.subscription.latest_invoice))
    assert (invoice.attempt_count, invoice.next_payment_attempt, invoice.status) == (0, None, "open")
    await sandbox.advance(15 * 86400)
    assert await ada.status() == "past_due"
    await ada.pay(invoice, "at-last")
    assert await ada.status() == "active"
