"""What a charge means for the limits of its card: who made it, whether a network saw it, what it forbids."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from activities.stripe_objects import StripeCharge
from activities.stripe_reading import charged_method, failed_charge, moment, wants_authentication
from dunning.budget import Lock, Planned, limits_at
from dunning.case import CaseRef, Charged
from dunning.declines import classify
from dunning.facts import Failure, Invoice, Method
from ledger import Ledger
from ledger.attempts import PROVISIONAL
from ledger.records import AttemptRecord, ChargeRecord

#: The advice that comes with every expired card (docs.stripe.com/declines/card): it forbids this expiry only.
_MASTERCARD_NEVER, _NEVER = "03", "do_not_try_again"
_EXPIRED_TEXTS = frozenset({"expired_card", "partner_expired_card"})
_EXPIRED_BY_NETWORK = "54"


class Witness:
    """Remembers the charges that a look at Stripe shows."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def saw(self, ref: CaseRef, charges: tuple[StripeCharge, ...], at: datetime) -> None:
        """Remember what the engine did not make itself, and the late word on what it made.

        While an attempt on the invoice has no end yet, nobody can tell whose a new charge is: it is left for
        the next look.
        """
        if not charges:
            return
        attempts = await self._ledger.attempts.of_invoice(ref.account, ref.invoice_id)
        if any(attempt.completed_at is None for attempt in attempts):
            return
        ours = {attempt.charge_id: attempt for attempt in attempts if attempt.charge_id}
        await self._ledger.charges.saw(*(record_of(ref, one) for one in charges if one.id not in ours))
        for charge in charges:
            if charge.id in ours and ours[charge.id].outcome in PROVISIONAL:
                await self._settle(ours[charge.id], charge, at)

    async def _settle(self, attempt: AttemptRecord, charge: StripeCharge, at: datetime) -> None:
        """The bank's late word on an attempt of ours, such as a debit that was returned days later."""
        failure = failed_charge(charge, None)
        if attempt.result is None or (failure is None and charge.status != "succeeded"):
            return
        result = result_of(failure)
        told = Charged.model_validate(attempt.result).model_copy(
            update={"result": result, "failure": failure}
        )
        await self._ledger.attempts.complete(
            account=attempt.account,
            invoice_id=attempt.invoice_id,
            number=attempt.number,
            result=told.model_dump(mode="json"),
            outcome=result,
            decline_class=classify(failure).cls.value if failure else None,
            charge_id=charge.id,
            at=at,
            charged_at=moment(charge.created),
            reached_network=reached_network(failure),
            lock=lock_of(failure),
        )


def planned(method: Method, facts: Invoice, at: datetime, *, blind: bool = True) -> Planned:
    """The charge of what the invoice still owes with a method, as the limits see it.

    Somebody who just replaced a card takes part in the charge that follows. Not so where the bank must be
    asked with the customer present: the engine's charges are off-session, whoever caused them.
    """
    kind = (method.type, (method.country or "").upper())
    absent_never = any(kind == (rule.scheme, rule.country) for rule in limits_at(at.date()).absent_never)
    return Planned(
        at=at,
        fingerprint=method.fingerprint,
        expiry=expiry(method),
        brand=method.brand,
        funding=method.funding,
        country=method.country,
        amount=facts.amount_remaining,
        currency=facts.currency,
        scheme=method.type,
        invoice_id=facts.id,
        customer_present=not blind and not absent_never,
    )


def expiry(method: Method) -> str | None:
    """The card's expiry as "2029-04"."""
    return f"{method.exp_year:04d}-{method.exp_month:02d}" if method.exp_year and method.exp_month else None


def result_of(failure: Failure | None) -> Literal["succeeded", "declined", "needs_authentication"]:
    """How an attempt ended that ended so."""
    if failure is None:
        return "succeeded"
    return "needs_authentication" if wants_authentication(failure) else "declined"


def reached_network(failure: Failure | None) -> bool:
    """Whether the network saw the attempt (Stripe API reference: Charge.outcome.network_status).

    What has no charge was refused by Stripe, or waits for the customer, before anybody was asked.
    """
    if failure is None:
        return True
    if failure.charge is None and failure.network_decline_code is None:
        return False
    return failure.network_status != "not_sent_to_network"


def lock_of(failure: Failure | None) -> Lock | None:
    """What the answer forbids for good: this card, this card with this expiry, or nothing.

    An expired card is told "never again" by every source (Mastercard advice 03), and works again with its new
    expiry: such a ban counts for the expiry, unless something else forbids the card as well.
    """
    if failure is None or not reached_network(failure):
        return None
    texts = {failure.code, failure.decline_code, failure.outcome_reason}
    if _EXPIRED_TEXTS & texts or failure.network_decline_code == _EXPIRED_BY_NETWORK:
        return "card" if classify(_without_usual_advice(failure)).locked else "expiry"
    if classify(failure).locked:
        return "card"
    return "expiry" if failure.advice_code == "confirm_card_data" else None


def _without_usual_advice(failure: Failure) -> Failure:
    usual: dict[str, str | None] = {}
    if failure.network_advice_code == _MASTERCARD_NEVER:
        usual["network_advice_code"] = None
    if failure.advice_code == _NEVER:
        usual["advice_code"] = None
    return failure.model_copy(update=usual)


def record_of(ref: CaseRef, charge: StripeCharge) -> ChargeRecord:
    """What the ledger keeps of a charge that the engine did not make."""
    failure, method = failed_charge(charge, None), charged_method(charge)
    return ChargeRecord(
        account=ref.account,
        charge_id=charge.id,
        invoice_id=ref.invoice_id,
        at=moment(charge.created),
        status=charge.status,
        amount=charge.amount,
        currency=charge.currency,
        scheme=method.type if method else "card",
        fingerprint=method.fingerprint if method else None,
        expiry=expiry(method) if method else None,
        brand=method.brand if method else None,
        funding=method.funding if method else None,
        country=method.country if method else None,
        decline_class=classify(failure).cls.value if failure else None,
        reached_network=reached_network(failure),
        lock=lock_of(failure),
    )
