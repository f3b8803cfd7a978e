"""What readers of charges to come share: the customer's policy, and where and when to write to whom."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from temporalio.exceptions import ApplicationError

from activities.context import Deps, invalid_input
from activities.reader import InvoiceReader, Reading
from activities.stripe_calls import StripeCalls
from activities.stripe_objects import StripeInvoice
from activities.stripe_reading import traits_of, where_of, zone_of
from activities.watching import RiskWatch
from dunning.case import CaseRef
from dunning.expiry.card import CardFacts
from dunning.facts import Invoice
from dunning.policy import Policy, PolicyError
from dunning.renewals.reminder import Upcoming
from dunning.risk import Level
from dunning.segments import Traits, choose


def as_draft(facts: CardFacts | Upcoming, told: StripeInvoice) -> Reading:
    """A charge to come in the shape that senders know from invoices."""
    invoice = Invoice(
        id="",
        read_at=facts.read_at,
        status="draft",
        customer=facts.customer,
        channels=facts.channels,
        zone=facts.zone,
        livemode=facts.livemode,
    )
    return Reading(told, None, invoice)


class Ahead:
    """Knows customers before anything of theirs has failed."""

    def __init__(self, deps: Deps) -> None:
        self._ledger, self._policies = deps.ledger, deps.policies
        self._watch = RiskWatch(deps)
        self._invoices = InvoiceReader(StripeCalls(deps.stripe), deps.ledger)

    async def risk(self, account: str, customer: str, at: datetime) -> Level:
        """The customer's level of risk now."""
        return (await self._watch.look(account, customer, at))[0].level

    async def policy(self, account: str, told: StripeInvoice | None, at: datetime) -> tuple[Policy, Level]:
        """The policy of the customer's segment, and the risk that it went by.

        A mistake in a policy is mended there, and the case opens then.
        """
        try:
            traits = Traits()
            if told is not None:
                traits = traits_of(told, await self.risk(account, told.customer_id, at))
            return self._policies.load(choose(self._policies.segments(), traits)), traits.risk
        except PolicyError as error:
            raise ApplicationError(str(error), type="PolicyUnusable") from None

    def named(self, name: str) -> Policy:
        """A policy that a start names. Raises ApplicationError `InvalidInput`, which is not retried."""
        try:
            return self._policies.load(name)
        except PolicyError as error:
            raise invalid_input(str(error)) from None

    def policies(self) -> tuple[Policy, ...]:
        """All policies that a customer may get."""
        try:
            names = {choose(self._policies.segments(), Traits())}
            names |= {segment.policy for segment in self._policies.segments().segments}
            return tuple(self._policies.load(name) for name in sorted(names))
        except PolicyError as error:
            raise ApplicationError(str(error), type="PolicyUnusable") from None

    async def is_dunned(self, account: str, customer: str) -> bool:
        """Whether the customer hears of a failed invoice at present."""
        found = await self._ledger.cases.find(account=account, customer=customer, open_only=True, limit=1)
        return bool(found.cases)

    async def whereabouts(self, account: str, told: StripeInvoice, at: datetime) -> dict[str, Any]:
        """How and where the customer can be reached: fields of `CardFacts` and `Upcoming`."""
        where = where_of(told)
        ref = CaseRef(case_id="", invoice_id="", account=account)
        return {
            "channels": await self._invoices.channels(ref, told, at),
            "zone": zone_of(told),
            "zones": where.zones,
            "place": where.place,
            "livemode": told.livemode,
        }
