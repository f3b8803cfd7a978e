"""One charge per attempt, whatever crashes, times out or arrives twice.

The order of work: the attempt's row is reserved in the ledger with the very parameters, if the limits of the
card have a slot for it and it is the invoice's turn; then Stripe is asked; then the row is completed. A row
found reserved tells that an earlier try got lost on the way; then the same key and parameters are sent again
while Stripe surely remembers them (24 hours, Stripe API reference: Idempotent requests), and after that
Stripe is only asked what became of it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import stripe
from temporalio.exceptions import ApplicationError

from activities.context import business_time, log, too_late
from activities.reader import InvoiceReader, Reading
from activities.stripe_calls import StripeCalls, card_error, explained
from activities.stripe_objects import INVOICE_EXPANSION, StripeCharge, StripeInvoice
from activities.stripe_reading import (
    failed_charge,
    moment,
    next_card,
    processing_intent,
    refusal,
    telling_intent,
)
from activities.witness import lock_of, planned, reached_network, result_of
from dunning.budget import Planned
from dunning.case import AttemptResult, Charged
from dunning.decision import Charge, Order
from dunning.declines import classify
from dunning.facts import Failure, Invoice, Method
from ledger import Ledger
from ledger.records import AttemptClaim
from ledger.turns import TURN

#: How long Stripe surely remembers an idempotency key.
KEY_LIFE = timedelta(hours=24)
#: So long before that nothing is sent again: a try lasts minutes, and two clocks may differ.
_MARGIN = timedelta(hours=1)
#: The clocks of two companies may differ by a little.
CLOCK_SKEW = timedelta(seconds=5)
#: Seconds to wait for another charge of the same customer before the attempt is put off.
TURN_PAUSES = (0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Try:
    """One try of the activity: the order, the attempt it is about and the moment it started."""

    order: Order
    number: int
    blind: bool
    at: datetime
    backup: bool = False
    tried: tuple[str, ...] = ()

    def result(self, result: AttemptResult, **more: Any) -> Charged:
        """How the attempt ended."""
        return Charged(
            number=self.number, at=self.at, result=result, blind=self.blind, backup=self.backup, **more
        )


class Charging:
    """Charges an invoice, once per attempt."""

    def __init__(self, calls: StripeCalls, ledger: Ledger, reader: InvoiceReader) -> None:
        self._stripe = calls
        self._ledger = ledger
        self._reader = reader

    async def charge(self, order: Order) -> Charged:
        """Carry out the attempt, or tell how it ended when it was carried out before."""
        action = order.action
        if not isinstance(action, Charge):
            raise TypeError(f"charge was given {action.kind}: schedule the activity that fits the action")
        this = Try(order, action.number, action.blind, business_time(), action.backup, action.tried)
        ref = order.ref
        known = await self._ledger.attempts.get(ref.account, ref.invoice_id, this.number)
        if known is not None and known.result is not None:
            return Charged.model_validate(known.result)
        stop = await self._stopped(this)
        if stop is not None and known is None:
            return stop
        reading, claim = await self._claim(this)
        if claim.params:  # what an earlier try began is what goes on
            this = replace(this, backup=bool(claim.params.get("backup")))
        if claim.state == "done" and claim.result is not None:
            return Charged.model_validate(claim.result)
        if claim.state == "refused":
            return _put_off(this, claim, reading.facts)
        if claim.state == "reserved":
            return await self._go_on(this, claim, reading, stop)
        return await self._first(this, claim, reading.facts)

    async def _stopped(self, this: Try) -> Charged | None:
        if await self._ledger.switches.halted() is not None:
            return this.result("held")
        return this.result("too_late") if too_late(this.order) else None

    async def _claim(self, this: Try) -> tuple[Reading, AttemptClaim]:
        """Read the invoice and claim the attempt. Another charge of the customer mostly ends in seconds."""
        for pause in (*TURN_PAUSES, None):
            reading = await self._reader.read(this.order.ref)
            claim = await self._reserve(this, reading.facts, await self._method(this, reading.facts))
            if pause is None or claim.refusal is None or claim.refusal.rule != TURN:
                break
            await asyncio.sleep(pause)
        return reading, claim

    async def _method(self, this: Try, facts: Invoice) -> Method | None:
        """What is charged: the default, or the next card that the customer agreed to; None for nothing."""
        if not facts.chargeable:
            return None
        if not this.backup:
            return facts.method
        cards = await self._stripe.cards(this.order.ref, facts.customer) if facts.backup_consent else ()
        return next_card(cards, this.tried, this.at)

    async def _reserve(self, this: Try, facts: Invoice, method: Method | None) -> AttemptClaim:
        ref = this.order.ref
        return await self._ledger.attempts.reserve(
            case_id=ref.case_id,
            account=ref.account,
            customer=facts.customer,
            number=this.number,
            params=_params(method, backup=this.backup) if method else {},
            planned=_planned(this, facts, method or facts.method),
            nothing_to_charge=method is None,
        )

    # --- the first try --------------------------------------------------------------------------------

    async def _first(self, this: Try, claim: AttemptClaim, facts: Invoice) -> Charged:
        if not claim.params:
            return await self._conclude(this, _nothing_to_charge(this, facts))
        if this.order.shadow:
            return await self._conclude(this, this.result("shadow", method=_method(claim), invoice=facts))
        return await self._pay(this, claim, facts)

    async def _pay(self, this: Try, claim: AttemptClaim, facts: Invoice) -> Charged:
        method = Method.model_validate(claim.params["method"])
        try:
            paid = await self._stripe.pay(this.order.ref, this.number, claim.params["pay"])
        except stripe.CardError as error:
            return await self._declined(this, error, method, facts)
        except stripe.InvalidRequestError as error:
            return await self._refused(this, error, method)
        except stripe.IdempotencyError:
            # The key belongs to another request: a ledger that was restored counts from an old number.
            return await self._conclude(
                this, this.result("unknown", method=method, invoice=facts), _Sent(facts)
            )
        return await self._accepted(this, paid, method, facts)

    async def _accepted(self, this: Try, paid: StripeInvoice, method: Method, before: Invoice) -> Charged:
        facts = await self._reader.facts(this.order.ref, paid, None, this.at)
        if facts.status == "paid":
            intent = telling_intent(paid)
            paid_at = paid.status_transitions.paid_at
            charge = intent.latest_charge if intent else None
            sent = _Sent(before, charge, moment(paid_at) if paid_at else None)
            facts = facts.model_copy(update={"paying_method": method})
            return await self._conclude(this, this.result("succeeded", method=method, invoice=facts), sent)
        result: AttemptResult = "processing" if facts.processing else "unknown"
        sent = _Sent(before, _processing_charge(paid))
        return await self._conclude(this, this.result(result, method=method, invoice=facts), sent)

    async def _declined(self, this: Try, error: stripe.CardError, method: Method, facts: Invoice) -> Charged:
        said = card_error(error)
        failure: Failure | None = None
        if said.charge:
            failure = failed_charge(await self._stripe.charge(this.order.ref, said.charge), said)
        if failure is None:
            failure = refusal(said, this.at, method)
        charged = _failed(this, failure, failure.method or method, facts)
        return await self._conclude(this, charged, _Sent(facts))

    async def _refused(self, this: Try, error: stripe.InvalidRequestError, method: Method) -> Charged:
        """Stripe did not even try: the invoice is not to be paid any more, or the method is not there."""
        reading = await self._reader.read(this.order.ref)
        facts = reading.facts
        if facts.status != "open":
            return await self._conclude(this, this.result("not_needed", invoice=facts))
        if facts.processing:  # somebody else's payment began between the look and the charge
            return await self._conclude(this, this.result("processing", invoice=facts))
        if error.param in ("payment_method", "source"):  # detached since it was read: nothing to charge
            return await self._conclude(this, this.result("declined", method=method, invoice=facts))
        raise explained(error, "invoices.pay") from None

    # --- a later try, after one that got lost -----------------------------------------------------------

    async def _go_on(self, this: Try, claim: AttemptClaim, reading: Reading, stop: Charged | None) -> Charged:
        facts, age = reading.facts, this.at - claim.reserved_at
        if not claim.params:  # there was nothing to charge, so nothing was ever sent
            return await self._conclude(this, _nothing_to_charge(this, facts))
        witness = await self._witness(this, claim, reading)
        sent = _Sent(facts, witness.id, moment(witness.created)) if witness else _Sent(facts)
        told = _told_by(this, witness, _method(claim), facts)
        if stop is not None or age >= KEY_LIFE - _MARGIN or facts.status not in ("open", "paid"):
            if told is not None:
                return await self._conclude(this, told, sent)
            if facts.status != "open":
                return await self._conclude(this, this.result("not_needed", invoice=facts), sent)
            if stop is not None:
                return stop
            if facts.processing:
                return await self._still_processing(this, claim, reading)
            unknown = this.result("unknown", method=_method(claim), invoice=facts)
            return await self._conclude(this, unknown, sent)
        if facts.processing:
            return await self._still_processing(this, claim, reading)
        if this.order.shadow:
            shadow = this.result("shadow", method=_method(claim), invoice=facts)
            return await self._conclude(this, told or shadow, sent if told else None)
        try:
            return await self._pay(this, claim, facts)
        except ApplicationError:
            if told is None:
                raise
            return await self._conclude(this, told, sent)  # Stripe stored a 500 for what it had carried out

    async def _still_processing(self, this: Try, claim: AttemptClaim, reading: Reading) -> Charged:
        """A payment is on its way. It is this attempt's if it began with the attempt's own method."""
        charge = _processing_charge(reading.told) if reading.told is not None else None
        ours = charge is not None and not await self._known(this, charge)
        charged = this.result("processing", method=_method(claim), invoice=reading.facts)
        return await self._conclude(this, charged, _Sent(reading.facts, charge if ours else None))

    async def _witness(self, this: Try, claim: AttemptClaim, reading: Reading) -> StripeCharge | None:
        """The charge that the lost try made: with its method, while its key was alive, and nobody else's.

        Of several the one that brought the money; else the first, for the lost try was made at once.
        """
        method, found = _method(claim), []
        for charge in reversed(reading.charges) if method else ():
            made = moment(charge.created)
            in_time = claim.reserved_at - CLOCK_SKEW <= made < claim.reserved_at + KEY_LIFE
            fits = in_time and method is not None and charge.payment_method == method.id
            if fits and not await self._known(this, charge.id):
                found.append(charge)
        return next((c for c in found if c.status == "succeeded"), next(iter(found), None))

    async def _known(self, this: Try, charge_id: str) -> bool:
        ref = this.order.ref
        attempts = await self._ledger.attempts.of_invoice(ref.account, ref.invoice_id)
        if any(a.charge_id == charge_id for a in attempts if a.number != this.number):
            return True
        return await self._ledger.charges.get(ref.account, charge_id) is not None

    # --- the end ----------------------------------------------------------------------------------------

    async def _conclude(self, this: Try, charged: Charged, sent: _Sent | None = None) -> Charged:
        """Record how the attempt ended. Without `sent` nobody was asked: its slot is free again."""
        ref, failure = this.order.ref, charged.failure
        declined = charged.result in ("declined", "needs_authentication")
        verdict = classify(failure) if declined else None
        lock = lock_of(failure) if sent else None
        if charged.result == "succeeded" or lock is not None or (verdict is not None and verdict.locked):
            charged = charged.model_copy(update={"siblings": await self._siblings(charged, this)})
        first = await self._ledger.attempts.complete(
            account=ref.account,
            invoice_id=ref.invoice_id,
            number=this.number,
            result=charged.model_dump(mode="json"),
            outcome=charged.result,
            decline_class=verdict.cls.value if verdict else None,
            charge_id=failure.charge if failure else sent.charge if sent else None,
            at=this.at,
            charged_at=_charged_at(this, charged, sent),
            amount=sent.amount if sent else None,
            reached_network=sent is not None and reached_network(failure),
            lock=lock,
        )
        if not first:  # a try that was given up for lost came to its end before this one: its word counts
            row = await self._ledger.attempts.get(ref.account, ref.invoice_id, this.number)
            return Charged.model_validate(row.result) if row is not None and row.result else charged
        log(
            ref,
            "attempt ended",
            attempt=this.number,
            result=charged.result,
            decline_class=verdict and verdict.cls.value,
        )
        return charged

    async def _siblings(self, charged: Charged, this: Try) -> tuple[str, ...]:
        """The customer's other open cases, the oldest first: they must not burn attempts, or can go on."""
        customer = charged.invoice.customer if charged.invoice else ""
        if not customer:
            return ()
        ref = this.order.ref
        page = await self._ledger.cases.find(account=ref.account, customer=customer, open_only=True)
        return tuple(case.workflow_id for case in reversed(page.cases) if case.id != ref.case_id)


