"""From facts to the words of one message. Pure: no clock, no network; the same facts give the same words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from babel import Locale

from dunning.messages import ABOUT_A_CHARGE, NAMES_DUE_DAY, NAMES_LAST_DAY, NEEDS_NO_LINK, TEMPLATES
from dunning.messages.catalogue import (
    NEUTRAL,
    SENT,
    Catalogue,
    Message,
    TemplatesError,
    catalogue_for,
    email_html,
    email_text,
    inlined,
    unmarked,
)
from dunning.messages.context import MessageContext, Rendered
from dunning.messages.locales import full_day, isolated, month, short_day, without_isolates
from dunning.messages.sms import is_gsm7, normalise, segments
from dunning.money import Money, format_money, parse_locale
from dunning.values import Channel, DeclineClass

#: What a mailbox on a telephone shows of a subject.
SUBJECT_LIMIT = 50

#: Classes whose reason is nobody's business but the bank's.
_UNTOLD = frozenset({DeclineClass.REVIEW})

# A greeting repeats what a customer typed as a name. Nothing that could be read as a link or an address.
_NAME = re.compile(
    r"[^\W_][^/\\@:;<>\[\]{}()|=&%#*+\"_\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069\ue000-\uf8ff]{0,59}"
)

_ADDRESS = re.compile(r"https?://\S+|\S+@\S+")


class RenderError(ValueError):
    """A message that cannot be written; the text says which and what is missing."""


def render(
    template: str, channel: Channel, context: MessageContext, *, folder: Path | None = None
) -> Rendered:
    """The words of the message `template` for one channel; those in the business's own `folder` come first.

    E-mail has subject, text and HTML with the same facts; SMS has text, in GSM-7 where that is possible.
    WhatsApp has variables for an approved template.
    Raises RenderError for an unknown template, a missing last day or link, and
    TemplatesError for words that cannot be used.
    """
    catalogue = catalogue_for(context.locale, folder, default=context.business.default_locale)
    shared = common(channel, catalogue, context)
    return styled(write(template, channel, context, catalogue, shared))


def write(
    template: str, channel: Channel, context: MessageContext, catalogue: Catalogue, shared: Common
) -> Rendered:
    """`render` with the words of a catalogue and what is `common` to all messages of the context.

    Styles are not in the elements yet (`styled`): for reading, not for sending.
    """
    if template not in TEMPLATES:
        raise RenderError(f"there is no message {template!r}: use one of {', '.join(sorted(TEMPLATES))}")
    if template in NAMES_LAST_DAY and context.last_day is None:
        raise RenderError(f"message {template!r} names the last day of grace: give `last_day`")
    if template in NAMES_DUE_DAY and context.due_on is None:
        raise RenderError(f"message {template!r} names the day on which the invoice is due: give `due_on`")
    if template in ABOUT_A_CHARGE and context.charge_on is None:
        raise RenderError(f"message {template!r} is about a charge to come: give `charge_on`")
    asks_nothing = template in NEEDS_NO_LINK and (context.paid or template in ABOUT_A_CHARGE)
    if context.pay_url is None and not asks_nothing:
        raise RenderError(f"message {template!r} leads to the customer's page: give `pay_url`")
    message = catalogue.message(template)
    if channel is Channel.EMAIL:
        return _email(catalogue, message, context, shared)
    if channel is Channel.SMS:
        return _sms(catalogue, message, shared.facts)
    return _whatsapp(template, catalogue, message, shared.facts)


def styled(rendered: Rendered) -> Rendered:
    """What was written with its styles in the elements: for sending."""
    return rendered.model_copy(update={"html": inlined(rendered.html)}) if rendered.html else rendered


def fits_subject(text: str) -> bool:
    """Whether a subject is shown whole; marks of direction take no room."""
    return 0 < len(without_isolates(text)) <= SUBJECT_LIMIT


def _email(catalogue: Catalogue, message: Message, context: MessageContext, shared: Common) -> Rendered:
    facts = shared.facts
    subject = _first(catalogue, message.subject, facts, fits_subject)
    page = {
        **facts,
        **shared.frame,
        "start": "right" if catalogue.words.direction == "rtl" else "left",
        "lang": catalogue.words.language,
        "dir": catalogue.words.direction,
        "title": without_isolates(subject),
        "body": _texts(catalogue, message.body, facts),
        "button": catalogue.render(message.button, facts),
        "unsubscribe_url": context.unsubscribe_url,
    }
    return Rendered(subject=subject, text=email_text(page), html=email_html(page), locale=catalogue.locale)


def _lines(catalogue: Catalogue, context: MessageContext) -> list[tuple[str | None, str | None]]:
    """The invoices one by one, when there are several: number, amount, and the last day where it differs; a
    link with each.
    """
    locale = _format_locale(catalogue, context.locale)
    lines = []
    for line in context.listed:
        parts = [_money(catalogue, line.amount, locale), _day(line.last_day, locale)]
        text = f"{line.name}: {', '.join(part for part in parts if part)}"
        lines.append((_placed(catalogue, text, for_sms=False), line.url))
    return lines


def _sms(catalogue: Catalogue, message: Message, facts: Mapping[str, Any]) -> Rendered:
    """The first text that fits. How many invoices it is about is left out where there is no room for it."""
    for told in (facts, {**facts, "amount": facts["total"]}):
        texts = [normalise(unmarked(text)) for text in _some(catalogue, message.sms, told)]
        fits = next((text for most in (1, 2) for text in texts if segments(text) <= most), None)
        if fits is not None:
            break
    return Rendered(text=fits or texts[-1], locale=catalogue.locale)


def _whatsapp(template: str, catalogue: Catalogue, message: Message, facts: Mapping[str, Any]) -> Rendered:
    """The variables of an approved template, in order; `text` says the same in our own words."""
    names = ["business", "amount", "url", *(["last_day"] if template in NAMES_LAST_DAY else [])]
    told = tuple(without_isolates(facts[name] or "") for name in names)
    return _sms(catalogue, message, facts).model_copy(update={"variables": told})


def _texts(catalogue: Catalogue, sources: tuple[str, ...], facts: Mapping[str, Any]) -> list[str]:
    return [text for text in (catalogue.render(source, facts) for source in sources) if text]


def _some(catalogue: Catalogue, sources: tuple[str, ...], facts: Mapping[str, Any]) -> list[str]:
    texts = _texts(catalogue, sources, facts)
    if not texts:
        raise TemplatesError(
            f"{catalogue.origin}: every variant of {sources[0][:60]!r} is empty: add one that is not"
        )
    return texts


def _first(
    catalogue: Catalogue, sources: tuple[str, ...], facts: Mapping[str, Any], fits: Callable[[str], bool]
) -> str:
    """The first text that fits, else the last one, on one line: a subject is a header."""
    texts = [" ".join(unmarked(text).split()) for text in _some(catalogue, sources, facts)]
    return next(filter(fits, texts), texts[-1])


class Common(NamedTuple):
    """Its `variables`, and what stands around the words of an e-mail: the invoices and the foot."""

    facts: Mapping[str, Any]
    frame: Mapping[str, Any]


def common(channel: Channel, catalogue: Catalogue, context: MessageContext) -> Common:
    """What the messages of a channel share. Raises TemplatesError for words that cannot be used."""
    facts = variables(catalogue, context, for_sms=channel is not Channel.EMAIL)
    if channel is not Channel.EMAIL:
        return Common(facts, {})
    footer = _texts(catalogue, catalogue.words.footer, facts)
    return Common(facts, {"listed": _lines(catalogue, context), "footer": footer})


def variables(catalogue: Catalogue, context: MessageContext, *, for_sms: bool = False) -> dict[str, Any]:
    """All that the strings of a catalogue may name: facts as text, then phrases and the reason's words."""
    facts = _facts(catalogue, context, for_sms=for_sms)
    for name, source in catalogue.words.phrases.items():
        facts[name] = catalogue.render(source, facts)
    for name, source in catalogue.reason(_reason(context)).model_dump().items():
        facts[name] = catalogue.render(source, facts)
    return facts


