"""Stripe, faults and control together, through the real SDK: what neither half shows alone."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import stripe
from webhook_receiver import Receiver

from sandbox.control_client import ControlClient, ControlError


def client_of(sandbox: ControlClient) -> stripe.StripeClient:
    return stripe.StripeClient(
        "sk_test_sandbox", base_addresses={"api": sandbox.url}, http_client=stripe.RequestsClient(timeout=5)
    )


async def subscribed(client: stripe.StripeClient, outcomes: str) -> tuple[str, str]:
    """A customer subscribed to a plan of 19.99 USD a month, paid with a card of these outcomes."""

    def make() -> tuple[str, str]:
        customer = client.v1.customers.create({"email": "anna@example.com"})
        method = client.v1.payment_methods.create(
            {"type": "card", "card": {"token": "tok_visa"}, "metadata": {"outcomes": outcomes}}
        )
        client.v1.payment_methods.attach(method.id, {"customer": customer.id})
        client.v1.customers.update(customer.id, {"invoice_settings": {"default_payment_method": method.id}})
        product = client.v1.products.create({"name": "Pro"})
        price = client.v1.prices.create(
            {
                "product": product.id,
                "unit_amount": 1999,
                "currency": "usd",
                "recurring": {"interval": "month"},
            }
        )
        subscription = client.v1.subscriptions.create(
            {"customer": customer.id, "items": [{"price": price.id}]}
        )
        return subscription.id, method.id

    return await asyncio.to_thread(make)


async def test_a_renewal_fails_and_its_webhook_is_signed(sandbox: ControlClient, receiver: Receiver) -> None:
    client = client_of(sandbox)
    endpoint = await asyncio.to_thread(
        client.v1.webhook_endpoints.create,
        {"url": f"{receiver.url}/stripe", "enabled_events": ["invoice.payment_failed"]},
    )
    subscription, _ = await subscribed(client, "succeeded,insufficient_funds,succeeded")
    invoice = await sandbox.renew(subscription)
    await sandbox.drain()

    [got] = receiver.received
    event = stripe.Webhook.construct_event(  # type: ignore[no-untyped-call]
        got.body, got.headers["stripe-signature"], endpoint.secret
    )
    assert event.data.object["id"] == invoice["id"]
    books = await sandbox.stripe_books()
    assert [charge["status"] for charge in books["charges"]] == ["succeeded", "failed"]
    assert await sandbox.stripe_books("charges") == {"charges": books["charges"]}
    assert [seen.event_id for seen in await sandbox.deliveries(service="stripe")] == [event.id]


@pytest.mark.parametrize("card_of", ["customer", "subscription"])
async def test_a_subscriber_of_long_ago_has_paid_and_no_webhook_tells_of_it(
    sandbox: ControlClient, receiver: Receiver, card_of: Any
) -> None:
    client = client_of(sandbox)
    hook: Any = {"url": f"{receiver.url}/stripe", "enabled_events": ["*"]}
    await asyncio.to_thread(client.v1.webhook_endpoints.create, hook)
    made = await sandbox.subscribe(
        customer={"email": "anna@example.com", "metadata": {"plan": "pro"}},
        card={"card": {"token": "tok_visa"}, "metadata": {"outcomes": "succeeded,insufficient_funds"}},
        price={"unit_amount": "1999", "currency": "eur", "product_data": {"name": "Pro"}},
        card_of=card_of,
    )
    await sandbox.drain()
    assert receiver.received == []
    books = await sandbox.stripe_books()
    assert "invoice.paid" in [event["type"] for event in books["events"]]
    [customer], [subscription], [paid] = books["customers"], books["subscriptions"], books["invoices"]
    assert (customer["email"], customer["metadata"]) == ("anna@example.com", {"plan": "pro"})
    assert (paid["status"], paid["amount_paid"], paid["currency"]) == ("paid", 1999, "eur")
    defaults = {
        "customer": customer["invoice_settings"]["default_payment_method"],
        "subscription": subscription["default_payment_method"],
    }
    assert [of for of, method in defaults.items() if method == made["payment_method"]] == [card_of]

    assert (await sandbox.renew(made["subscription"]))["status"] == "open"
    await sandbox.drain()
    assert b"invoice.payment_failed" in b"".join(got.body for got in receiver.received)


async def test_a_subscriber_that_stripe_would_refuse_is_refused_and_webhooks_go_on(
    sandbox: ControlClient, receiver: Receiver
) -> None:
    client = client_of(sandbox)
    hook: Any = {"url": f"{receiver.url}/stripe", "enabled_events": ["customer.created"]}
    await asyncio.to_thread(client.v1.webhook_endpoints.create, hook)
    card = {"card": {"token": "tok_none_such"}}
    with pytest.raises(ControlError, match="No such token"):
        await sandbox.subscribe(customer={}, card=card, price={"unit_amount": "1", "currency": "usd"})
    await asyncio.to_thread(client.v1.customers.create, {})
    await sandbox.drain()
    assert len(receiver.received) == 1


@pytest.mark.parametrize(("kind", "charges"), [("drop_before", 2), ("drop_after", 3), ("status_after", 3)])
async def test_a_payment_whose_answer_is_lost_is_safe_to_repeat(
    sandbox: ControlClient, kind: Any, charges: int
) -> None:
    client = client_of(sandbox)
    subscription, _ = await subscribed(client, "succeeded,insufficient_funds,succeeded")
    invoice = await sandbox.renew(subscription)
    await sandbox.fault(kind, service="stripe", path="/pay$")

    def pay() -> stripe.Invoice:
        return client.v1.invoices.pay(invoice["id"], options={"idempotency_key": "attempt-2"})

    with pytest.raises((stripe.APIConnectionError, stripe.APIError)):
        await asyncio.to_thread(pay)
    assert len((await sandbox.stripe_books())["charges"]) == charges

    assert (await asyncio.to_thread(pay)).status == "paid"
    books = await sandbox.stripe_books()
    assert [charge["status"] for charge in books["charges"]] == ["succeeded", "failed", "succeeded"]
    assert books["doubly_charged"] == []


async def test_stripe_retries_by_itself_when_the_clock_says_so(sandbox: ControlClient) -> None:
    client = client_of(sandbox)
    subscription, _ = await subscribed(client, "succeeded,insufficient_funds,succeeded")
    due = await sandbox.now() + timedelta(days=3)
    invoice = await sandbox.renew(subscription, retries=[due])
    await sandbox.set_clock(due + timedelta(seconds=1))

    paid = await asyncio.to_thread(client.v1.invoices.retrieve, invoice["id"])
    assert (paid.status, paid.attempt_count) == ("paid", 2)


async def test_the_card_updater_and_the_customer_bring_new_cards(sandbox: ControlClient) -> None:
    client = client_of(sandbox)
    _, method = await subscribed(client, "succeeded")
    updated = await sandbox.automatic_update(method, 12, 2040)
    assert (updated["card"]["exp_month"], updated["card"]["exp_year"]) == (12, 2040)

    replaced = await sandbox.replace_card(updated["customer"], outcomes="succeeded")
    customer = await asyncio.to_thread(client.v1.customers.retrieve, updated["customer"])
    assert customer.invoice_settings is not None
    assert customer.invoice_settings.default_payment_method == replaced["id"]


async def test_what_stripe_does_not_know_is_refused_as_control_refuses(sandbox: ControlClient) -> None:
    with pytest.raises(ControlError, match="No such subscription: 'sub_none'") as unknown:
        await sandbox.renew("sub_none")
    assert unknown.value.status == 404
    with pytest.raises(ControlError, match="exp_month"):
        await sandbox.automatic_update("pm_1", 13, 2040)


async def test_reset_empties_the_books(sandbox: ControlClient) -> None:
    await subscribed(client_of(sandbox), "succeeded")
    await sandbox.reset()

    books = await sandbox.stripe_books()
    assert (books["charges"], books["customers"], books["events"]) == ([], [], [])
