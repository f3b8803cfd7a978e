"""What people do in the demo: through Stripe's SDK, on Stripe's hosted pages, and through our client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import stripe

from sandbox.control_client import ControlClient
from starter.client import DunningClient
from starter.stack import STRIPE_KEY

if TYPE_CHECKING:
    from starter.demo.cast import Role

_CARD = "pm_card_visa"


@dataclass(frozen=True)
class Member:
    """A member of the cast as Stripe knows it."""

    role: Role
    customer: str
    subscription: str
    invoice: str


class Doings:
    """Everything that happens to the engine from outside."""

    def __init__(self, sandbox: str, control: ControlClient, dunning: DunningClient) -> None:
        self._stripe = stripe.StripeClient(
            STRIPE_KEY,
            base_addresses={"api": sandbox},
            max_network_retries=2,
            http_client=stripe.HTTPXClient(timeout=20.0, allow_sync_methods=False),
        ).v1
        self._control, self._dunning = control, dunning
        self._browser = httpx.AsyncClient(timeout=20.0, trust_env=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._browser.aclose()

    async def enter(self, role: Role) -> Member:
        """A customer with a card and a subscription, whose first renewal is about to fail."""
        metadata = {"sms_consent": "yes"} if role.phone else {}
        slug = "".join(c for c in role.name.lower() if c.isascii() and c.isalnum())
        customer = await self._stripe.customers.create_async(
            {
                "name": role.name,
                "email": f"accounts@{slug}.example",
                "metadata": metadata,
                **({"phone": role.phone} if role.phone else {}),
            }
        )
        card = await self._stripe.payment_methods.create_async(
            {
                "type": "card",
                "card": {"token": "tok_visa"},
                "metadata": {"outcomes": role.bank, "fingerprint": f"fp_{slug}"},
            }
        )
        await self._stripe.payment_methods.attach_async(card.id, {"customer": customer.id})
        await self._stripe.customers.update_async(
            customer.id, {"invoice_settings": {"default_payment_method": card.id}}
        )
        price = await self._stripe.prices.create_async(
            {
                "unit_amount": role.amount,
                "currency": role.currency,
                "recurring": {"interval": "month"},
                "product_data": {"name": "Cloud plan"},
            }
        )
        subscription = await self._stripe.subscriptions.create_async(
            {"customer": customer.id, "items": [{"price": price.id}]}
        )
        invoice = await self._control.renew(subscription.id)
        return Member(role, customer.id, subscription.id, invoice["id"])

    async def pay(self, member: Member) -> None:
        """The customer pays on the hosted invoice page, with another card."""
        await self._post(await self._page(member), {"card": "4242424242424242"})

    async def authenticate(self, member: Member) -> None:
        """The customer confirms the waiting payment on the hosted invoice page."""
        await self._post(await self._page(member), {})

    async def new_card(self, member: Member) -> None:
        """The customer replaces the card in the billing portal, and pays nothing there."""
        session = await self._stripe.billing_portal.sessions.create_async({"customer": member.customer})
        await self._post(session.url, {"card": "5555555555554444"})

    async def void(self, member: Member) -> None:
        """The business voids the invoice."""
        await self._stripe.invoices.void_invoice_async(member.invoice)

    async def extend(self, member: Member) -> None:
        """Support grants seven days."""
        await self._dunning.grant_extension(
            member.invoice, days=7, reason="a big customer of theirs pays next week", by="mara@support"
        )

    async def _page(self, member: Member) -> str:
        invoice = await self._stripe.invoices.retrieve_async(member.invoice)
        assert invoice.hosted_invoice_url is not None
        return invoice.hosted_invoice_url

    async def _post(self, page: str, fields: dict[str, str]) -> None:
        (await self._browser.post(page, data=fields)).raise_for_status()
