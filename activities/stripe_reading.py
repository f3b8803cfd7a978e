"""Translates Stripe's objects into the facts of `dunning.facts`: no address, name or link gets through."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal, cast

from activities.stripe_objects import (
    MethodKinds,
    PaymentError,
    PaymentIntent,
    PaymentMethod,
    StripeCharge,
    StripeInvoice,
)
from dunning.facts import Failure, Invoice, InvoiceStatus, Method
from dunning.policy import known_zone
from dunning.risk import Level
from dunning.segments import Traits
from dunning.values import Channel
from dunning.whereabouts import Whereabouts, whereabouts

#: The error of `invoices.pay` when the customer must authenticate (docs.stripe.com/error-codes).
REQUIRES_ACTION = "invoice_payment_intent_requires_action"
#: Codes and decline codes that ask for 3-D Secure (docs.stripe.com/declines/codes).
AUTHENTICATION = frozenset({REQUIRES_ACTION, "authentication_required", "authentication_not_handled"})
#: What a customer's metadata may say for yes.
YES = frozenset({"true", "yes", "1"})
#: The metadata of a customer that says: my other cards may be charged when the default is declined for good.
BACKUP_CONSENT_KEY = "backup_consent"
_ENDED = frozenset({"canceled", "succeeded"})


def moment(seconds: int) -> datetime:
    """Stripe's Unix seconds as an aware UTC datetime."""
    return datetime.fromtimestamp(seconds, UTC)


def charge_worth_reading(invoice: StripeInvoice) -> str | None:
    """The id of the charge that paid the invoice, or of the last one that failed to, if there is one."""
    if invoice.status == "paid":
        paying = (i.latest_charge for i in invoice.intents if i.status == "succeeded" and i.latest_charge)
        return next(paying, None)
    intent = open_intent(invoice)
    return intent.latest_charge if intent and intent.status != "processing" else None


def telling_intent(invoice: StripeInvoice) -> PaymentIntent | None:
    """The PaymentIntent that paid the invoice, else the one that still has to."""
    if invoice.status != "paid":
        return open_intent(invoice)
    return next((intent for intent in invoice.intents if intent.status == "succeeded"), None)


def open_intent(invoice: StripeInvoice) -> PaymentIntent | None:
    """The PaymentIntent that still has to bring money: the default one before any other."""
    return next((intent for intent in invoice.intents if intent.status not in _ENDED), None)


def processing_intent(invoice: StripeInvoice) -> PaymentIntent | None:
    """The PaymentIntent whose payment is on its way."""
    return next((intent for intent in invoice.intents if intent.status == "processing"), None)


def invoice_facts(
    invoice: StripeInvoice, charge: StripeCharge | None, channels: tuple[Channel, ...], at: datetime
) -> Invoice:
    """The facts of an invoice read at `at`. `charge` is what `charge_worth_reading` named."""
    subscription = invoice.subscription
    paid = invoice.status == "paid"
    upcoming, due = invoice.next_payment_attempt, invoice.due_date
    place, method = method_to_charge(invoice)
    where = where_of(invoice)
    return Invoice(
        id=invoice.id,
        read_at=at,
        status=cast(InvoiceStatus, invoice.status or "draft"),
        currency=invoice.currency,
        amount_remaining=invoice.amount_remaining,
        customer=invoice.customer_id,
        subscription=invoice.subscription_id,
        subscription_status=subscription.status if subscription else None,
        billing_reason=invoice.billing_reason,
        collection_method=invoice.collection_method,
        due_date=moment(due) if due is not None else None,
        next_payment_attempt=moment(upcoming) if upcoming is not None else None,
        processing=processing_intent(invoice) is not None,
        paid_out_of_band=paid and not credited(invoice) and paid_elsewhere(invoice),
        credited=paid and credited(invoice),
        paying_method=charged_method(charge) if paid and charge else None,
        method=method,
        method_set_on=place,
        customer_method=customers_default(invoice) if place in ("invoice", "subscription") else None,
        backup_consent=agreed_to_backup(invoice),
        auto_advance=invoice.auto_advance,
        failure=None if paid else latest_failure(invoice, charge),
        channels=channels,
        zone=zone_of(invoice),
        zones=where.zones,
        place=where.place,
        livemode=invoice.livemode,
    )


