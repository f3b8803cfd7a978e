"""The words of the customer's page: `templates/<locale>/page.yaml`, beside the messages of the locale."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

from babel import Locale
from babel.lists import format_list
from markupsafe import Markup
from pydantic import BaseModel, ConfigDict

from dunning.messages.catalogue import (
    Catalogue,
    Layers,
    catalogue_for,
    layers,
    marked,
    merged,
    stamped,
)
from dunning.messages.locales import DEFAULT, full_day, isolated
from dunning.money import Money, format_money, parse_locale

FILE = "page.yaml"
#: What strings may name beside `business` and `support`, where it is known.
PAGE_FACTS = ("amount", "last_day", "day", "until", "answer_by", "granted_days", "invoice_number", "plan")


class PageWords(BaseModel):
    """A whole `page.yaml`; the English one says what each string may name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    open: str
    settled: str
    settled_text: str
    ended: str
    ended_text: str
    keep: str
    paused: str
    processing: str
    invoices: str
    invoice: str
    total: str
    pay: str
    pay_text: str
    card: str
    card_text: str
    card_button: str
    promise: str
    promise_text: str
    promise_label: str
    promise_choose: str
    promise_button: str
    promise_sure: str
    promise_yes: str
    promise_done: str
    time: str
    time_at_once: str
    time_by_person: str
    time_button: str
    time_sure: str
    time_yes: str
    time_done: str
    time_waits: str
    pause: str
    pause_text: str
    pause_button: str
    pause_sure: str
    pause_yes: str
    pause_done: str
    switch: str
    switch_text: str
    monthly: str
    yearly: str
    other_interval: str
    cancel: str
    cancel_now: str
    cancel_at_end: str
    cancel_button: str
    cancel_sure: str
    cancel_yes: str
    cancel_done: str
    cancel_done_at_end: str
    contact: str
    contact_text: str
    email: str
    sms: str
    contact_button: str
    contact_done: str
    survey: str
    survey_text: str
    too_expensive: str
    payment_trouble: str
    not_needed: str
    something_missing: str
    technical_trouble: str
    something_else: str
    survey_more: str
    survey_button: str
    survey_done: str
    choose_first: str
    refused: str
    away: str
    back: str
    help: str
    private: str
    gone: str
    gone_text: str
    gone_button: str
    gone_done: str
    slow: str
    slow_text: str


@dataclass(frozen=True)
class PageText:
    """Writes the page in one locale. `facts` are known to every string of it."""

    catalogue: Catalogue
    words: PageWords
    locale: Locale  # for numbers and days: the customer's region where the words are in their language
    facts: dict[str, Any]

    @property
    def language(self) -> str:
        """For `lang`."""
        return self.catalogue.words.language

    @property
    def direction(self) -> str:
        """For `dir`: ltr or rtl."""
        return self.catalogue.words.direction

    def __call__(self, name: str, **more: Any) -> Markup:
        """The string of that name as HTML. Raises TemplatesError for its mistakes."""
        source: str = getattr(self.words, name)
        return marked(self.catalogue.render(source, {**self.facts, **more}))

    def placed(self, value: str) -> str:
        """A value as it stands in a sentence of this direction."""
        return isolated(value, self.direction)

    def money(self, *amounts: Money) -> str:
        """Amounts, joined by "and" when there are several currencies."""
        texts = [self.placed(self._amount(amount)) for amount in amounts]
        return format_list(texts, locale=self.locale)

    def _amount(self, amount: Money) -> str:
        text = format_money(amount, str(self.locale))
        return text.replace("\N{RIGHT-TO-LEFT MARK}", "")  # the isolate takes its place

    def day(self, day: date) -> str:
        """A day, written out."""
        return full_day(day, self.locale)

    def days(self, number: int) -> str:
        """So many days."""
        return self.catalogue.counted(self.catalogue.words.counts.granted_days, number)


def page_text(
    locale: str, facts: dict[str, Any], folder: Path | None = None, *, default: str = DEFAULT
) -> PageText:
    """The page in the locale nearest to the customer's. Raises TemplatesError for unusable words."""
    catalogue = catalogue_for(locale, folder, default=default)
    wanted, has = parse_locale(locale), parse_locale(catalogue.locale)
    return PageText(
        catalogue,
        page_words(catalogue.locale, folder),
        wanted if wanted.language == has.language else has,
        facts,
    )


def page_words(name: str, folder: Path | None = None) -> PageWords:
    """The words of the locale `name`; where it has messages only, English."""
    found = layers(name, folder, FILE) or layers(DEFAULT, folder, FILE)
    return _words(stamped(found))


@lru_cache(maxsize=64)
def _words(files: Layers) -> PageWords:
    return merged(PageWords, files)[0]
