"""Days, zones and decent hours. Inside everything is aware UTC; a day belongs to the customer's zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple
from zoneinfo import ZoneInfo

import holidays
from pydantic import BaseModel, ConfigDict, Field

from dunning.policy import QuietHours
from dunning.yaml_text import read_yaml

_DAY = timedelta(days=1)
_MOST_CLOSED_DAYS = 30
_MOST_LOOKS = 60


@lru_cache(maxsize=512)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def local_date(at: datetime, zone: str) -> date:
    """The calendar day of a moment in a zone."""
    return at.astimezone(_zone(zone)).date()


def local_time(at: datetime, zone: str) -> time:
    """The wall-clock time of a moment in a zone."""
    return at.astimezone(_zone(zone)).time()


def local_moment(day: date, hour: time, zone: str) -> datetime:
    """A wall-clock time of a day in a zone, in UTC. A skipped time counts from before the change."""
    return datetime.combine(day, hour, tzinfo=_zone(zone)).astimezone(UTC)


def end_of_day(day: date, zone: str) -> datetime:
    """The first moment that no longer belongs to the day."""
    return local_moment(day + _DAY, time(0), zone)


class Where(NamedTuple):
    """Where a customer may be: the zones that come into question, and the place whose holidays count."""

    zones: tuple[str, ...]
    place: str = ""  # ISO 3166: "DE", "US-TX", or nothing


def decent(at: datetime, where: Where, hours: QuietHours) -> datetime:
    """The first moment from `at` on in which the quiet hours allow a message, in every zone that counts."""
    moment = at
    for _ in range(_MOST_LOOKS):
        zones = _zones_that_count(moment, where, hours)
        later = max(_decent_in(zone, moment, where.place, hours) for zone in zones)
        if later == moment:
            return moment
        moment = later
    raise AssertionError("weeks without a common hour")  # ordinary days have one, and few are closed in a row


def closing(at: datetime, where: Where, hours: QuietHours) -> datetime:
    """When the open hours end that `at` lies in, wherever they end first."""
    return min(_closing_in(zone, at, where.place, hours) for zone in _zones_that_count(at, where, hours))


def _zones_that_count(at: datetime, where: Where, hours: QuietHours) -> tuple[str, ...]:
    """All zones, if an ordinary day has an hour that is open in each of them; else the most probable one."""
    if len(where.zones) == 1:
        return where.zones
    opens, closes = _open_hours(local_date(at, where.zones[0]), where.place, hours)
    first_moments = [local_moment(local_date(at, zone), opens, zone) for zone in where.zones]
    in_common = any(all(opens <= local_time(m, zone) < closes for zone in where.zones) for m in first_moments)
    return where.zones if in_common else where.zones[:1]


def _closing_in(zone: str, at: datetime, place: str, hours: QuietHours) -> datetime:
    day = local_date(at, zone)
    return local_moment(day, _open_hours(day, place, hours)[1], zone)


def _decent_in(zone: str, at: datetime, place: str, hours: QuietHours) -> datetime:
    day = local_date(at, zone)
    for ahead in range(_MOST_CLOSED_DAYS):
        today = day + ahead * _DAY
        opens, closes = (local_moment(today, hour, zone) for hour in _open_hours(today, place, hours))
        if _is_open(today, place, hours) and at < closes:
            return max(at, opens)
    raise AssertionError("weeks without an open hour")  # opens < closes is validated by the policy


def _is_open(day: date, place: str, hours: QuietHours) -> bool:
    return (hours.sundays or day.isoweekday() != 7) and (hours.holidays or not _is_holiday(day, place))


def _is_holiday(day: date, place: str) -> bool:
    country, _, state = place.partition("-")
    calendar = country_holidays(country, state or None) if country else None
    return calendar is not None and day in calendar


def _open_hours(day: date, place: str, hours: QuietHours) -> tuple[time, time]:
    """The policy's hours, narrowed by the place's own rule, if they have an hour in common."""
    rule = _narrower().get(place)
    if rule is None or not rule.holds(day):
        return hours.opens, hours.closes
    opens, closes = (
        max(hours.opens, rule.opens or hours.opens),
        min(hours.closes, rule.closes or hours.closes),
    )
    return (opens, closes) if opens < closes else (hours.opens, hours.closes)


class _PlaceHours(BaseModel):
    """A row of `data/contact_hours.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    place: str
    opens: time | None = Field(None, alias="from")
    closes: time | None = Field(None, alias="until")
    valid_from: date | None = None
    source: str = Field(min_length=5)

    def holds(self, day: date) -> bool:
        return self.valid_from is None or self.valid_from <= day


@lru_cache(maxsize=1)
def _narrower() -> dict[str, _PlaceHours]:
    text = (files("dunning") / "data" / "contact_hours.yaml").read_text(encoding="utf-8")
    return {row.place: row for row in map(_PlaceHours.model_validate, read_yaml(text))}


@lru_cache(maxsize=256)
def country_holidays(country: str, subdivision: str | None) -> holidays.HolidayBase | None:
    """The public holidays of a country or of a part of it; None where nobody knows them."""
    try:
        return holidays.country_holidays(country, subdiv=subdivision)
    except NotImplementedError:
        return country_holidays(country, None) if subdivision else None