def traits_of(invoice: StripeInvoice, risk: Level) -> Traits:
    """What the segments of policies go by. It holds metadata and stays inside the activity."""
    who, (_, method) = invoice.who, method_to_charge(invoice)
    lines = invoice.lines.data if invoice.lines else ()
    prices = [line.pricing.price_details for line in lines if line.pricing and line.pricing.price_details]
    home = who.address.country if who and who.address else None
    return Traits(
        customer=invoice.customer_id,
        currency=invoice.currency,
        amount=invoice.amount_remaining,
        country=home or (method.country if method else None),
        plans=tuple(name for price in prices for name in (price.price, price.product) if name),
        metadata=who.metadata if who else {},
        risk=risk,
    )


def gone(invoice_id: str, at: datetime) -> Invoice:
    """The facts of an invoice that Stripe does not know (any more)."""
    return Invoice(id=invoice_id, read_at=at, status="gone")


def credited(invoice: StripeInvoice) -> bool:
    """Whether credit notes took all that was owed, so that nobody had to pay anything."""
    return invoice.amount_paid == 0 and invoice.pre_payment_credit_notes_amount > 0


def paid_elsewhere(invoice: StripeInvoice) -> bool:
    """Whether a paid invoice with something due was paid without a payment through Stripe."""
    rows = invoice.payments.data if invoice.payments else ()
    through_stripe = any(row.status == "paid" and row.payment.type != "payment_record" for row in rows)
    return invoice.amount_due > 0 and not through_stripe


def agreed_to_backup(invoice: StripeInvoice) -> bool:
    """Whether the customer agreed that another attached card is charged."""
    said = invoice.who.metadata.get(BACKUP_CONSENT_KEY, "") if invoice.who else ""
    return said.strip().lower() in YES


def where_of(invoice: StripeInvoice) -> Whereabouts:
    """Where the customer may be. The billing address, the number and the language stay here."""
    who = invoice.who
    address = who.address if who else None
    return whereabouts(
        timezone_told=zone_of(invoice),
        country=address.country if address else None,
        state=address.state if address else None,
        phone=(who.phone if who else None) or invoice.customer_phone,
        locales=tuple((who.preferred_locales if who else None) or ()),
        currency=invoice.currency,
    )


def zone_of(invoice: StripeInvoice) -> str | None:
    """The customer's time zone from the metadata `timezone`, if it is one."""
    written = invoice.who.metadata.get("timezone", "").strip() if invoice.who else ""
    if not written:
        return None
    try:
        return known_zone(written)
    except ValueError:
        return None  # what is no zone counts as unknown: the policy's own zone is used


# --- methods ------------------------------------------------------------------------------------------


Place = Literal["invoice", "subscription", "customer"]


def method_to_charge(invoice: StripeInvoice) -> tuple[Place | None, Method | None]:
    """What Stripe would charge, and where it is set: the invoice's, subscription's or customer's default.

    At each place the payment method goes before the source (Stripe API reference:
    Invoice.default_payment_method, Subscription.default_payment_method, Customer.invoice_settings).
    """
    places: tuple[Place, ...] = ("invoice", "subscription", "customer")
    found = ((place, default_at(invoice, place)) for place in places)
    return next(((place, method) for place, method in found if method is not None), (None, None))


def default_at(invoice: StripeInvoice, place: Place) -> Method | None:
    """The default that is set at a place."""
    found: tuple[PaymentMethod | str | None, ...] = ()
    if place == "invoice":
        found = (invoice.default_payment_method, invoice.default_source)
    elif place == "subscription" and invoice.subscription is not None:
        found = (invoice.subscription.default_payment_method, invoice.subscription.default_source)
    elif place == "customer" and invoice.who is not None:
        found = (invoice.who.invoice_settings.default_payment_method, invoice.who.default_source)
    return next((_method(candidate) for candidate in found if candidate), None)