@dataclass(frozen=True)
class _Sent:
    """Stripe was asked to charge, or may have been: the invoice as it was then, and the charge if known.

    `at` is Stripe's own time, by which refusals are known, too: one clock tells which of them came later.
    """

    before: Invoice
    charge: str | None = None
    at: datetime | None = None

    @property
    def amount(self) -> int | None:
        """What was charged, in minor units; None when the invoice owes nothing any more."""
        return self.before.amount_remaining or None


def _charged_at(this: Try, charged: Charged, sent: _Sent | None) -> datetime | None:
    """When the networks saw it; None as long as nobody knows whether they did."""
    if charged.failure is not None:
        return charged.failure.at
    if charged.result == "unknown":
        return None
    return sent.at if sent is not None and sent.at is not None else this.at


def _nothing_to_charge(this: Try, facts: Invoice) -> Charged:
    """Why nobody is asked. When that has changed since, the case decides anew, with a new number."""
    if facts.status == "open" and facts.processing:
        # A bank debit is under way: its answer takes days, and a second one would pay twice.
        return this.result("processing", invoice=facts)
    if facts.chargeable and this.backup:
        return this.result("not_needed", invoice=facts, words="there is none, or no consent to it")
    if facts.chargeable and facts.method is None:
        return this.result("declined", invoice=facts)
    return this.result("not_needed", invoice=facts)