def _facts(catalogue: Catalogue, context: MessageContext, *, for_sms: bool) -> dict[str, Any]:
    locale, business = _format_locale(catalogue, context.locale), context.business
    counts, several = catalogue.words.counts, context.open_invoices > 1
    covered = several and catalogue.counted(counts.open_invoices, context.open_invoices)
    amount = _amount(catalogue, context, locale, for_sms=for_sms)
    values: dict[str, str | None] = {
        "business": business.name,
        "support": business.support_contact,
        "postal_address": ", ".join((business.postal_address or "").split("\n")) or None,
        "name": _greetable(context.customer_name),
        # An SMS has no list of invoices: there the amount says how many it covers, of whatever they are.
        "product": None if for_sms and several else context.product,
        "amount": f"{amount} ({covered})" if for_sms and several else amount,
        "total": amount,
        "invoice_number": context.invoice_number,
        "card_brand": catalogue.words.brands.get(context.card_brand or ""),
        "card_last4": context.card_last4,
    }
    return {name: _placed(catalogue, value, for_sms=for_sms) for name, value in values.items()} | {
        "next_attempt": _day(context.next_attempt_on, locale),
        "due": _day(context.due_on, locale),
        "due_short": short_day(context.due_on, locale) if context.due_on else None,
        "last_day": _day(context.last_day, locale),
        "last_day_short": short_day(context.last_day, locale) if context.last_day else None,
        "day": _day(context.day, locale),
        "day_short": short_day(context.day, locale) if context.day else None,
        "suspended_on": _day(context.suspended_on, locale),
        "charge_on": _day(context.charge_on, locale),
        "charge_on_short": short_day(context.charge_on, locale) if context.charge_on else None,
        "card_expires": month(context.card_expires, locale) if context.card_expires else None,
        "granted_days": context.granted_days and catalogue.counted(counts.granted_days, context.granted_days),
        "open_invoices": covered,
        "paid": context.paid,
        "subscription_ended": context.subscription_ended,
        "url": context.pay_url,
    }


