"""What a message is made of, and what comes out. These values hold personal data: they are never logged."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from dunning.money import Money
from dunning.values import DeclineClass, Value

Line = Annotated[str, Field(min_length=1, pattern=r"^[^\x00-\x1f\x7f]+$")]  # one line: it may enter a header
Address = Annotated[str, Field(max_length=254, pattern=r"^[^@\s<>,;]+@[^@\s<>,;]+$")]
Url = Annotated[str, Field(pattern=r"^https?://[^\s<>\"]+$")]
# Control characters, marks of direction (they could turn the text around a value), the private use area.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069\ue000-\uf8ff]")


def _one_line(text: Any) -> Any:
    """What a billing record holds, on one line; None if nothing is left. No record may stop a message."""
    return " ".join(_UNPRINTABLE.sub(" ", text).split()) or None if isinstance(text, str) else text


def _four_digits(text: Any) -> Any:
    return text if isinstance(text, str) and re.fullmatch("[0-9]{4}", text) else None


Told = Annotated[str | None, BeforeValidator(_one_line)]
Last4 = Annotated[str | None, BeforeValidator(_four_digits)]
Link = Annotated[Url | None, BeforeValidator(lambda url: url or None)]


class Business(Value):
    """Who writes: the sender of messages and what stands below them."""

    name: Line
    sender_email: Address
    sender_name: Line | None = None  # as the mailbox shows it; None: `name`
    reply_to: Address | None = None  # a mailbox that somebody reads; None: `sender_email`
    postal_address: str | None = None
    support_contact: Line | None = None  # an address, a telephone number or a page
    portal_url: Link = None  # where a customer changes the card while no invoice is open
    default_locale: str = "en"  # whose words a customer gets when there are none in the customer's language


class Listed(Value):
    """One of several invoices that a message speaks of; with its own last day where the days differ."""

    name: Line  # its number
    amount: Money
    url: Link = None
    last_day: date | None = None


class MessageContext(Value):
    """The facts of one message. Days are days in the customer's zone; the last day counts to its end."""

    business: Business
    amount: Money  # what is still owed, or what was paid
    pay_url: Link  # the customer's page; most messages need it
    customer_name: str | None = None
    product: Told = None
    invoice_number: Told = None
    card_brand: str | None = None  # Stripe's word: visa, mastercard, amex, …
    card_last4: Last4 = None
    reason: DeclineClass | None = None
    hide_reason: bool = False  # the bank's reason must not be told (lost, stolen, suspected fraud)
    next_attempt_on: date | None = None  # only a day that is really planned
    due_on: date | None = None  # when the invoice is due that was sent instead of charged
    last_day: date | None = None
    suspended_on: date | None = None
    charge_on: date | None = None  # messages about a charge to come: its day
    card_expires: str | None = Field(default=None, pattern=r"^\d{4}-\d{2}$")  # "2031-09", its last month
    paid: bool = True  # `restored`: False when a person gave access back before the money came
    subscription_ended: bool = False  # `survey`: True when the subscription was canceled
    granted_days: int | None = Field(default=None, ge=1)  # `extension_granted`: how many days were added
    day: date | None = None  # the promised day, or the one by which a person answers
    open_invoices: int = Field(default=1, ge=1)  # how many invoices the amount covers
    more_amounts: tuple[Money, ...] = ()  # what is owed in other currencies
    listed: tuple[Listed, ...] = ()  # the invoices, when there are several
    unsubscribe_url: Link = None  # of an e-mail that is optional, and of no other
    locale: str = "en"  # as the customer's record holds it, well-formed or not


class Rendered(Value):
    """A message ready to send. An SMS is `text` alone."""

    text: str
    subject: str | None = None
    html: str | None = None
    locale: str = "en"  # the locale whose templates were used
    variables: tuple[str, ...] = ()  # WhatsApp: what fills the approved template, in order
