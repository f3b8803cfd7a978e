"""Stripe's objects at the door: the fields the engine reads, typed, everything else left outside.

A `StripeObject` raises AttributeError for a field that the JSON left out, so it is turned into a plain
dictionary and validated here. Field names: Stripe API reference, version 2026-10-28.endive.
"""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from stripe import StripeObject
from temporalio.exceptions import ApplicationError


class Wire(BaseModel):
    """A part of an answer of Stripe's. Fields that are not named are never kept."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Card(Wire):
    """`PaymentMethod.card` and `Charge.payment_method_details.card`."""

    brand: str | None = None
    fingerprint: str | None = None
    funding: str | None = None
    country: str | None = None
    exp_month: int | None = None
    exp_year: int | None = None
    last4: str | None = None
    wallet: dict[str, Any] | None = None


class BankAccount(Wire):
    """`PaymentMethod.us_bank_account` and its likes; a fingerprint tells one account from another."""

    fingerprint: str | None = None


class MethodKinds(Wire):
    """The part of a payment method, or of a charge's details, that depends on its type."""

    type: str = "card"
    card: Card | None = None
    us_bank_account: BankAccount | None = None
    bacs_debit: BankAccount | None = None
    sepa_debit: BankAccount | None = None
    au_becs_debit: BankAccount | None = None
    acss_debit: BankAccount | None = None

    @property
    def bank_fingerprint(self) -> str | None:
        """The fingerprint of the bank account, where Stripe gives one."""
        accounts = (
            self.us_bank_account,
            self.bacs_debit,
            self.sepa_debit,
            self.au_becs_debit,
            self.acss_debit,
        )
        return next((account.fingerprint for account in accounts if account is not None), None)


class PaymentMethod(MethodKinds):
    """A payment method; `card` only for cards."""

    id: str
    customer: str | None = None


class PaymentMethods(Wire):
    """A list of payment methods, newest first."""

    data: tuple[PaymentMethod, ...] = ()


class Outcome(Wire):
    """`Charge.outcome`: what the network or Stripe's own rules said."""

    type: str | None = None
    reason: str | None = None
    network_status: str | None = None
    advice_code: str | None = None
    network_advice_code: str | None = None
    network_decline_code: str | None = None


class MethodDetails(MethodKinds):
    """`Charge.payment_method_details`."""


class StripeCharge(Wire):
    """A charge: one attempt to move money."""

    id: str
    created: int
    status: str
    amount: int = 0
    currency: str = "usd"
    failure_code: str | None = None
    outcome: Outcome | None = None
    customer: str | None = None
    payment_method: str | None = None
    payment_method_details: MethodDetails | None = None


class StripeCharges(Wire):
    """A list of charges, newest first."""

    data: tuple[StripeCharge, ...] = ()


class PaymentError(Wire):
    """`PaymentIntent.last_payment_error`, and the body of a 402 answer."""

    code: str | None = None
    decline_code: str | None = None
    advice_code: str | None = None
    network_advice_code: str | None = None
    network_decline_code: str | None = None
    charge: str | None = None
    payment_method: PaymentMethod | None = None


class PaymentIntent(Wire):
    """A PaymentIntent of an invoice."""

    id: str
    status: str
    created: int
    latest_charge: str | None = None
    last_payment_error: PaymentError | None = None


class Payment(Wire):
    """`InvoicePayment.payment`: by what the invoice is paid."""

    type: str
    payment_intent: PaymentIntent | str | None = None
    charge: str | None = None


class InvoicePayment(Wire):
    """What links an invoice to a payment (since API version 2025-03-31.basil)."""

    id: str
    status: str
    is_default: bool = False
    payment: Payment


class InvoicePayments(Wire):
    """The list in `Invoice.payments`."""

    data: tuple[InvoicePayment, ...] = ()


class InvoiceSettings(Wire):
    """`Customer.invoice_settings`."""

    default_payment_method: PaymentMethod | str | None = None


class Address(Wire):
    """A billing address, as far as it says where somebody lives."""

    country: str | None = None
    state: str | None = None
    postal_code: str | None = None


class Customer(Wire):
    """A customer. A deleted one has nothing but its id."""

    id: str
    deleted: bool = False
    email: str | None = None
    phone: str | None = None
    name: str | None = None
    address: Address | None = None
    preferred_locales: tuple[str, ...] | None = None
    metadata: dict[str, str] = {}
    invoice_settings: InvoiceSettings = InvoiceSettings()
    default_source: str | None = None


class PauseCollection(Wire):
    """`Subscription.pause_collection`; `resumes_at` in Unix seconds."""

    behavior: str
    resumes_at: int | None = None


class BillingMode(Wire):
    """`Subscription.billing_mode`."""

    type: str = "classic"


class Subscription(Wire):
    """A subscription."""

    id: str
    status: str
    pause_collection: PauseCollection | None = None
    billing_mode: BillingMode | None = None
    collection_method: str = "charge_automatically"
    schedule: str | None = None
    cancel_at: int | None = None
    default_payment_method: PaymentMethod | str | None = None
    default_source: str | None = None


