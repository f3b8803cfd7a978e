"""The link in a message: to the customer's page where there is one, else to Stripe's hosted invoice page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dunning import links
from dunning.case import CaseRef
from dunning.decision import Order, Send
from ledger import Ledger


@dataclass(frozen=True)
class PageLinks:
    """Makes links to the page at `base` (PUBLIC_BASE_URL), with tokens under `key` (DUNNING_SECRET_KEY)."""

    base: str
    key: str

    async def make(self, ledger: Ledger, order: Order, send: Send, customer: str, at: datetime) -> str:
        """The address for this message. The same message, tried again, gets the same one."""
        token = links.token(self.key, order.ref.case_id, send.step, send.channel)
        await ledger.links.make(
            links.digest(token),
            purpose=links.PAGE,
            case_id=order.ref.case_id,
            account=order.ref.account,
            customer=customer,
            channel=send.channel,
            at=at,
            expires_at=at + links.LIFE,
        )
        return links.address(self.base, token)

    def preview(self, ref: CaseRef) -> str:
        """The address at which an operator sees the page of a case."""
        return links.preview_address(self.base, ref.account, ref.invoice_id)
