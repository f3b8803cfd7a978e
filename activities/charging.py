"""One charge per attempt, whatever crashes, times out or arrives twice.

The order of work: the attempt's row is reserved in the ledger with the very parameters, then Stripe is
asked, then the row is completed. A row found reserved tells that an earlier try got lost on the way; then the
same key and parameters are sent again while Stripe surely remembers them (24 hours, Stripe API reference:
Idempotent requests), and after that Stripe is only asked what became of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import stripe
from temporalio.exceptions import ApplicationError

from activities.context import business_time, log, too_late
from activities.reader import InvoiceReader, Reading
from activities.stripe_calls import StripeCalls, card_error, explained
from activities.stripe_objects import INVOICE_EXPANSION, StripeInvoice
from activities.stripe_reading import failed_charge, moment, refusal, wants_authentication
from dunning.case import AttemptResult, Charged
from dunning.decision import Charge, Order
from dunning.declines import classify
from dunning.facts import Failure, Invoice, Method
from ledger import Ledger
from ledger.records import AttemptClaim

#: How long Stripe surely remembers an idempotency key.
KEY_LIFE = timedelta(hours=24)
#: The clocks of two companies may differ by a little.
CLOCK_SKEW = timedelta(seconds=5)


@dataclass(frozen=True)
class Try:
    """One try of the activity: the order, the attempt it is about and the moment it started."""

    order: Order
    number: int
    blind: bool
    at: datetime

    def result(self, result: AttemptResult, **more: Any) -> Charged:
        """How the attempt ended."""
        return Charged(number=self.number, at=self.at, result=result, blind=self.blind, **more)


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
        this = Try(order, action.number, action.blind, business_time())
        ref = order.ref
        known = await self._ledger.attempts.get(ref.account, ref.invoice_id, this.number)
        if known is not None and known.result is not None:
            return Charged.model_validate(known.result)
        stop = await self._stopped(this)
        if stop is not None and known is None:
            return stop
        reading = await self._reader.read(ref, failure=known is not None)
        claim = await self._reserve(this, reading.facts)
        if claim.state == "done" and claim.result is not None:
            return Charged.model_validate(claim.result)
        if claim.state == "reserved":
            return await self._go_on(this, claim, reading, stop)
        return await self._first(this, claim, reading.facts)

    async def _stopped(self, this: Try) -> Charged | None:
        if await self._ledger.switches.halted() is not None:
            return this.result("held")
        return this.result("too_late") if too_late(this.order) else None

    async def _reserve(self, this: Try, facts: Invoice) -> AttemptClaim:
        ref, method = this.order.ref, facts.method
        return await self._ledger.attempts.reserve(
            case_id=ref.case_id,
            account=ref.account,
            invoice_id=ref.invoice_id,
            number=this.number,
            params=_params(method) if method else {},
            amount=facts.amount_remaining,
            currency=facts.currency,
            fingerprint=method.fingerprint if method else None,
            brand=method.brand if method else None,
            at=this.at,
        )

    # --- the first try --------------------------------------------------------------------------------

    async def _first(self, this: Try, claim: AttemptClaim, facts: Invoice) -> Charged:
        if facts.status != "open":
            return await self._conclude(this, this.result("not_needed", invoice=facts))
        if facts.processing:  # a bank debit is under way: its answer takes days, a second one would pay twice
            return await self._conclude(this, this.result("processing", invoice=facts))
        if facts.method is None:
            return await self._conclude(this, this.result("declined", invoice=facts))
        if this.order.shadow:
            return await self._conclude(this, this.result("shadow", method=facts.method, invoice=facts))
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
            return await self._conclude(this, this.result("unknown", method=method, invoice=facts))
        return await self._accepted(this, paid, method)

    async def _accepted(self, this: Try, paid: StripeInvoice, method: Method) -> Charged:
        facts = await self._reader.facts(this.order.ref, paid, None, this.at)
        if facts.status == "paid":
            facts = facts.model_copy(update={"paying_method": method})
            return await self._conclude(this, this.result("succeeded", method=method, invoice=facts))
        result: AttemptResult = "processing" if facts.processing else "unknown"
        return await self._conclude(this, this.result(result, method=method, invoice=facts))

    async def _declined(self, this: Try, error: stripe.CardError, method: Method, facts: Invoice) -> Charged:
        said = card_error(error)
        failure: Failure | None = None
        if said.charge:
            failure = failed_charge(await self._stripe.charge(this.order.ref, said.charge), said)
        if failure is None:
            failure = refusal(said, this.at, method)
        return await self._conclude(this, _failed(this, failure, failure.method or method, facts))

    async def _refused(self, this: Try, error: stripe.InvalidRequestError, method: Method) -> Charged:
        facts = (await self._reader.read(this.order.ref)).facts
        if facts.status != "open":
            return await self._conclude(this, this.result("not_needed", invoice=facts))
        if error.param in ("payment_method", "source"):  # detached since it was read: nothing to charge
            return await self._conclude(this, this.result("declined", method=method, invoice=facts))
        raise explained(error, "invoices.pay") from None

    # --- a later try, after one that got lost -----------------------------------------------------------

    async def _go_on(self, this: Try, claim: AttemptClaim, reading: Reading, stop: Charged | None) -> Charged:
        facts, age = reading.facts, this.at - claim.reserved_at
        witness = await self._witness(this, claim, reading)
        if stop is not None or age >= KEY_LIFE or facts.status not in ("open", "paid"):
            if witness is not None:
                return await self._conclude(this, witness)
            if facts.status != "open":
                return await self._conclude(this, this.result("not_needed", invoice=facts))
            if stop is not None:
                return stop
            return await self._conclude(this, this.result("unknown", method=_method(claim), invoice=facts))
        if facts.processing:
            return await self._conclude(this, this.result("processing", method=_method(claim), invoice=facts))
        if not claim.params:  # there was no method, so nothing was ever sent
            return await self._conclude(this, this.result("declined", invoice=facts))
        if this.order.shadow:
            return await self._conclude(this, this.result("shadow", method=_method(claim), invoice=facts))
        try:
            return await self._pay(this, claim, facts)
        except ApplicationError:
            if witness is None:
                raise
            return await self._conclude(this, witness)  # Stripe stored a 500 for what it had carried out

    async def _witness(self, this: Try, claim: AttemptClaim, reading: Reading) -> Charged | None:
        """What the invoice's last charge tells of the lost try: same method, made while its key was alive."""
        charge, method = reading.charge, _method(claim)
        if charge is None or method is None:
            return None
        made = moment(charge.created)
        ours = claim.reserved_at - CLOCK_SKEW <= made < claim.reserved_at + KEY_LIFE
        if not ours or charge.payment_method != method.id or await self._known(this, charge.id):
            return None
        failure = failed_charge(charge, None)
        if failure is not None:
            return _failed(this, failure, failure.method or method, reading.facts)
        if charge.status == "succeeded" and reading.facts.status == "paid":
            return this.result("succeeded", method=method, invoice=reading.facts)
        return None

    async def _known(self, this: Try, charge_id: str) -> bool:
        attempts = await self._ledger.attempts.of_invoice(this.order.ref.account, this.order.ref.invoice_id)
        return any(a.charge_id == charge_id for a in attempts if a.number != this.number)

    # --- the end ----------------------------------------------------------------------------------------

    async def _conclude(self, this: Try, charged: Charged) -> Charged:
        ref, failure = this.order.ref, charged.failure
        declined = charged.result in ("declined", "needs_authentication")
        cls = classify(failure).cls if declined else None
        first = await self._ledger.attempts.complete(
            account=ref.account,
            invoice_id=ref.invoice_id,
            number=this.number,
            result=charged.model_dump(mode="json"),
            outcome=charged.result,
            decline_class=cls.value if cls else None,
            charge_id=failure.charge if failure else None,
            at=this.at,
        )
        if not first:  # a try that was given up for lost came to its end before this one: its word counts
            row = await self._ledger.attempts.get(ref.account, ref.invoice_id, this.number)
            return Charged.model_validate(row.result) if row is not None and row.result else charged
        log(ref, "attempt ended", attempt=this.number, result=charged.result, decline_class=cls and cls.value)
        return charged


def _params(method: Method) -> dict[str, Any]:
    """What the row keeps: the request exactly as it is sent, and the method as it was known then."""
    field = "source" if method.type == "source" else "payment_method"
    return {
        "pay": {field: method.id, "expand": list(INVOICE_EXPANSION)},
        "method": method.model_dump(mode="json"),
    }


def _method(claim: AttemptClaim) -> Method | None:
    return Method.model_validate(claim.params["method"]) if claim.params else None


def _failed(this: Try, failure: Failure, method: Method, facts: Invoice) -> Charged:
    result: AttemptResult = "needs_authentication" if wants_authentication(failure) else "declined"
    invoice = facts.model_copy(update={"failure": failure})
    return this.result(result, method=method, failure=failure, invoice=invoice)