class SubscriptionDetails(Wire):
    """`Invoice.parent.subscription_details`."""

    subscription: Subscription | str | None = None


class Parent(Wire):
    """`Invoice.parent`: what the invoice belongs to."""

    subscription_details: SubscriptionDetails | None = None


class PriceDetails(Wire):
    """`Pricing.price_details`: ids."""

    price: str | None = None
    product: str | None = None


class Pricing(Wire):
    """`InvoiceLineItem.pricing`."""

    price_details: PriceDetails | None = None


class Line(Wire):
    """A line of an invoice."""

    description: str | None = None
    pricing: Pricing | None = None


class Lines(Wire):
    """The list in `Invoice.lines`."""

    data: tuple[Line, ...] = ()


class StatusTransitions(Wire):
    """When an invoice changed; Unix seconds."""

    paid_at: int | None = None


class StripeInvoice(Wire):
    """An invoice with its customer, subscription, payments and default methods expanded."""

    id: str
    status: str | None = None
    currency: str = "usd"
    amount_due: int = 0
    amount_remaining: int = 0
    amount_paid: int = 0
    pre_payment_credit_notes_amount: int = 0
    auto_advance: bool | None = None
    customer: Customer | str | None = None
    customer_email: str | None = None
    customer_phone: str | None = None
    customer_name: str | None = None
    billing_reason: str | None = None
    collection_method: str = "charge_automatically"
    due_date: int | None = None
    next_payment_attempt: int | None = None
    created: int = 0
    number: str | None = None
    hosted_invoice_url: str | None = None
    livemode: bool = False
    parent: Parent | None = None
    payments: InvoicePayments | None = None
    lines: Lines | None = None
    default_payment_method: PaymentMethod | str | None = None
    default_source: str | None = None
    status_transitions: StatusTransitions = StatusTransitions()

    @property
    def who(self) -> Customer | None:
        """The expanded customer; None when there is none or it was deleted."""
        return self.customer if isinstance(self.customer, Customer) and not self.customer.deleted else None

    @property
    def customer_id(self) -> str:
        """The customer's id, or an empty string."""
        return self.customer.id if isinstance(self.customer, Customer) else self.customer or ""

    @property
    def billed(self) -> Subscription | str | None:
        """The subscription that the invoice bills, expanded or by its id."""
        details = self.parent.subscription_details if self.parent else None
        return details.subscription if details else None

    @property
    def subscription(self) -> Subscription | None:
        """The expanded subscription that the invoice bills."""
        return self.billed if isinstance(self.billed, Subscription) else None

    @property
    def subscription_id(self) -> str | None:
        """The id of the subscription that the invoice bills."""
        return self.billed.id if isinstance(self.billed, Subscription) else self.billed

    @property
    def customer_deleted(self) -> bool:
        """Whether the customer was deleted: what the invoice still says of them is not to be used."""
        return isinstance(self.customer, Customer) and self.customer.deleted

    @property
    def intents(self) -> tuple[PaymentIntent, ...]:
        """The invoice's PaymentIntents, the default one first, then as Stripe lists them: newest first."""
        rows = sorted(self.payments.data if self.payments else (), key=lambda row: not row.is_default)
        found = (row.payment.payment_intent for row in rows if row.status != "canceled")
        return tuple(intent for intent in found if isinstance(intent, PaymentIntent))


class ListedInvoice(Wire):
    """An invoice as it stands in a list, nothing expanded."""

    id: str
    created: int
    attempted: bool = False
    amount_remaining: int = 0
    collection_method: str = "charge_automatically"
    billing_reason: str | None = None
    due_date: int | None = None


class InvoiceList(Wire):
    """A page of invoices, newest first."""

    data: tuple[ListedInvoice, ...] = ()
    has_more: bool = False


class StripeInvoices(Wire):
    """A list of invoices, newest first."""

    data: tuple[StripeInvoice, ...] = ()


#: What `StripeInvoice` needs expanded; Stripe expands four levels at most.
INVOICE_EXPANSION = [
    "customer.invoice_settings.default_payment_method",
    "default_payment_method",
    "parent.subscription_details.subscription.default_payment_method",
    "payments.data.payment.payment_intent",
]
#: The same for an invoice whose customer was deleted: nothing below such a customer can be expanded.
DELETED_CUSTOMER_EXPANSION = ["customer", *INVOICE_EXPANSION[1:]]

W = TypeVar("W", bound=Wire)


def parse(model: type[W], answer: StripeObject) -> W:
    """Read an answer of Stripe's. Raises ApplicationError `StripeAnswerUnreadable`: fields, never values."""
    return parse_dict(model, answer.to_dict())


def parse_dict(model: type[W], data: dict[str, Any]) -> W:
    """The same for an answer that is a dictionary already."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False, include_context=False)
        fields = ", ".join(sorted({".".join(str(part) for part in problem["loc"]) for problem in problems}))
        raise ApplicationError(
            f"Stripe's {model.__name__} does not look as its API reference says (fields: {fields}): "
            "check that no proxy changes the answers and that the API version is the pinned one",
            type="StripeAnswerUnreadable",
        ) from None
