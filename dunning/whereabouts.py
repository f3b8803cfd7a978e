"""Where a customer may be: the zones that come into question, and the place whose holidays count.

Pure. In the order of trust: the zone that the business wrote down, the billing address, the telephone number,
the country of the language, that of the currency. A text goes out when the hour is decent in every zone.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib.resources import files
from zoneinfo import ZoneInfo

import phonenumbers
from babel.core import get_global
from phonenumbers import timezone

from dunning.policy import known_zone
from dunning.values import Value
from dunning.yaml_text import read_yaml

_EURO = ("Europe/Athens", "Europe/Lisbon")  # from the east to the west of it
_UNKNOWN = "Etc/Unknown"
_SEASONS = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC))


class Whereabouts(Value):
    """The candidate zones, the most probable first, and the place as ISO 3166 ("US-TX", "DE", or "")."""

    zones: tuple[str, ...] = ()
    place: str = ""


def whereabouts(
    *,
    timezone_told: str | None = None,
    country: str | None = None,
    state: str | None = None,
    phone: str | None = None,
    locales: tuple[str, ...] = (),
    currency: str = "",
) -> Whereabouts:
    """What is known of where the customer is; no zones when nothing is."""
    found = [*_by_address(country, state), *_by_phone(phone), *_by_locale(locales), *_by_currency(currency)]
    place = next((where.place for where in found if where.place), "")
    if timezone_told:
        return Whereabouts(zones=(timezone_told,), place=place)
    zones = next((where.zones for where in found if where.zones), ())
    return Whereabouts(zones=zones, place=place)


def _by_address(country: str | None, state: str | None) -> Iterator[Whereabouts]:
    land = (country or "").strip().upper()
    part = (state or "").strip().upper().removeprefix(f"{land}-")
    zones = _states().get((land, part))
    if zones:
        yield Whereabouts(zones=zones, place=f"{land}-{part}")
    elif land:
        yield Whereabouts(zones=_zones_of(land), place=land)


def _by_phone(phone: str | None) -> Iterator[Whereabouts]:
    try:
        number = phonenumbers.parse(phone or "")
    except phonenumbers.NumberParseException:
        return
    land = phonenumbers.region_code_for_number(number) or ""
    told = tuple(zone for zone in timezone.time_zones_for_number(number) if zone != _UNKNOWN)
    # A number of a whole country names its islands far away, too: they are left out.
    at_home = tuple(zone for zone in told if zone in get_global("territory_zones").get(land, ()))
    yield Whereabouts(zones=_outermost(at_home) or _zones_of(land) or _outermost(told), place=land)


def _by_locale(locales: tuple[str, ...]) -> Iterator[Whereabouts]:
    for locale in locales:
        land = locale.replace("_", "-").rpartition("-")[2].upper()
        if land != locale.upper() and _zones_of(land):
            yield Whereabouts(zones=_zones_of(land))


def _by_currency(currency: str) -> Iterator[Whereabouts]:
    """A national currency's code begins with its country's (ISO 4217)."""
    land = currency[:2].upper()
    zones = _EURO if land == "EU" else _zones_of(land)
    if zones:
        yield Whereabouts(zones=zones)


def _zones_of(country: str) -> tuple[str, ...]:
    """The zones of a country in CLDR; of many only the outermost: what is decent there is so between them."""
    return _outermost(tuple(zone for zone in get_global("territory_zones").get(country, ()) if _known(zone)))


@lru_cache(maxsize=512)
def _outermost(zones: tuple[str, ...]) -> tuple[str, ...]:
    """Those that are furthest east and west, in winter and in summer."""
    found: dict[str, None] = {}
    for day in _SEASONS if zones else ():
        offsets = {zone: day.astimezone(ZoneInfo(zone)).utcoffset() or timedelta() for zone in zones}
        for outermost in (max(offsets.values()), min(offsets.values())):
            found[max(zone for zone in zones if offsets[zone] == outermost)] = None
    return tuple(found)


@lru_cache(maxsize=1024)
def _known(zone: str) -> bool:
    try:
        known_zone(zone)
    except ValueError:
        return False
    return not zone.startswith("Antarctica/")


@lru_cache(maxsize=1)
def _states() -> dict[tuple[str, str], tuple[str, ...]]:
    told = read_yaml((files("dunning") / "data" / "state_zones.yaml").read_text(encoding="utf-8"))
    return {
        (country, state): tuple(zones.split())
        for country, by_zones in told.items()
        for zones, states in by_zones.items()
        for state in states
    }
