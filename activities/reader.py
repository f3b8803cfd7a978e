"""Reads an invoice at Stripe and reduces it to facts, with the channels that the customer agreed to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from activities.context import business_time
from activities.stripe_calls import StripeCalls
from activities.stripe_objects import StripeCharge, StripeInvoice
from activities.stripe_reading import YES, charge_worth_reading, gone, invoice_facts, telling_intent
from activities.witness import Witness, planned
from dunning.addresses import fingerprint
from dunning.case import CaseRef
from dunning.facts import Invoice
from dunning.values import Channel
from ledger import Ledger

#: Where a customer's metadata may say yes to messages on the telephone, and how.
CONSENT_KEYS = {Channel.SMS: "sms_consent", Channel.WHATSAPP: "whatsapp_consent"}
_FROM_METADATA = "stripe customer metadata"


@dataclass(frozen=True)
class Reading:
    """An invoice as Stripe told it (None: it does not know it), and the facts that may leave the activity."""

    told: StripeInvoice | None
    charge: StripeCharge | None  # the one that paid it, or the last one that failed to
    facts: Invoice
    charges: tuple[StripeCharge, ...] = ()  # all that is known of the same payment, newest first


class InvoiceReader:
    """Reads invoices; knows from the ledger what the customer agreed to and which method is locked."""

    def __init__(self, stripe: StripeCalls, ledger: Ledger) -> None:
        self._stripe = stripe
        self._ledger = ledger
        self._witness = Witness(ledger)

    async def read(self, ref: CaseRef, *, failure: bool = True) -> Reading:
        """Read the invoice now. Without `failure` an open invoice's charges are left unread.

        Charges that the engine did not make are remembered: they use up the limits of their card, too.
        """
        at = business_time()
        told = await self._stripe.invoice(ref)
        if told is None:
            return Reading(None, None, gone(ref.invoice_id, at))
        if not failure and told.status != "paid":
            return Reading(told, None, await self.facts(ref, told, None, at))
        intent = telling_intent(told)
        charges = await self._stripe.charges(ref, intent.id) if intent and intent.latest_charge else ()
        await self._witness.saw(ref, charges, at)
        wanted = charge_worth_reading(told)
        charge = next((charge for charge in charges if charge.id == wanted), None)
        return Reading(told, charge, await self.facts(ref, told, charge, at), charges)

    async def facts(
        self, ref: CaseRef, told: StripeInvoice, charge: StripeCharge | None, at: datetime
    ) -> Invoice:
        """The facts of an invoice that Stripe has told."""
        facts = invoice_facts(told, charge, await self.channels(ref, told, at), at)
        return facts.model_copy(update={"method_lock": await self._lock(ref, facts)})

    async def _lock(self, ref: CaseRef, facts: Invoice) -> str | None:
        """Why the engine must never charge the present method for this invoice, if the ledger knows."""
        if facts.status != "open" or facts.method is None:
            return None
        slot = await self._ledger.attempts.slot(ref.account, planned(facts.method, facts, facts.read_at))
        return slot.reason if not slot.granted and slot.until is None else None

    async def channels(self, ref: CaseRef, told: StripeInvoice, at: datetime) -> tuple[Channel, ...]:
        """Where the customer can be written to: e-mail unless revoked, texts only where granted."""
        known = await self._ledger.consents.state(ref.account, told.customer_id) if told.customer_id else {}
        channels = []
        if email_address(told) and known.get(Channel.EMAIL) != "revoked":
            channels.append(Channel.EMAIL)
        for channel, key in CONSENT_KEYS.items():
            if phone_number(told) and await self._granted(ref, told, channel, key, known.get(channel), at):
                channels.append(channel)
        dead = await self._dead(told)
        return tuple(channel for channel in channels if channel not in dead)

    async def _dead(self, told: StripeInvoice) -> frozenset[Channel]:
        """The channels whose address is known to take nothing; a corrected one is another address."""
        phone = phone_number(told)
        addresses = {Channel.EMAIL: email_address(told), Channel.SMS: phone, Channel.WHATSAPP: phone}
        return await self._ledger.addresses.dead(
            {channel: fingerprint(address) for channel, address in addresses.items() if address}
        )

    async def _granted(
        self, ref: CaseRef, told: StripeInvoice, channel: Channel, key: str, state: str | None, at: datetime
    ) -> bool:
        said = told.who.metadata.get(key, "") if told.who else ""
        if state is None and said.strip().lower() in YES:
            await self._ledger.consents.set(
                account=ref.account,
                customer=told.customer_id,
                channel=channel,
                state="granted",
                source=_FROM_METADATA,
                at=at,
                by="customer",
                text=f"{key}={said.strip()}",
                unless_said=True,
            )
            return True
        return state == "granted"


def email_address(told: StripeInvoice) -> str | None:
    """The customer's e-mail address: today's, else the one on the invoice; none of a deleted customer."""
    if told.customer_deleted:
        return None
    return (told.who.email if told.who else None) or told.customer_email


def phone_number(told: StripeInvoice) -> str | None:
    """The customer's phone number: today's, else the one on the invoice; none of a deleted customer."""
    if told.customer_deleted:
        return None
    return (told.who.phone if told.who else None) or told.customer_phone
