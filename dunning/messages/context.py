"""What a message is made of, and what comes out. These values hold personal data: they are never logged."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import Field

from dunning.money import Money
from dunning.values import DeclineClass, Value

Line = Annotated[str, Field(min_length=1, pattern=r"^[^\x00-\x1f\x7f]+$")]  # one line: it may enter a header
Address = Annotated[str, Field(max_length=254, pattern=r"^[^@\s<>,;]+@[^@\s<>,;]+$")]
Url = Annotated[str, Field(pattern=r"^https?://[^\s<>\"]+$")]


class Business(Value):
    """Who writes: the sender of messages and what stands below them."""

    name: Line
    sender_email: Address
    sender_name: Line | None = None  # as the mailbox shows it; None: `name`
    reply_to: Address | None = None  # a mailbox that somebody reads; None: `sender_email`
    postal_address: str | None = None
    support_contact: Line | None = None  # an address, a telephone number or a page


class MessageContext(Value):
    """The facts of one message. Days are days in the customer's zone; the last day counts to its end."""

    business: Business
    amount: Money  # what is still owed, or what was paid
    pay_url: Url  # the customer's page
    customer_name: str | None = None
    product: Line | None = None
    invoice_number: Line | None = None
    card_brand: str | None = None  # Stripe's word: visa, mastercard, amex, …
    card_last4: Annotated[str, Field(pattern=r"^[0-9]{4}$")] | None = None
    reason: DeclineClass | None = None
    hide_reason: bool = False  # the bank's reason must not be told (lost, stolen, suspected fraud)
    next_attempt_on: date | None = None  # only a day that is really planned
    last_day: date | None = None
    suspended_on: date | None = None
    paid: bool = True  # `restored`: False when a person gave access back before the money came
    subscription_ended: bool = False  # `survey`: True when the subscription was canceled
    locale: str = "en"


class Rendered(Value):
    """A message ready to send. An SMS is `text` alone."""

    text: str
    subject: str | None = None
    html: str | None = None
    locale: str = "en"  # the locale whose templates were used
