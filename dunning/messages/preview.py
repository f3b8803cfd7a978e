"""A gallery of all messages for the eye: an index and one page for every locale, plain HTML, nothing loaded.

Every message stands there once for each wording that it has; reasons that share a wording are named together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from functools import cache
from pathlib import Path

from babel.core import get_global
from babel.numbers import get_territory_currencies
from jinja2 import Environment, PackageLoader, StrictUndefined

from dunning.messages import ABOUT_A_CHARGE, NAMES_DUE_DAY, TEMPLATES
from dunning.messages.catalogue import Catalogue, available_locales, load
from dunning.messages.context import Business, Listed, MessageContext, Rendered
from dunning.messages.render import common, styled, write
from dunning.messages.sms import segments
from dunning.money import Money, exponent, parse_locale
from dunning.values import Channel, DeclineClass, Value
from dunning.words import ANSWERS

#: In the order in which a customer meets them.
_ORDER = (
    "invoice_due_soon",
    "invoice_overdue",
    "renewal_upcoming",
    "card_expiring",
    "card_expiring_last",
    "payment_failed",
    "reminder",
    "impact",
    "grace_started",
    "grace_reminder",
    "final_notice",
    "extension_granted",
    "extension_requested",
    "extension_denied",
    "promise_made",
    "promise_broken",
    "paused_by_customer",
    "canceled_by_customer",
    "new_link",
    "suspended",
    "restored",
    "recovered",
    "survey",
)

_SAMPLE = Business(
    name="Northwind",
    sender_email="billing@northwind.example",
    postal_address="12 Long Street\nExampletown 12345",
    support_contact="help@northwind.example",
)
_PAGE = "https://billing.northwind.example/r/AbCdEfGhIjKlMnOpQrStUv"
_UNSUBSCRIBE = "https://billing.northwind.example/u/AbCdEfGhIjKlMnOpQrStUv"
#: Those that are optional as shipped.
_OPTIONAL = frozenset({"grace_reminder", "renewal_upcoming", "survey"})
#: Those that never speak of other invoices.
_ABOUT_ONE = frozenset({*ANSWERS, *ABOUT_A_CHARGE, "new_link"})
_LAST_DAY, _NEXT_ATTEMPT, _SUSPENDED = date(2031, 9, 24), date(2031, 9, 19), date(2031, 9, 25)
_DUE = date(2031, 9, 3)


class Wording(Value):
    """One message as some customers get it, and which: the reasons, or what else differs."""

    told: tuple[str, ...]
    email: Rendered
    sms: Rendered
    sms_segments: int


class Shown(Value):
    """A message with all its wordings."""

    template: str
    wordings: tuple[Wording, ...]


def preview(folder: Path, *, templates: Path | None = None, business: Business = _SAMPLE) -> Path:
    """Write the gallery into `folder`, which is made if need be, and return the path of its index.

    `templates` is the folder of the business's own templates. Files of an earlier gallery are overwritten.
    Raises TemplatesError for templates that cannot be used, and OSError when the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pages = Environment(
        loader=PackageLoader("dunning.messages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    names = available_locales(templates)
    page = pages.get_template("gallery.html.jinja")
    listed = []
    for name in names:
        locale, catalogue = parse_locale(name), load(name, templates)
        words = catalogue.words
        listed.append({"name": name, "english": locale.english_name, "own": locale.display_name})
        facts = {"lang": words.language, "dir": words.direction, "name": name, "own": locale.display_name}
        shown = list(_shown(catalogue, business))
        (folder / f"{name}.html").write_text(page.render(facts, messages=shown), encoding="utf-8")
    index = folder / "index.html"
    text = pages.get_template("gallery_index.html.jinja").render(locales=listed, messages=len(TEMPLATES))
    index.write_text(text, encoding="utf-8")
    return index


def _place(template: str) -> tuple[int, str]:
    return (_ORDER.index(template) if template in _ORDER else len(_ORDER), template)


def _shown(catalogue: Catalogue, business: Business) -> Iterator[Shown]:
    shared = cache(lambda channel, context: common(channel, catalogue, context))  # of many messages
    for template in sorted(TEMPLATES, key=_place):
        told: dict[tuple[Rendered, ...], list[str]] = {}
        for label, context in _contexts(template, catalogue.locale, business):
            words = tuple(
                write(template, channel, context, catalogue, shared(channel, context))
                for channel in (Channel.EMAIL, Channel.SMS)
            )
            told.setdefault(words, []).append(label)
        wordings = tuple(
            Wording(told=tuple(labels), email=styled(email), sms=sms, sms_segments=segments(sms.text))
            for (email, sms), labels in told.items()
        )
        yield Shown(template=template, wordings=wordings)


def _contexts(template: str, locale: str, business: Business) -> list[tuple[str, MessageContext]]:
    usual = MessageContext(
        business=business,
        amount=_amount(locale),
        pay_url=_PAGE,
        customer_name="Ada Lovelace",
        product="Team Plus",
        invoice_number="NW-0042",
        card_brand="visa",
        card_last4="4242",
        next_attempt_on=_NEXT_ATTEMPT,
        last_day=_LAST_DAY,
        day=_NEXT_ATTEMPT,
        suspended_on=_SUSPENDED,
        charge_on=_NEXT_ATTEMPT,
        card_expires="2031-08",
        granted_days=7,
        unsubscribe_url=_UNSUBSCRIBE if template in _OPTIONAL else None,
        locale=locale,
    )
    variants: list[tuple[str, Mapping[str, object]]] = [
        ("reason unknown or hidden", {}),
        *[(cls.value, {"reason": cls}) for cls in DeclineClass],
        ("little known", dict.fromkeys(("customer_name", "product", "card_last4", "next_attempt_on"))),
    ]
    if template not in _ABOUT_ONE:
        variants.append(("3 open invoices", _several(usual.amount)))
    sent = {"due_on": _DUE, "next_attempt_on": None}
    if template in NAMES_DUE_DAY:
        usual = usual.model_copy(update=sent)
    else:
        variants.append(("invoice that was sent", sent))
    if template == "restored":
        variants.append(("not paid yet", {"paid": False}))
    if template == "survey":
        variants.append(("subscription ended", {"subscription_ended": True}))
    return [(label, usual.model_copy(update=changes)) for label, changes in variants]


def _several(each: Money) -> dict[str, object]:
    """The same message for three invoices of this amount."""
    lines = tuple(Listed(name=f"NW-00{n}", amount=each, url=f"{_PAGE}/{n}") for n in (42, 51, 60))
    total = Money(amount=3 * each.amount, currency=each.currency)
    return {"open_invoices": 3, "amount": total, "listed": lines}


def _amount(locale: str) -> Money:
    """A usual amount in the currency of the locale's country, or of the one where most speak the language."""
    parsed = parse_locale(locale)
    likely = str(get_global("likely_subtags").get(parsed.language, "en_Latn_US"))
    territory = parsed.territory or likely.rsplit("_", 1)[-1]
    currency = next(iter(get_territory_currencies(territory)), "USD")
    return Money(amount=1990 * 10 ** exponent(currency), currency=currency)