def customers_default(invoice: StripeInvoice) -> Method | None:
    """The customer's own default: what a new method becomes in Stripe's customer portal."""
    return default_at(invoice, "customer")


def next_card(cards: tuple[PaymentMethod, ...], tried: tuple[str, ...], at: datetime) -> Method | None:
    """The customer's newest card that is none of those tried (`Method.identity`) and has not expired."""
    methods = (_described(card.id, card) for card in cards)
    fresh = (method for method in methods if method.identity not in tried)
    return next((m for m in fresh if (m.exp_year or 0, m.exp_month or 0) >= (at.year, at.month)), None)


def _method(found: PaymentMethod | str) -> Method:
    if isinstance(found, str):  # a source, or a method that Stripe did not expand
        return Method(id=found, type="card" if found.startswith("pm_") else "source")
    return _described(found.id, found)


def charged_method(charge: StripeCharge) -> Method | None:
    """The method of a charge, with the card's details as they were at that moment."""
    details = charge.payment_method_details
    if charge.payment_method is None or details is None:
        return None
    return _described(charge.payment_method, details)


def _described(identifier: str, kind: MethodKinds) -> Method:
    known = (
        kind.card.model_dump(exclude={"last4", "wallet"})
        if kind.card
        else {"fingerprint": kind.bank_fingerprint}
    )
    return Method(id=identifier, type=kind.type, **known)


# --- failures -----------------------------------------------------------------------------------------


def latest_failure(invoice: StripeInvoice, charge: StripeCharge | None) -> Failure | None:
    """The last failed attempt on the invoice.

    The charge is the better witness: Stripe wipes `last_payment_error` whenever the PaymentIntent changes.
    What has no charge of its own (3-D Secure wanted, no answer from the customer) carries no time either; it
    counts from a second after the charge before it, or from the PaymentIntent's creation, so that reading it
    twice tells the same.
    """
    intent = open_intent(invoice)
    if intent is None:
        return None
    error = intent.last_payment_error
    chargeless = error is not None and error.charge is None
    if intent.status in ("requires_action", "requires_confirmation") or chargeless:
        at = moment(intent.created)
        if charge is not None:
            at = max(at, moment(charge.created) + timedelta(seconds=1))
        return refusal(error or PaymentError(code=REQUIRES_ACTION), at, None)
    return failed_charge(charge, error) if charge else None


def failed_charge(charge: StripeCharge, error: PaymentError | None) -> Failure | None:
    """The failure that a charge tells; None unless it failed. `error` adds what only that object says."""
    if charge.status != "failed":
        return None
    said = error if error is not None and error.charge in (None, charge.id) else PaymentError()
    outcome = charge.outcome
    issuer = outcome is not None and outcome.type == "issuer_declined"
    return Failure(
        at=moment(charge.created),
        charge=charge.id,
        code=said.code or charge.failure_code,
        decline_code=said.decline_code or (outcome.reason if outcome and issuer else None),
        advice_code=said.advice_code or (outcome.advice_code if outcome else None),
        network_advice_code=said.network_advice_code or (outcome.network_advice_code if outcome else None),
        network_decline_code=said.network_decline_code or (outcome.network_decline_code if outcome else None),
        outcome_type=outcome.type if outcome else None,
        outcome_reason=outcome.reason if outcome else None,
        network_status=outcome.network_status if outcome else None,
        method=charged_method(charge),
    )


def refusal(error: PaymentError, at: datetime, method: Method | None) -> Failure:
    """The failure that an error object tells by itself, without a charge."""
    told = error.payment_method
    return Failure(
        at=at,
        code=error.code,
        decline_code=error.decline_code,
        advice_code=error.advice_code,
        network_advice_code=error.network_advice_code,
        network_decline_code=error.network_decline_code,
        method=_described(told.id, told) if told else method,
    )


def wants_authentication(failure: Failure) -> bool:
    """Whether the failure says that only the customer, authenticating, can make the payment succeed."""
    return bool(AUTHENTICATION & {failure.code, failure.decline_code})
