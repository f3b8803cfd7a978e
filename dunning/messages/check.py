"""Proves the words of every locale before anybody gets them: all messages, all reasons, worst-case values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date

from babel.dates import format_date, format_skeleton

from dunning.messages import NAMES_LAST_DAY, NEEDS_NO_LINK, TEMPLATES
from dunning.messages.catalogue import TemplatesError, Words, available_locales, load
from dunning.messages.context import Business, MessageContext, Rendered
from dunning.messages.render import SUBJECT_LIMIT, render, variables
from dunning.messages.sms import segments
from dunning.money import Money, parse_locale
from dunning.values import Channel, DeclineClass

#: More would cost too much and be cut apart by some handsets.
SMS_LIMIT = 2

_LAST_DAY, _OTHER_DAY = date(2031, 9, 24), date(2031, 10, 15)  # Wednesdays in September: the longest words
_WORST = Business(
    name="Northwind Software Group",
    sender_email="billing@northwind.example",
    postal_address="12 Long Street\nExampletown 12345",
    support_contact="https://help.northwind.example/billing",
)
_PAGE = "https://billing.northwind.example/r/" + "w" * 22


def check_templates(
    locales: Iterable[str] | None = None, *, business: Business = _WORST, page: str = _PAGE
) -> list[str]:
    """What is wrong with the templates of these locales (None: all there are); nothing, if all is well.

    Give the real `business` and a real link to prove that its own name and address fit into an SMS.
    """
    names = available_locales() if locales is None else tuple(locales)
    return [
        f"{name}: {problem}" for name in names for problem in dict.fromkeys(_locale(name, business, page))
    ]


def _locale(name: str, business: Business, page: str) -> Iterator[str]:
    try:
        words = load(name).words
    except TemplatesError as error:
        yield str(error)
        return
    yield from _gaps(words)
    for template in sorted(TEMPLATES & set(words.messages)):
        for context in _contexts(name, business, page):
            for channel in (Channel.EMAIL, Channel.SMS):
                try:
                    rendered = render(template, channel, context)
                except (TemplatesError, KeyError) as error:
                    yield f"{template}, {channel}: {error}"
                    continue
                for problem in _faults(template, context, rendered, words):
                    yield f"{template}, {channel}, {context.reason or 'no reason'}: {problem}"


def _gaps(words: Words) -> Iterator[str]:
    for template in sorted(TEMPLATES - set(words.messages)):
        yield f"{template} is missing: add it to messages"
    for template in sorted(set(words.messages) - TEMPLATES):
        yield f"{template} is not a message that the engine sends: remove it or mend its spelling"
    told = {cls.value for cls in DeclineClass if cls is not DeclineClass.REVIEW} | {"neutral"}
    for reason in sorted(told - set(words.reasons)):
        yield f"reasons.{reason} is missing: say how this decline is told"


def _contexts(locale: str, business: Business, page: str) -> Iterator[MessageContext]:
    """Every reason with everything known, and with nothing known that may be unknown."""
    bare = MessageContext(
        business=Business(name=business.name, sender_email=business.sender_email),
        amount=Money(amount=12345678, currency="pln"),
        pay_url=page,
        last_day=_LAST_DAY,
        paid=False,
        locale=locale,
    )
    full = bare.model_copy(
        update={
            "business": business,
            "customer_name": "Wilhelmina Featherstonehaugh",
            "product": "Professional Team Plus",
            "invoice_number": "A1B2C3D4-0042",
            "card_brand": "amex",
            "card_last4": "0005",
            "next_attempt_on": _OTHER_DAY,
            "suspended_on": _OTHER_DAY,
            "paid": True,
            "subscription_ended": True,
        }
    )
    for reason in (None, *DeclineClass):
        yield bare.model_copy(update={"reason": reason})
        yield full.model_copy(update={"reason": reason})
    yield bare.model_copy(update={"paid": True, "subscription_ended": True})
    yield full.model_copy(update={"paid": False, "subscription_ended": False})


def _faults(template: str, context: MessageContext, rendered: Rendered, words: Words) -> Iterator[str]:
    parts = {"text": rendered.text} | ({"html": rendered.html} if rendered.html else {})
    facts = variables(load(rendered.locale), context, for_sms=rendered.subject is None)
    for part, text in parts.items():
        plain = text.replace("\N{NO-BREAK SPACE}", " ")
        if context.business.name not in plain:
            yield f"{part} does not say who writes: add {{{{ business }}}}"
        if facts["amount"].replace("\N{NO-BREAK SPACE}", " ") not in plain:
            yield f"{part} does not name the amount: add {{{{ amount }}}}"
        if template not in NEEDS_NO_LINK and str(context.pay_url) not in plain:
            yield f"{part} has no link: add {{{{ url }}}}, or a button"
        if names_day(plain, _LAST_DAY, context.locale) != (template in NAMES_LAST_DAY):
            yield f"{part} {'does not name' if template in NAMES_LAST_DAY else 'names'} the last day"
        for word in words.never:
            if word.lower() in plain.lower():
                yield f"{part} says {word!r}: it discloses, blames or threatens"
    if rendered.subject is None:
        yield from _sms_faults(rendered.text, facts)
    elif not 0 < len(rendered.subject) <= SUBJECT_LIMIT:
        yield f"the subject has {len(rendered.subject)} characters: write a shorter last variant"


def _sms_faults(text: str, facts: dict[str, str]) -> Iterator[str]:
    if (count := segments(text)) > SMS_LIMIT:
        yield f"the SMS takes {count} segments: write a shorter last variant"
    if facts["stop"] not in text:
        yield "the SMS does not say how to opt out: end it with {{ stop }}"


def names_day(text: str, day: date, locale: str) -> bool:
    """Whether the text names the day, in the locale's full or short form."""
    babel = parse_locale(locale)
    return (
        format_date(day, "full", locale=babel) in text or format_skeleton("MMMd", day, locale=babel) in text
    )
