"""Stripe's wire protocol: encoding, expansion, pages, errors, idempotency keys, signed webhooks."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import httpx
import pytest
import stripe
from stripe_scene import Subscriber, card, default_intent, events, sdk, subscriber
from webhook_receiver import Receiver

from sandbox.control_client import ControlClient
from sandbox.stripe.cards import DECLINES
from sandbox.stripe.forms import parse

KEY = {"Authorization": "Bearer sk_test_sandbox"}


def raw(sandbox: ControlClient, key: str | None = None) -> httpx.AsyncClient:
    """A plain HTTP client, with an idempotency key if one is given."""
    return httpx.AsyncClient(
        base_url=sandbox.url, headers={**KEY, **({"Idempotency-Key": key} if key else {})}
    )


def test_brackets_become_nested_values() -> None:
    sent = (
        "items[0][price]=price_1&items[0][quantity]=2&items[1][price]=price_2&expand[]=a&expand[]=b&x[y][z]=1"
    )
    assert parse(sent) == {
        "items": {"0": {"price": "price_1", "quantity": "2"}, "1": {"price": "price_2"}},
        "expand": ["a", "b"],
        "x": {"y": {"z": "1"}},
    }
    assert parse("a[][p]=1&a[][q]=2&a[][p]=3&pause_collection=") == {
        "a": [{"p": "1", "q": "2"}, {"p": "3"}],
        "pause_collection": "",
    }


def test_every_card_decline_code_of_stripe_can_be_played() -> None:
    assert len(DECLINES) == 50
    assert all(re.fullmatch(r"[a-z_]+", code) for code in DECLINES)
    assert all(row["message"] and row["error_code"] for row in DECLINES.values())


async def test_expansion_goes_four_levels_deep_and_no_deeper(sandbox: ControlClient) -> None:
    ada = await subscriber(sandbox, "succeeded,insufficient_funds")
    invoice = await ada.renew()
    assert "payments" not in (await ada.client.v1.invoices.retrieve_async(invoice.id)).to_dict()

    payments = await ada.client.v1.invoice_payments.list_async(
        {"invoice": invoice.id, "expand": ["data.payment.payment_intent.latest_charge"]}
    )
    expanded: Any = payments.data[0].payment.payment_intent
    assert expanded.latest_charge.outcome.reason == "insufficient_funds"
    intent = default_intent(invoice)
    found = await ada.client.v1.invoice_payments.list_async(
        {"payment": {"type": "payment_intent", "payment_intent": intent.id}}
    )
    assert [row.invoice for row in found.data] == [invoice.id]
    subscriptions = await ada.client.v1.subscriptions.list_async(
        {"expand": ["data.customer.invoice_settings.default_payment_method"]}
    )
    customer: Any = subscriptions.data[0].customer
    assert customer.invoice_settings.default_payment_method.id == ada.method.id
    with pytest.raises(stripe.InvalidRequestError, match="more than 4 levels"):
        await ada.client.v1.invoices.list_async({"expand": ["data.payments.data.payment.payment_intent"]})
    with pytest.raises(stripe.InvalidRequestError, match=r"cannot be expanded \(flavour\)"):
        await ada.client.v1.invoices.retrieve_async(invoice.id, {"expand": ["flavour"]})


async def test_lists_come_newest_first_in_pages(sandbox: ControlClient) -> None:
    client = sdk(sandbox)
    made = [(await client.v1.customers.create_async({"name": str(number)})).id for number in range(7)]

    first = await client.v1.customers.list_async({"limit": 3})
    assert ([row.id for row in first.data], first.has_more) == (made[:3:-1], True)
    everyone = [row.id async for row in first.auto_paging_iter()]
    assert everyone == made[::-1]
    before = await client.v1.customers.list_async({"limit": 2, "ending_before": made[3]})
    assert ([row.id for row in before.data], before.has_more) == ([made[5], made[4]], True)
    with pytest.raises(stripe.InvalidRequestError, match="between 1 and 100"):
        await client.v1.customers.list_async({"limit": 101})


async def test_a_wrong_request_is_refused_with_the_parameter_it_is_about(sandbox: ControlClient) -> None:
    client = sdk(sandbox)
    wrong: Any = {"emial": "a@example.com"}
    with pytest.raises(stripe.InvalidRequestError) as unknown:
        await client.v1.customers.create_async(wrong)
    assert (unknown.value.code, unknown.value.param) == ("parameter_unknown", "emial")
    with pytest.raises(stripe.InvalidRequestError) as missing:
        await client.v1.invoices.create_async({})
    assert (missing.value.code, missing.value.param) == ("parameter_missing", "customer")
    with pytest.raises(stripe.InvalidRequestError, match="Invalid outcome 'no_such_code'"):
        await client.v1.payment_methods.create_async(
            {"type": "card", "card": {"token": "tok_visa"}, "metadata": {"outcomes": "no_such_code"}}
        )
    with pytest.raises(stripe.InvalidRequestError, match="Unrecognized request URL") as route:
        await client.raw_request_async("get", "/v1/unicorns")
    assert route.value.http_status == 404
    assert str(route.value.request_id).startswith("req_")


async def test_a_call_without_a_test_key_is_refused(sandbox: ControlClient) -> None:
    async with httpx.AsyncClient(base_url=sandbox.url) as browser:
        assert (await browser.get("/v1/customers")).status_code == 401
        wrong = await browser.get("/v1/customers", headers={"Authorization": "Bearer sk_live_x"})
        basic = await browser.get("/v1/customers", auth=("sk_test_x", ""))
        restricted = await browser.get("/v1/customers", headers={"Authorization": "Bearer rk_x"})
    assert (wrong.status_code, basic.status_code, restricted.status_code) == (401, 200, 200)
    assert "Invalid API Key" in wrong.json()["error"]["message"]
    assert basic.headers["request-id"].startswith("req_")


async def test_accounts_do_not_see_each_other(sandbox: ControlClient) -> None:
    customer = await sdk(sandbox, account="acct_other").v1.customers.create_async({"name": "Eve"})
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        await sdk(sandbox).v1.customers.retrieve_async(customer.id)
    made = (await events(sdk(sandbox, account="acct_other"), "customer.created"))[0]
    assert made.account == "acct_other"


async def test_the_same_key_charges_once_and_replays_the_refusal(sandbox: ControlClient) -> None:
    ada = await subscriber(sandbox, "succeeded,insufficient_funds,do_not_honor,succeeded")
    invoice = await ada.renew()

    async with raw(sandbox, "attempt-2") as http:
        first = await http.post(f"/v1/invoices/{invoice.id}/pay")
        second = await http.post(f"/v1/invoices/{invoice.id}/pay")
        other = await http.post(f"/v1/invoices/{invoice.id}/pay", data={"off_session": "false"})
        elsewhere = await http.post("/v1/customers")
    assert (first.status_code, second.status_code) == (402, 402)
    assert first.content == second.content
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert second.headers["original-request"] == first.headers["request-id"]
    assert (other.status_code, other.json()["error"]["type"]) == (400, "idempotency_error")
    assert (elsewhere.status_code, elsewhere.json()["error"]["type"]) == (400, "idempotency_error")
    attempts = (await sandbox.stripe_books())["attempts"]
    assert [row["idempotency_key"] for row in attempts if row["invoice"] == invoice.id] == [None, "attempt-2"]
    with pytest.raises(stripe.IdempotencyError):
        await ada.pay(invoice, "attempt-2", off_session=False)


async def test_a_key_is_free_again_after_validation_failed_and_after_a_day(sandbox: ControlClient) -> None:
    async with raw(sandbox, "k") as http:
        assert (await http.post("/v1/customers", data={"nope": "1"})).status_code == 400
        first = await http.post("/v1/customers", data={"name": "A"})
        same = await http.post("/v1/customers", data={"name": "A"})
        await sandbox.advance(24 * 3600 + 1)
        later = await http.post("/v1/customers", data={"name": "A"})
    assert first.json()["id"] == same.json()["id"] != later.json()["id"]


async def test_a_key_is_in_use_while_its_first_request_runs(sandbox: ControlClient) -> None:
    ada = await subscriber(sandbox, "succeeded,insufficient_funds,succeeded")
    invoice = await ada.renew()
    async with raw(sandbox, "slow") as http:
        await sandbox.bank_seconds(0.5)
        answers = await asyncio.gather(*(http.post(f"/v1/invoices/{invoice.id}/pay") for _ in range(2)))
        await sandbox.bank_seconds(0)
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert refused.json()["error"]["code"] == "idempotency_key_in_use"
    assert (await sandbox.stripe_books())["doubly_charged"] == []


async def _endpoint(ada: Subscriber, url: str, *kinds: str) -> str:
    params: Any = {"url": url, "enabled_events": list(kinds)}
    made = await ada.client.v1.webhook_endpoints.create_async(params)
    assert made.secret is not None
    listed = (await ada.client.v1.webhook_endpoints.list_async()).data
    assert ["secret" in row.to_dict() for row in listed] == [False]
    return made.secret


async def test_webhooks_are_signed_and_name_the_call_that_caused_them(
    sandbox: ControlClient, receiver: Receiver
) -> None:
    ada = await subscriber(sandbox, "succeeded,insufficient_funds,succeeded")
    secret = await _endpoint(ada, f"{receiver.url}/stripe", "invoice.payment_failed", "invoice.paid")
    receiver.answers = [500]
    invoice = await ada.renew()
    await ada.pay(invoice, "try-2")
    await sandbox.drain()

    got = [
        stripe.Webhook.construct_event(hook.body, hook.headers["stripe-signature"], secret)
        for hook in receiver.received
    ]
    by_type = {event.type: event for event in got}
    assert sorted(event.type for event in got) == ["invoice.paid"] + ["invoice.payment_failed"] * 2
    assert len({event.id for event in got}) == 2, "redelivered under the same id"
    failed, paid = by_type["invoice.payment_failed"], by_type["invoice.paid"]
    assert (failed.request.id, failed.request.idempotency_key) == (None, None)
    assert paid.request.idempotency_key == "try-2"
    assert failed.data.object["id"] == invoice.id
    assert "payments" not in failed.data.object.to_dict()
    assert "decline_code" not in str(failed.data.object)
    assert (failed.api_version, failed.pending_webhooks) == ("2026-10-28.endive", 1)


async def test_events_can_be_filtered(sandbox: ControlClient, receiver: Receiver) -> None:
    ada = await subscriber(sandbox, "succeeded,insufficient_funds,succeeded")
    await _endpoint(ada, f"{receiver.url}/stripe", "invoice.payment_failed")
    receiver.answers = [500] * 4
    await ada.renew()
    await sandbox.drain()

    lost = await ada.client.v1.events.list_async({"delivery_success": False})
    assert [event.type for event in lost.data] == ["invoice.payment_failed"]
    charges = await ada.client.v1.events.list_async({"type": "charge.*"})
    assert [event.type for event in charges.data] == ["charge.failed", "charge.succeeded"]
    updated = (await events(ada.client, "customer.subscription.updated"))[-1]
    assert updated.data.to_dict()["previous_attributes"] == {"status": "active"}
    born = lost.data[0].created
    assert not (await ada.client.v1.events.list_async({"created": {"gt": born + 60}})).data


async def test_what_the_stripe_cli_triggers_for_a_failed_payment(sandbox: ControlClient) -> None:
    """The calls of `stripe trigger invoice.payment_failed` (stripe-cli, pkg/fixtures/triggers)."""
    async with raw(sandbox) as cli:
        customer = (await cli.post("/v1/customers", data={"description": "(created by Stripe CLI)"})).json()
        method = (
            await cli.post(
                "/v1/payment_methods/pm_card_chargeCustomerFail/attach", data={"customer": customer["id"]}
            )
        ).json()
        item = {"amount": 2000, "currency": "usd", "customer": customer["id"], "description": "x"}
        await cli.post("/v1/invoiceitems", data=item)
        draft = {"customer": customer["id"], "pending_invoice_items_behavior": "include", "description": "x"}
        invoice = (await cli.post("/v1/invoices", data=draft)).json()
        paid = await cli.post(f"/v1/invoices/{invoice['id']}/pay", data={"payment_method": method["id"]})
    assert invoice["amount_due"] == 2000
    assert (paid.status_code, paid.json()["error"]["type"]) == (402, "card_error")
    found = await events(sdk(sandbox), "invoice.payment_failed")
    assert [event.data.object["id"] for event in found] == [invoice["id"]]


async def test_decline_cards_cannot_be_attached_unless_they_have_outcomes(sandbox: ControlClient) -> None:
    client = sdk(sandbox)
    customer = await client.v1.customers.create_async({})
    with pytest.raises(stripe.CardError) as refusal:
        await client.v1.payment_methods.attach_async(
            "pm_card_visa_chargeDeclinedInsufficientFunds", {"customer": customer.id}
        )
    assert refusal.value.error is not None
    assert refusal.value.error.decline_code == "insufficient_funds"
    declined = await card(client, customer.id, "expired_card", token="tok_visa_chargeDeclined")
    assert declined.customer == customer.id


async def test_one_card_number_has_one_fingerprint(sandbox: ControlClient) -> None:
    client = sdk(sandbox)
    numbers = ("4242424242424242", "4242424242424242", "5555555555554444")
    prints = []
    for number in numbers:
        made = await client.v1.payment_methods.create_async(
            {"type": "card", "card": {"number": number, "exp_month": 4, "exp_year": 2031}}
        )
        assert made.card is not None
        prints.append(made.card.fingerprint)
    assert prints[0] == prints[1] != prints[2]
