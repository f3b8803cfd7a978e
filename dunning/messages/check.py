"""Proves the words of every locale before anybody gets them: all messages, all reasons, worst-case values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from functools import lru_cache
from html import unescape
from pathlib import Path
from typing import Any

from babel import Locale

from dunning.messages import NAMES_DUE_DAY, NAMES_LAST_DAY, NAMES_NO_AMOUNT, NEEDS_NO_LINK, TEMPLATES
from dunning.messages.catalogue import NEUTRAL, SENT, Catalogue, TemplatesError, available_locales, load
from dunning.messages.context import Business, Listed, MessageContext, Rendered
from dunning.messages.locales import DEFAULT, full_day, nearest, short_day, without_isolates
from dunning.messages.page_words import PAGE_FACTS, PageWords, page_text
from dunning.messages.render import RenderError, common, fits_subject, write
from dunning.messages.sms import normalise, segments
from dunning.messages.untranslated import untranslated
from dunning.money import Money, parse_locale
from dunning.values import Channel, DeclineClass

#: More would cost too much and be cut apart by some handsets.
SMS_LIMIT = 2

_COUNTED = 200  # numbers up to here show every plural form that a count of days or invoices can take

_WORST = Business(
    name="Northwind Software Group",
    sender_email="billing@northwind.example",
    postal_address="12 Long Street\nExampletown 12345",
    support_contact="https://help.northwind.example/billing",
)
_PAGE = "https://billing.northwind.example/r/" + "w" * 22
_UNSUBSCRIBE = "https://billing.northwind.example/u/" + "w" * 75


def check_templates(
    locales: Iterable[str] | None = None,
    *,
    folder: Path | None = None,
    business: Business = _WORST,
    page: str = _PAGE,
) -> list[str]:
    """What is wrong with the templates of these locales (None: all there are); nothing, if all is well.

    `folder` holds the business's own templates. Give the real `business` and a real link to prove that its
    own name and address fit into an SMS.
    """
    names = available_locales(folder) if locales is None else tuple(locales)
    return [
        f"{name}: {problem}"
        for name in names
        for problem in dict.fromkeys(_locale(name, folder, business, page))
    ]


def _locale(name: str, folder: Path | None, business: Business, page: str) -> Iterator[str]:
    try:
        catalogue, english = load(name, folder), load(DEFAULT)
    except TemplatesError as error:
        yield str(error)
        return
    yield from _gaps(catalogue)
    yield from _page_faults(catalogue, folder, business)
    yield from untranslated(catalogue.words, english.words)
    if nearest(name, available_locales(folder)) != name:
        yield "its customers get the words of another locale: is its folder there twice under two names?"
    judged: dict[tuple[str, Rendered, MessageContext], list[str]] = {}  # many say the same for any reason
    for context in worst_contexts(name, business, page):
        apart = context.model_copy(update={"reason": None})
        for channel in (Channel.EMAIL, Channel.SMS):
            where = f"{channel}, {context.reason or 'no reason'}"
            try:
                shared = common(channel, catalogue, context)
            except TemplatesError as error:
                yield f"every message, {where}: {error}"
                continue
            for template in sorted(TEMPLATES & set(catalogue.words.messages)):
                if template in NAMES_DUE_DAY and context.due_on is None:
                    continue
                try:
                    rendered = write(template, channel, context, catalogue, shared)
                    if (said := (template, rendered, apart)) not in judged:
                        judged[said] = list(_faults(template, context, rendered, catalogue, shared.facts))
                    problems = judged[said]
                except (TemplatesError, RenderError) as error:
                    problems = [str(error)]
                yield from (f"{template}, {where}: {problem}" for problem in problems)


def _gaps(catalogue: Catalogue) -> Iterator[str]:
    words, locale = catalogue.words, parse_locale(catalogue.locale)
    for template in sorted(TEMPLATES - set(words.messages)):
        yield f"{template} is missing: add it to messages"
    for template in sorted(set(words.messages) - TEMPLATES):
        yield f"{template} is not a message that the engine sends: remove it or mend its spelling"
    told = {cls.value for cls in DeclineClass if cls is not DeclineClass.REVIEW} | {NEUTRAL, SENT}
    for reason in sorted(told - set(words.reasons)):
        yield f"reasons.{reason} is missing: say how this decline is told"
    if parse_locale(words.language).language != locale.language:
        yield f"language is {words.language!r}: it must be that of the folder"
    if words.direction != locale.text_direction:
        yield f"direction is {words.direction}: {locale.text_direction} is how the language is written"
    if words.opt_out[0] not in words.phrases["stop"]:
        yield f"phrases.stop does not name {words.opt_out[0]!r}, the first word of opt_out"
    needed = {locale.plural_form(number) for number in range(_COUNTED)}
    for noun, forms in words.counts:
        for tag in sorted(needed - set(forms)):
            yield f"counts.{noun}.{tag} is missing: the language has this plural form"


def _page_faults(catalogue: Catalogue, folder: Path | None, business: Business) -> Iterator[str]:
    """What is wrong with the strings of the customer's page, all facts known."""
    locale = parse_locale(catalogue.locale)
    day = full_day(longest_days(locale)[0], locale)
    facts = dict.fromkeys(PAGE_FACTS, day) | {"business": business.name, "support": business.support_contact}
    try:
        text = page_text(catalogue.locale, facts, folder)
    except TemplatesError as error:
        yield str(error)
        return
    for name in PageWords.model_fields:
        try:
            told = text(name)
        except TemplatesError as error:
            yield f"page, {name}: {error}"
            continue
        yield from (f"page, {name} {problem}" for problem in _disclosures(told, catalogue.words.never))