def _planned(this: Try, facts: Invoice, method: Method | None) -> Planned:
    if method is not None:
        return planned(method, facts, this.at, blind=this.blind)
    return Planned(
        at=this.at,
        fingerprint=None,
        amount=facts.amount_remaining,
        currency=facts.currency,
        invoice_id=this.order.ref.invoice_id,
    )


def _params(method: Method, *, backup: bool) -> dict[str, Any]:
    """What the row keeps: the request exactly as it is sent, and the method as it was known then."""
    field = "source" if method.type == "source" else "payment_method"
    return {
        "pay": {field: method.id, "expand": list(INVOICE_EXPANSION)},
        "method": method.model_dump(mode="json"),
    } | ({"backup": True} if backup else {})


def _method(claim: AttemptClaim) -> Method | None:
    return Method.model_validate(claim.params["method"]) if claim.params else None


def _processing_charge(told: StripeInvoice) -> str | None:
    intent = processing_intent(told)
    return intent.latest_charge if intent else None


def _put_off(this: Try, claim: AttemptClaim, facts: Invoice) -> Charged:
    """The limits have no slot: later, or never with this method."""
    refusal = claim.refusal
    assert refusal is not None
    result: AttemptResult = "forbidden" if refusal.until is None else "postponed"
    words, until = refusal.reason, refusal.until
    method = None if this.backup else facts.method
    return this.result(result, method=method, invoice=facts, retry_at=until, words=words)


def _told_by(this: Try, charge: StripeCharge | None, method: Method | None, facts: Invoice) -> Charged | None:
    """How the attempt ended that made the charge; None while the charge does not tell."""
    if charge is None or method is None:
        return None
    failure = failed_charge(charge, None)
    if failure is not None:
        return _failed(this, failure, failure.method or method, facts)
    if charge.status == "succeeded" and facts.status == "paid":
        return this.result("succeeded", method=method, invoice=facts)
    return None


def _failed(this: Try, failure: Failure, method: Method, facts: Invoice) -> Charged:
    invoice = facts.model_copy(update={"failure": failure})
    return this.result(result_of(failure), method=method, failure=failure, invoice=invoice)
