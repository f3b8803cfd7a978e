"""Days, zones and decent hours. Inside everything is aware UTC; a day belongs to the customer's zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from dunning.policy import QuietHours

_DAY = timedelta(days=1)


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


def decent(at: datetime, zone: str, hours: QuietHours) -> datetime:
    """The first moment from `at` on in which the quiet hours allow a message."""
    local = at.astimezone(_zone(zone))
    for _ in range(9):
        open_today = hours.sundays or local.isoweekday() != 7
        if open_today and local.time() < hours.opens:
            return max(at, local_moment(local.date(), hours.opens, zone))
        if open_today and local.time() < hours.closes:
            return max(at, local.astimezone(UTC))
        local = datetime.combine(local.date() + _DAY, time(0), tzinfo=_zone(zone))
    raise AssertionError("a week without an open hour")  # opens < closes is validated by the policy


def closing(at: datetime, zone: str, hours: QuietHours) -> datetime:
    """When the open hours end that `at` lies in."""
    return local_moment(local_date(at, zone), hours.closes, zone)