def worst_contexts(locale: str, business: Business = _WORST, page: str = _PAGE) -> Iterator[MessageContext]:
    """Every reason with everything known, and with nothing known that may be unknown; the longest values."""
    last_day, other_day = longest_days(parse_locale(locale))
    bare = MessageContext(
        business=Business(name=business.name, sender_email=business.sender_email),
        amount=Money(amount=12345678, currency="pln"),
        pay_url=page,
        last_day=last_day,
        day=other_day,
        charge_on=other_day,
        card_expires="2031-09",
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
            "next_attempt_on": other_day,
            "suspended_on": other_day,
            "paid": True,
            "subscription_ended": True,
            "granted_days": 11,
            "open_invoices": 40,
            "unsubscribe_url": _UNSUBSCRIBE,
            "listed": tuple(
                Listed(name=f"A1B2C3D4-00{n}", amount=bare.amount, url=f"{page}/{n}") for n in (42, 43)
            ),
        }
    )
    for reason in (None, *DeclineClass):
        yield bare.model_copy(update={"reason": reason})
        yield full.model_copy(update={"reason": reason})
    yield bare.model_copy(update={"paid": True, "subscription_ended": True})
    yield full.model_copy(update={"paid": False, "subscription_ended": False})
    yield bare.model_copy(update={"due_on": other_day})
    yield full.model_copy(update={"due_on": other_day, "next_attempt_on": None})


@lru_cache(maxsize=64)
def longest_days(locale: Locale) -> tuple[date, date]:
    """Two days of one year with the longest names that the locale has; the short form decides."""
    days = [date(2031, month, day) for month in range(1, 13) for day in range(20, 27)]
    by_length = sorted(
        days, key=lambda d: (len(short_day(d, locale)), len(full_day(d, locale))), reverse=True
    )
    return by_length[0], next(day for day in by_length if day.month != by_length[0].month)


def _faults(
    template: str,
    context: MessageContext,
    rendered: Rendered,
    catalogue: Catalogue,
    facts: Mapping[str, Any],
) -> Iterator[str]:
    written = {"text": rendered.text} | ({"html": rendered.html} if rendered.html else {})
    parts = {part: _plain(text) for part, text in written.items()}
    for part, text in parts.items():
        if context.business.name not in text:
            yield f"{part} does not say who writes: add {{{{ business }}}}"
        if template not in NAMES_NO_AMOUNT and _plain(facts["total"]) not in text:
            yield f"{part} does not name the amount: add {{{{ amount }}}}"
        if template not in NEEDS_NO_LINK and str(context.pay_url) not in text:
            yield f"{part} has no link: add {{{{ url }}}}, or a button"
        if names_day(text, context.last_day, context.locale) != (template in NAMES_LAST_DAY):
            yield f"{part} {'does not name' if template in NAMES_LAST_DAY else 'names'} the last day"
        yield from (f"{part} {problem}" for problem in _disclosures(text, catalogue.words.never))
    if rendered.subject is None:
        yield from _sms_faults(rendered.text, facts)
        return
    yield from _unsubscription_faults(context, parts, facts["unsubscribe"])
    if not fits_subject(rendered.subject):
        length = len(without_isolates(rendered.subject))
        yield f"the subject has {length} characters: write a shorter last variant"


def _disclosures(text: str, never: tuple[str, ...]) -> Iterator[str]:
    lowered = text.lower()
    for word, small in zip(never, _lowered(never), strict=True):
        if small in lowered:
            yield f"says {word!r}: it discloses, blames or threatens"


@lru_cache(maxsize=64)
def _lowered(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word.lower() for word in words)


def _unsubscription_faults(context: MessageContext, parts: dict[str, str], words: str) -> Iterator[str]:
    """An optional e-mail shows how to unsubscribe from it, a critical one does not offer it."""
    for part, text in parts.items():
        offered = words != "" and _plain(words) in text
        if context.unsubscribe_url is None and offered:
            yield f"{part} says {words!r} where nobody can: leave it to the layout"
        if context.unsubscribe_url is not None and not (offered and context.unsubscribe_url in text):
            yield f"{part} has no link to unsubscribe: mend phrases.unsubscribe"


def _plain(text: str) -> str:
    """The text as it is read: no entities, no marks of direction, and every space an ordinary one."""
    text = unescape(text)
    for space in ("\N{NO-BREAK SPACE}", "\N{NARROW NO-BREAK SPACE}"):
        text = text.replace(space, " ")
    return without_isolates(text).replace("<bdi>", "").replace("</bdi>", "")


def _sms_faults(text: str, facts: Mapping[str, Any]) -> Iterator[str]:
    if (count := segments(text)) > SMS_LIMIT:
        yield f"the SMS takes {count} segments: write a shorter last variant"
    if normalise(facts["stop"]) not in text:
        yield "the SMS does not say how to opt out: end it with {{ stop }}"


def names_day(text: str, day: date | None, locale: str) -> bool:
    """Whether the text names the day, in the locale's full or short form."""
    return day is not None and any(form in text for form in _forms(day, parse_locale(locale)))


@lru_cache(maxsize=64)
def _forms(day: date, locale: Locale) -> frozenset[str]:
    """The day as messages write it, and as an SMS does."""
    forms = {full_day(day, locale), short_day(day, locale)}
    return frozenset(forms | set(map(normalise, forms)))
