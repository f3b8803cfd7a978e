"""One message per case, step and channel: the protocol that e-mail and SMS share.

The message is claimed in the ledger before the provider is called. A claim that is found means that an
earlier try may have sent it: the outcome is then unknown, and it is never sent again, because neither
provider can tell a repeat from a new message.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import ValidationError
from temporalio.exceptions import ApplicationError

from activities.cards import CardReader
from activities.context import Deps, business_time, log, retry_delay, too_late
from activities.reader import InvoiceReader, Reading
from activities.reminding import RenewalReader
from activities.sending import Accepted, Refused, SendResult, Unknown
from activities.siblings import Sibling, Siblings, listed, totals
from activities.siblings import told as told_of
from activities.stripe_calls import StripeCalls
from activities.stripe_objects import PaymentMethod, StripeInvoice
from activities.unsubscribing import UnsubscribeLinks
from dunning.addresses import fingerprint
from dunning.budget import Slot
from dunning.case import Fate, MessageSent
from dunning.decision import NextCharge, Order, Send
from dunning.facts import Invoice
from dunning.messages.catalogue import TemplatesError
from dunning.messages.context import MessageContext, Rendered
from dunning.messages.locales import nearest
from dunning.messages.render import RenderError, render
from dunning.money import Money
from dunning.values import Channel
from ledger.contacts import Terms
from ledger.dispatches import new_dispatch_id
from ledger.records import DispatchRecord

#: The one step that still speaks to a debtor after the engine itself gave the invoice up.
AFTER_WRITE_OFF = "written_off"


@dataclass(frozen=True)
class Parcel:
    """What is handed to a provider. It holds personal data and never leaves the activity."""

    order: Order
    dispatch_id: str
    told: StripeInvoice
    words: Rendered
    content_sid: str = ""  # WhatsApp: the approved template
    unsubscribe_url: str | None = None


Hand = Callable[[Parcel], Awaitable[SendResult]]
Address = Callable[[StripeInvoice], str | None]


@dataclass(frozen=True)
class Try:
    """One try of the activity: the order, its message and the moment it started.

    `dispatch_id` is what the message is called once it is claimed, `unsubscribe_url` the link in its words.
    """

    order: Order
    send: Send
    at: datetime
    dispatch_id: str
    unsubscribe_url: str | None = None

    def ended(self, fate: Fate, detail: str = "", invoice: Invoice | None = None) -> MessageSent:
        """What became of the message."""
        return MessageSent(
            step=self.send.step,
            channel=self.send.channel,
            at=self.at,
            fate=fate,
            named_day=self.send.last_day if self.send.names_last_day else None,
            detail=detail,
            invoice=invoice,
        )

    def merged(self, by: DispatchRecord, invoice: Invoice) -> MessageSent:
        """A message of another case spoke of this one. It is a notice of the date if a provider took it."""
        ended = self.ended("merged", f"said in the message of case {by.case_id}", invoice)
        named = ended.named_day if by.fate != "unknown" else None
        said = {"said_at": by.claimed_at, "said_by": by.id, "named_day": named}
        return ended.model_copy(update=said)

    def postponed(self, refusal: Slot, invoice: Invoice) -> MessageSent:
        """The customer heard enough for now."""
        ended = self.ended("postponed", refusal.reason, invoice)
        return ended.model_copy(update={"retry_at": refusal.until})


class Dispatching:
    """Sends messages of one channel. `address` finds where to, `hand` gives them to the provider.

    With `links` the optional ones hold a link that ends them; critical ones have none, as they are not ended.
    """

    def __init__(
        self, deps: Deps, address: Address, hand: Hand, links: UnsubscribeLinks | None = None
    ) -> None:
        self._ledger = deps.ledger
        self._business = deps.business
        self._templates = deps.templates
        self._page = deps.page
        self._cards, self._renewals = CardReader(deps), RenewalReader(deps)
        self._reader = InvoiceReader(StripeCalls(deps.stripe), deps.ledger)
        self._siblings = Siblings(StripeCalls(deps.stripe), deps.ledger)
        self._links = links
        self._address = address
        self._hand = hand

    async def send(self, order: Order) -> MessageSent:
        """Send the message of the order once, or tell what became of it before, or why it does not go out."""
        if not isinstance(order.action, Send):
            raise TypeError(f"a sender was given {order.action.kind}: schedule the activity that fits it")
        this = self._try(order, order.action)
        before = await self._before(this)
        if before is not None:
            return before
        if await self._ledger.switches.halted() is not None:
            return this.ended("held")
        if too_late(order):
            return this.ended("too_late")
        charge = this.send.charge
        if charge is not None:  # there is no invoice yet
            reading = await self._ahead(order, charge)
        else:
            reading = await self._reader.read(order.ref, failure=False)
        facts, told = reading.facts, reading.told
        if told is None or (this.send.to_debtor and not _still_owed(facts, this.send)):
            return this.ended("not_needed", f"the invoice is {facts.status}", facts)
        if self._address(told) is None or this.send.channel not in facts.channels:
            return this.ended("unreachable", f"no address or no consent for {this.send.channel}", facts)
        others = await self._siblings.of(order.ref, this.send, facts.customer, facts.subscription)
        link = await self._link(this, told, facts)
        # Before the claim: what cannot be written was not sent.
        words = self._words(this, told, facts, others, link)
        if this.send.channel is Channel.WHATSAPP and not self._content(this.send, words):
            return this.ended("unreachable", f"no approved template of WhatsApp in {words.locale}", facts)
        return await self._claimed(this, told, facts, words, told_of(this.send, others))

    async def _ahead(self, order: Order, charge: NextCharge) -> Reading:
        """The charge to come that a message is about."""
        if charge.subscription is not None:
            return await self._renewals.upcoming(order.ref, charge, charge.subscription)
        return await self._cards.upcoming(order.ref, charge)

    def _try(self, order: Order, send: Send) -> Try:
        dispatch_id = new_dispatch_id()
        url = self._links.url(dispatch_id) if self._links and send.group == "optional" else None
        return Try(order, send, business_time(), dispatch_id, url)

    async def _before(self, this: Try) -> MessageSent | None:
        """What an earlier try of the same message left in the ledger."""
        rows = await self._ledger.dispatches.of_case(this.order.ref.case_id)
        wanted = (this.send.step, this.send.channel)
        row = next((row for row in rows if (row.step, row.channel) == wanted), None)
        if row is None:
            return None
        return await self._found(this, row.id, row.fate)

    async def _found(self, this: Try, dispatch_id: str, fate: Any) -> MessageSent:
        if fate is not None:
            return this.ended(fate)
        return await self._end(this, dispatch_id, "unknown", detail="an earlier try got lost on the way")

    async def _claimed(
        self, this: Try, told: StripeInvoice, facts: Invoice, words: Rendered, others: dict[str, str]
    ) -> MessageSent:
        claim = await self._ledger.dispatches.claim(
            case_id=this.order.ref.case_id,
            step=this.send.step,
            channel=this.send.channel,
            template=this.send.template,
            customer=facts.customer,
            at=this.at,
            terms=Terms(
                counts=this.send.counts,
                limits=this.send.limits,
                extra=this.send.extra,
                shadow=this.order.shadow,
                told=others,
                merge=this.send.merge,
                unsaid=this.send.unsaid,
                names=this.send.last_day if this.send.names_last_day else None,
                group=this.send.group,
            ),
            address=fingerprint(self._address(told) or ""),
            dispatch_id=this.dispatch_id,
        )
        if claim.state == "unwelcome":
            channels = await self._reader.channels(this.order.ref, told, this.at)
            return this.ended("unreachable", claim.why, facts.model_copy(update={"channels": channels}))
        if claim.said_by is not None:
            return this.merged(claim.said_by, facts)
        if claim.refusal is not None:
            return this.postponed(claim.refusal, facts)
        if claim.state != "new":
            return await self._found(this, claim.dispatch_id, claim.fate)
        if this.order.shadow:
            return await self._end(this, claim.dispatch_id, "shadow")
        content = self._content(this.send, words)
        parcel = Parcel(this.order, claim.dispatch_id, told, words, content, this.unsubscribe_url)
        result = await self._hand(parcel)
        match result:
            case Accepted(provider_id):
                return await self._end(this, claim.dispatch_id, "accepted", provider_id=provider_id)
            case Unknown(detail):
                return await self._end(this, claim.dispatch_id, "unknown", detail=detail)
            case Refused():
                return await self._refused(this, claim.dispatch_id, facts, result)

    def _content(self, send: Send, words: Rendered) -> str:
        """The approved template nearest to the customer's language, else the business's; "" for none."""
        found = nearest(words.locale, send.content, self._business.default_locale) if send.content else ""
        return send.content.get(found, "")

    async def _refused(self, this: Try, dispatch_id: str, facts: Invoice, why: Refused) -> MessageSent:
        if why.retryable and why.definite:
            await self._ledger.dispatches.release(dispatch_id)
            raise ApplicationError(
                f"{why.detail}: nothing was sent, trying again"
                + ("; an operator must mend the provider's settings" if why.operator else ""),
                type="ProviderRefusedKey" if why.operator else "ProviderBusy",
                next_retry_delay=retry_delay(why.retry_after),
            )
        if why.opted_out:
            await self._ledger.consents.set(
                account=this.order.ref.account,
                customer=facts.customer,
                channel=this.send.channel,
                state="revoked",
                source="provider",
                at=this.at,
                by="customer",
                text=why.detail,
            )
        if why.address_bad:
            await self._ledger.addresses.failed(dispatch_id, at=this.at, reason=why.detail, for_good=True)
        fate: Fate = "unreachable" if why.opted_out or why.address_bad else "failed"
        return await self._end(this, dispatch_id, fate, detail=why.detail)

    async def _end(
        self, this: Try, dispatch_id: str, fate: Fate, *, provider_id: str | None = None, detail: str = ""
    ) -> MessageSent:
        new = await self._ledger.dispatches.complete(
            dispatch_id, fate, at=this.at, provider_id=provider_id, detail=detail
        )
        if not new and fate == "unknown":  # the provider's own word was faster than its answer
            fate, detail = "accepted", ""
        log(this.order.ref, "message ended", step=this.send.step, channel=this.send.channel.value, fate=fate)
        return this.ended(fate, detail)

    async def _link(self, this: Try, told: StripeInvoice, facts: Invoice) -> str:
        if self._page is None or this.order.shadow or this.send.charge is not None:  # no invoice, no page
            return told.hosted_invoice_url or ""
        return await self._page.make(self._ledger, this.order, this.send, facts.customer, this.at)

    def _words(
        self, this: Try, told: StripeInvoice, facts: Invoice, others: tuple[Sibling, ...], link: str
    ) -> Rendered:
        try:
            own = self._context(this, told, facts, link)
            context = _with_others(own, this.send, told, others)
            return render(this.send.template, this.send.channel, context, folder=self._templates)
        except ValidationError as error:
            fields = ", ".join(sorted({str(problem["loc"][0]) for problem in error.errors()}))
            sentence = (
                f"message {this.send.template} cannot be written with this customer's {fields} at Stripe"
            )
        except (RenderError, TemplatesError) as error:
            sentence = str(error)
        raise ApplicationError(f"{sentence}: mend it there, then it goes out", type="MessageNotWritable")

    def _context(self, this: Try, told: StripeInvoice, facts: Invoice, link: str) -> MessageContext:
        send, card = this.send, _card(told)
        paid = facts.status == "paid"
        today = this.at.astimezone(ZoneInfo(facts.zone)).date() if facts.zone else None
        return MessageContext(
            business=self._business,
            amount=Money(amount=told.amount_due if paid else told.amount_remaining, currency=told.currency),
            pay_url=link or self._business.portal_url,
            customer_name=(told.who.name if told.who else None) or told.customer_name,
            product=product_of(told),
            invoice_number=told.number,
            card_brand=card[0],
            card_last4=card[1],
            reason=send.cls,
            hide_reason=send.hide_reason,
            next_attempt_on=send.next_attempt_on,
            due_on=send.due_on,
            last_day=send.last_day,
            day=send.day,
            suspended_on=today if send.step.split(":")[0] == "suspended" else None,
            charge_on=send.charge.on if send.charge else None,
            card_expires=send.charge.expiry or None if send.charge else None,
            paid=paid,
            subscription_ended=facts.subscription_status == "canceled",
            locale=next(iter(told.who.preferred_locales or ()), "") if told.who else "",
            granted_days=send.days,
            unsubscribe_url=this.unsubscribe_url,
        )


def _with_others(
    context: MessageContext, send: Send, own: StripeInvoice, others: tuple[Sibling, ...]
) -> MessageContext:
    """The same message for all that the customer owes."""
    lines = listed(send, own, others)
    if not lines:
        return context
    amount, *more = totals(lines)
    news = {"amount": amount, "more_amounts": tuple(more), "listed": lines, "open_invoices": len(lines)}
    return context.model_copy(update=news)


def _still_owed(facts: Invoice, send: Send) -> bool:
    if send.charge is not None:
        return facts.status == "draft"
    if facts.status == "uncollectible":  # also by our own doing, and then the customer hears how it ended
        return send.step == AFTER_WRITE_OFF
    return facts.status == "open"


def product_of(told: StripeInvoice) -> str | None:
    """What the invoice is for: its first line, without the quantity that Stripe writes before it."""
    lines = told.lines.data if told.lines else ()
    line = next((line.description for line in lines if line.description), None)
    if line is None:
        return None
    _, times, rest = line.partition(" × ")
    return " ".join((rest if times else line).split(" (at ")[0].split()) or None


def _card(told: StripeInvoice) -> tuple[str | None, str | None]:
    """Brand and last four digits of the card that Stripe would charge."""
    subscription, customer = told.subscription, told.who
    places = (
        told.default_payment_method,
        subscription.default_payment_method if subscription else None,
        customer.invoice_settings.default_payment_method if customer else None,
    )
    method = next((place for place in places if place), None)
    card = method.card if isinstance(method, PaymentMethod) else None
    return (card.brand, card.last4) if card else (None, None)
