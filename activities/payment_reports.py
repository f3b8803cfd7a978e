"""A dispute or a warning about a payment that the ledger never saw: Stripe is asked whose it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from temporalio import activity

from activities.context import Deps
from activities.interface import PaymentReportActivities
from activities.stripe_calls import StripeCalls
from activities.witness import record_of
from dunning.case import CaseRef
from dunning.reports import UnknownPayment
from ledger import Ledger


class Receiving(Protocol):
    """The webhook receiver, as far as it is needed here: the same routing for all."""

    async def receive_again(self, event: Mapping[str, Any]) -> bool:
        """Receive an event; whether a case was told."""


class PaymentReports(PaymentReportActivities):
    """Finds the payer, remembers the payment, and lets the event be received with what is known now."""

    def __init__(self, deps: Deps, receiving: Receiving) -> None:
        self._ledger: Ledger = deps.ledger
        self._stripe = StripeCalls(deps.stripe)
        self._receiving = receiving

    @activity.defn(name="tell_payer")
    async def tell_payer(self, report: UnknownPayment) -> bool:
        """Ask Stripe who paid, and tell the open cases of that customer; whether there were any."""
        ref = CaseRef(case_id="", invoice_id="", account=report.account)
        charge = await self._stripe.known_charge(ref, report.charge)
        if charge is None or charge.customer is None:
            return False
        await self._ledger.charges.saw(record_of(ref, charge))  # it used up the limits of its card, too
        told = {**report.event["data"]["object"], "customer": charge.customer}
        return await self._receiving.receive_again({**report.event, "data": {"object": told}})