def _placed(catalogue: Catalogue, value: str | None, *, for_sms: bool) -> str | None:
    """A value as it stands in a sentence. An address stays bare: mailboxes would link the mark with it."""
    if value is None or for_sms or _ADDRESS.fullmatch(value):
        return value
    return isolated(value, catalogue.words.direction)


def _reason(context: MessageContext) -> str:
    """The key of the reason's words. What must be hidden reads exactly like what is not known."""
    if context.due_on is not None:
        return SENT
    if context.reason is None or context.hide_reason or context.reason in _UNTOLD:
        return NEUTRAL
    return context.reason.value


def _format_locale(catalogue: Catalogue, wanted: str) -> Locale:
    """The customer's region if the words are in their language (24 December in en-GB), else the words'."""
    locale, words = parse_locale(wanted), parse_locale(catalogue.locale)
    return locale if locale.language == words.language else words


def _amount(catalogue: Catalogue, context: MessageContext, locale: Locale, *, for_sms: bool) -> str:
    amounts = (context.amount, *context.more_amounts)
    return ", ".join(_money(catalogue, amount, locale, for_sms=for_sms) for amount in amounts)


def _money(catalogue: Catalogue, amount: Money, locale: Locale, *, for_sms: bool = False) -> str:
    text = format_money(amount, str(locale))
    rtl = catalogue.words.direction == "rtl"
    # ₹ or zł would double the price of a message that is in GSM-7 without them. Where text runs to the left
    # and an SMS carries no isolates, the sign of US$ would be torn from its letters.
    if for_sms and (rtl or (catalogue.speaks_gsm7 and not is_gsm7(normalise(text)))):
        text = format_money(amount, str(locale), code=True)
    return text.replace("\N{RIGHT-TO-LEFT MARK}", "") if rtl else text  # the isolate takes its place


def _day(day: date | None, locale: Locale) -> str | None:
    return full_day(day, locale) if day else None


def _greetable(name: str | None) -> str | None:
    """The name, if it reads as one: what a customer typed must not put a link into our mail."""
    text = " ".join((name or "").split())
    looks_like_host = re.search(r"\w\.\w{2,}", text)
    return text if _NAME.fullmatch(text) and not looks_like_host else None
