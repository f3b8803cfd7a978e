"""What tests of activities begin with: customers, failed renewals, cases, and a way to run an activity."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import uuid4

from temporalio.testing import ActivityEnvironment

from activities.billing import StripeBilling
from activities.context import Deps
from activities.email import ProviderEmail
from activities.mailer import SendGridMailer
from activities.sms import ProviderSms
from activities.texter import TwilioTexter
from activities.unsubscribing import UnsubscribeLinks
from dunning.case import CaseRef, CaseState
from dunning.decision import Action, Charge, OpenOrder, Order, ReadInvoice, Send, Start
from dunning.facts import Invoice
from dunning.values import Channel, Outcome, Stage
from ledger.records import CaseSummary
from sandbox.control_client import ControlClient
from sandbox.twilio import ACCOUNT_SID, AUTH_TOKEN

BASE = "https://billing.example.com"
Given = TypeVar("Given")
Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True)
class Renewal:
    """A renewal whose first payment failed."""

    invoice: str
    subscription: str
    customer: str
    method: str


def _card(*outcomes: str, token: str = "tok_visa", fingerprint: str = "") -> dict[str, Any]:
    own = {"outcomes": ",".join(outcomes), "fingerprint": fingerprint or f"fp_{uuid4().hex[:12]}"}
    return {"card": {"token": token}, "metadata": own}


class Shop:
    """A business at the sandbox, and its engine's activities."""

    def __init__(self, control: ControlClient, deps: Deps) -> None:
        self.control = control
        self.deps = deps
        self.ledger = deps.ledger
        self.stripe = deps.stripe.v1
        self.billing = StripeBilling(deps)
        self.email = ProviderEmail(
            deps, SendGridMailer("SG.test", control.url, timeout=5.0), UnsubscribeLinks(BASE, "k" * 40)
        )
        texter = TwilioTexter(
            ACCOUNT_SID, AUTH_TOKEN, control.url, messaging_service_sid="MG" + "0" * 32, timeout=5.0
        )
        self.sms = ProviderSms(deps, texter)
        self._ids = itertools.count(1)

    # --- what happens at Stripe -------------------------------------------------------------------------

    async def renewal(
        self,
        *outcomes: str,
        account: str = "",
        card: dict[str, Any] | None = None,
        amount: int = 1900,
        currency: str = "usd",
        **customer: Any,
    ) -> Renewal:
        """A subscription whose first period was paid and whose renewal was not.

        `outcomes` are what the bank says to the renewal's attempts, the first of them before the engine acts.
        """
        profile = {
            "email": "ada@customer.example",
            "name": "Ada Example",
            "phone": "+15005550123",
            **customer,
        }
        made = await self.control.subscribe(
            customer=profile,
            card=_card("succeeded", *outcomes, **(card or {})),
            price={"unit_amount": str(amount), "currency": currency, "product_data": {"name": "Pro"}},
            card_of="subscription",
            account=account or None,
        )
        invoice = await self.control.renew(made["subscription"])
        return Renewal(invoice["id"], made["subscription"], made["customer"], made["payment_method"])

    async def card(self, customer: str, *outcomes: str, **card: Any) -> str:
        """A card with a sequence of outcomes, attached to the customer. Unless told each is another card."""
        given: Any = {"type": "card"} | _card(*outcomes, **card)
        method = await self.stripe.payment_methods.create_async(given)
        await self.stripe.payment_methods.attach_async(method.id, {"customer": customer})
        return method.id

    async def pay_by_hand(self, invoice: str) -> None:
        """Somebody records a payment made elsewhere."""
        await self.stripe.invoices.pay_async(invoice, {"paid_out_of_band": True})

    async def void(self, invoice: str) -> None:
        """Somebody voids the invoice in the dashboard."""
        await self.stripe.invoices.void_invoice_async(invoice)

    async def charges(self, invoice: str) -> list[dict[str, Any]]:
        """The charges that the engine made for the invoice: the books know each by its idempotency key."""
        books = await self.control.stripe_books("charges", "doubly_charged")
        assert not books["doubly_charged"]
        rows = [row for row in books["charges"] if row["invoice"] == invoice]
        return [row for row in rows if (row["idempotency_key"] or "").startswith("dunning-")]

    # --- what the engine does ---------------------------------------------------------------------------

    async def run(
        self,
        activity: Callable[[Given], Awaitable[Result]],
        order: Given,
        *,
        later: timedelta = timedelta(),
        attempt: int = 1,
        activity_id: str | None = None,
    ) -> Result:
        """Run an activity at the sandbox's time, or `later`."""
        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(
            environment.info,
            started_time=await self.control.now() + later,
            attempt=attempt,
            activity_id=activity_id or str(next(self._ids)),
            workflow_run_id="11111111-2222-3333-4444-555555555555",
        )
        return await environment.run(activity, order)

    async def open(
        self, invoice: str, *, workflow_id: str | None = None, run_id: str = "run", **start: Any
    ) -> CaseState:
        """Open the invoice's case."""
        opened = await self.run(
            self.billing.open_case,
            OpenOrder(
                start=Start(invoice_id=invoice, **start),
                workflow_id=workflow_id or f"invoice-dunning/{invoice}",
                run_id=run_id,
            ),
        )
        assert opened.state is not None, opened.refused
        return opened.state

    async def refusal(self, invoice: str, *, workflow_id: str | None = None, **start: Any) -> str:
        """Why the invoice gets no case."""
        opened = await self.run(
            self.billing.open_case,
            OpenOrder(
                start=Start(invoice_id=invoice, **start),
                workflow_id=workflow_id or f"invoice-dunning/{invoice}",
                run_id="refused-run",
            ),
        )
        assert opened.state is None
        return opened.refused

    async def close(self, case: CaseState, outcome: Outcome) -> None:
        """The case ends with an outcome."""
        at = await self.control.now()
        summary = CaseSummary(
            at=at,
            stage=Stage.CLOSED,
            amount_remaining=1900,
            outcome=outcome,
            closed_at=at,
            closed_reason="test",
        )
        await self.ledger.cases.remember(case.ref.case_id, 0, [], summary)

    async def read(self, ref: CaseRef) -> Invoice:
        """The invoice as the engine reads it now."""
        return (await self.run(self.billing.read_invoice, order(ref, ReadInvoice()))).invoice


def order(ref: CaseRef, action: Action, **conditions: Any) -> Order:
    """An order of the standard policy."""
    return Order(ref=ref, action=action, policy="standard", **conditions)


def charge(ref: CaseRef, number: int = 1, **conditions: Any) -> Order:
    """The order of a charge."""
    return order(ref, Charge(number=number), **conditions)


def message(
    ref: CaseRef, step: str = "first_notice", channel: Channel = Channel.EMAIL, **conditions: Any
) -> Order:
    """The order of a message; `last_day` makes it name the day."""
    templates = {"first_notice": "payment_failed", "final_notice": "final_notice", "recovered": "recovered"}
    last_day = conditions.pop("last_day", None)
    send = Send(
        step=step,
        template=templates.get(step, "payment_failed"),
        channel=channel,
        last_day=last_day,
        names_last_day=last_day is not None,
        to_debtor=conditions.pop("to_debtor", True),
        limits=conditions.pop("limits", None),
        group=conditions.pop("group", "critical"),
    )
    return order(ref, send, **conditions)


def before(moment: datetime) -> datetime:
    """A moment just passed."""
    return moment - timedelta(seconds=1)
