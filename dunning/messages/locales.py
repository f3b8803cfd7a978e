"""Which locale's words a customer gets, and how the values in them keep their own direction."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from datetime import date
from functools import lru_cache

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_skeleton

#: The words of last resort.
DEFAULT = "en"

# Unicode's first-strong isolate and its end (unicode.org/reports/tr9): what stands between them is laid out
# by itself, so an amount in an Arabic sentence keeps its order. In HTML they become <bdi>.
ISOLATE, END_ISOLATE = "\u2068", "\u2069"

_RIGHT_TO_LEFT, _LEFT_TO_RIGHT = frozenset({"R", "AL"}), frozenset({"L", "EN"})

# CLDR, calendarPreferenceData: Thailand counts years from the death of the Buddha. Babel knows the Gregorian
# calendar only.
_BUDDHIST_YEARS = 543


@lru_cache(maxsize=1024)
def known_locale(name: str) -> Locale | None:
    """The locale that `name` means ("de", "es-MX", "zh_Hant_TW"), or None if there is no such locale."""
    try:
        return Locale.parse(name.strip().replace("-", "_"))
    except (UnknownLocaleError, ValueError, TypeError):
        return None


def nearest(wanted: str, available: Iterable[str], default: str = DEFAULT) -> str:
    """The one of `available` that a customer of the locale `wanted` reads best.

    It is the locale itself, its language or a sister (pt-BR for pt); else what suits `default`; else English.
    """
    names = _known(tuple(sorted(available)))
    for candidate in (wanted, default):
        locale = known_locale(candidate) or known_locale(candidate.strip().replace("_", "-").split("-")[0])
        if locale is not None and (found := _relative(locale, names)) is not None:
            return found
    return DEFAULT


@lru_cache(maxsize=64)
def _known(names: tuple[str, ...]) -> dict[str, Locale]:
    return {name: locale for name in names if (locale := known_locale(name)) is not None}


def _relative(wanted: Locale, names: dict[str, Locale]) -> str | None:
    keys = {(locale.language, locale.script, locale.territory): name for name, locale in names.items()}
    for script, territory in (
        (wanted.script, wanted.territory),
        (wanted.script, None),
        (None, wanted.territory),
        (None, None),
    ):
        if (name := keys.get((wanted.language, script, territory))) is not None:
            return name
    return next((name for name, locale in names.items() if _sisters(wanted, locale)), None)


def _sisters(one: Locale, other: Locale) -> bool:
    """Whether who reads one reads the other: the same language, and no two scripts."""
    return one.language == other.language and (
        one.script == other.script or not (one.script and other.script)
    )


@lru_cache(maxsize=1024)
def full_day(day: date, locale: Locale) -> str:
    """A day with its weekday and year, as people of the locale write it."""
    if locale.language == "th":
        return format_date(day, f"EEEEที่ d MMMM 'พ.ศ.' '{day.year + _BUDDHIST_YEARS}'", locale=locale)
    return format_date(day, "full", locale=locale)


@lru_cache(maxsize=1024)
def month(written: str, locale: Locale) -> str:
    """A month such as "2031-09" with its name and year."""
    year, number = (int(part) for part in written.split("-"))
    first = date(year, number, 1)
    if locale.language == "th":
        return format_date(first, f"MMMM 'พ.ศ.' '{year + _BUDDHIST_YEARS}'", locale=locale)
    return format_skeleton("yMMMM", first, locale=locale)


@lru_cache(maxsize=1024)
def short_day(day: date, locale: Locale) -> str:
    """A day with its short month and without year."""
    return format_skeleton("MMMd", day, locale=locale)


def isolated(text: str, direction: str) -> str:
    """The value, isolated if anything in it runs against the text around it, which runs in `direction`."""
    against = _LEFT_TO_RIGHT if direction == "rtl" else _RIGHT_TO_LEFT
    if any(unicodedata.bidirectional(char) in against for char in text):
        return f"{ISOLATE}{text}{END_ISOLATE}"
    return text


def without_isolates(text: str) -> str:
    """The text as it is seen: isolates take no room."""
    return text.replace(ISOLATE, "").replace(END_ISOLATE, "")
