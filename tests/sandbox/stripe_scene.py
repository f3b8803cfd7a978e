"""The real Stripe SDK pointed at the sandbox, and customers to start a test with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import stripe

from sandbox.control_client import ControlClient


def sdk(sandbox: ControlClient, *, account: str | None = None) -> stripe.StripeClient:
    """A client of the real SDK that retries nothing by itself."""
    return stripe.StripeClient(
        "sk_test_sandbox",
        stripe_account=account,
        base_addresses={"api": sandbox.url},
        http_client=stripe.HTTPXClient(timeout=10, allow_sync_methods=True),
    )


@dataclass
class Subscriber:
    """A customer with a card and a monthly subscription of 29.00 USD whose first invoice is paid."""

    client: stripe.StripeClient
    sandbox: ControlClient
    customer: stripe.Customer
    method: stripe.PaymentMethod
    subscription: stripe.Subscription

    async def renew(self, **how: Any) -> stripe.Invoice:
        """Let the next period begin, and read its invoice with its payments."""
        invoice = await self.sandbox.renew(self.subscription.id, **how)
        return await self.invoice(invoice["id"])

    async def invoice(self, invoice_id: str) -> stripe.Invoice:
        """The invoice with its payments and their PaymentIntents."""
        return await self.client.v1.invoices.retrieve_async(
            invoice_id, {"expand": ["payments.data.payment.payment_intent"]}
        )

    async def status(self) -> str:
        """The status of the subscription."""
        return (await self.client.v1.subscriptions.retrieve_async(self.subscription.id)).status

    async def pay(self, invoice: stripe.Invoice, key: str, **params: Any) -> stripe.Invoice:
        """Pay by the API with an idempotency key."""
        return await self.client.v1.invoices.pay_async(invoice.id, params, {"idempotency_key": key})


async def card(
    client: stripe.StripeClient, customer: str, outcomes: str, token: str = "tok_visa"
) -> stripe.PaymentMethod:
    """A card whose attempts end as `outcomes` says, attached to a customer."""
    method = await client.v1.payment_methods.create_async(
        {"type": "card", "card": {"token": token}, "metadata": {"outcomes": outcomes}}
    )
    return await client.v1.payment_methods.attach_async(method.id, {"customer": customer})


async def subscriber(sandbox: ControlClient, outcomes: str, **subscription: Any) -> Subscriber:
    """A customer whose card answers the first invoice and the following attempts as `outcomes` says."""
    client = sdk(sandbox)
    customer = await client.v1.customers.create_async(
        {"email": "ada@example.com", "name": "Ada", "phone": "+15550001111", "metadata": {"plan": "pro"}}
    )
    method = await card(client, customer.id, outcomes)
    await client.v1.customers.update_async(
        customer.id, {"invoice_settings": {"default_payment_method": method.id}}
    )
    product = await client.v1.products.create_async({"name": "Pro"})
    price = await client.v1.prices.create_async(
        {
            "product": product.id,
            "currency": "usd",
            "unit_amount": 2900,
            "recurring": {"interval": "month"},
        }
    )
    made = await client.v1.subscriptions.create_async(
        {"customer": customer.id, "items": [{"price": price.id}], **subscription}
    )
    return Subscriber(client, sandbox, customer, method, made)


def default_intent(invoice: stripe.Invoice) -> Any:
    """The expanded PaymentIntent of an invoice's default payment."""
    assert invoice.payments is not None
    return next(row for row in invoice.payments.data if row.is_default).payment.payment_intent


async def events(client: stripe.StripeClient, *types: str) -> list[stripe.Event]:
    """All events of these types (all, if none is named), oldest first."""
    params: Any = {"limit": 100, **({"types": list(types)} if types else {})}
    found = [event async for event in (await client.v1.events.list_async(params)).auto_paging_iter()]
    return list(reversed(found))
