"""At which moment of a window a charge has the best chance, when the last one failed for want of money.

Pure, and deterministic: what looks random comes from the seed. Pay-days and hours are dated data
(`data/paydays.yaml`), each with its source or marked as practice; public holidays are those of the
`holidays` package.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from typing import Any, Literal, Self

import holidays
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dunning.calendar import country_holidays, end_of_day, local_date, local_moment
from dunning.durations import Duration
from dunning.values import Value
from dunning.yaml_text import read_yaml

_DAY = timedelta(days=1)
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NTH = "business_day_"
_LAST = "last_business_day"


class Moment(Value):
    """When to charge (UTC), and why then, in operators' words."""

    at: datetime
    reason: str


# --- the rules as data --------------------------------------------------------------------------------


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PayDays(_Section):
    """The pay-days of a country; see the head of the data file."""

    country: str = ""
    main: tuple[int | str, ...] = Field(min_length=1)
    also: tuple[int | str, ...] = ()
    shift: Literal["previous", "next"]
    basis: Literal["law", "statistics", "practice"]
    source: str = Field(min_length=5)
    valid_from: date | None = None
    valid_to: date | None = None

    @model_validator(mode="after")
    def _known_days(self) -> Self:
        for day in (*self.main, *self.also):
            if not _is_known(day):
                raise ValueError(f"pay-days of {self.country or 'any country'}: {day!r} is not a day")
        return self

    def holds(self, day: date) -> bool:
        """Whether the row is in force on `day`."""
        return (self.valid_from is None or self.valid_from <= day) and (
            self.valid_to is None or day <= self.valid_to
        )


def _is_known(day: int | str) -> bool:
    if isinstance(day, int):
        return 1 <= day <= 31
    return day in (_LAST, *_WEEKDAYS) or (day.startswith(_NTH) and day.removeprefix(_NTH) in "123456789")


class Hours(_Section):
    """The hour of the day for a kind of card; without `funding` for everything else."""

    name: str
    funding: tuple[str, ...]
    opens: time
    spread: Duration
    until: time | None
    business_days: bool
    words: str
    source: str


class BankCalendar(_Section):
    """Whose holidays a bank debit keeps: a payment system's, or a country's."""

    financial: str | None = None
    country: str | None = None
    subdivision: str | None = None


class PayDayRules(_Section):
    """The whole data file."""

    codes: frozenset[str]
    default: PayDays
    countries: tuple[PayDays, ...]
    hours: tuple[Hours, ...]
    bank_calendars: dict[str, BankCalendar]
    spread_other: Duration

    def pay_days(self, country: str, day: date) -> PayDays:
        """The row of a country that is in force on a day, else the default."""
        rows = (row for row in self.countries if row.country == country and row.holds(day))
        return next(rows, self.default)

    def hours_of(self, funding: str | None, scheme: str) -> Hours:
        """The hours for a kind of card, or for a bank debit."""
        wanted = (funding or "") if scheme == "card" else ""
        named = (row for row in self.hours if wanted in row.funding)
        return next(named, self.hours[-1])


@lru_cache(maxsize=1)
def rules() -> PayDayRules:
    """The rules, read once. Raises ValueError (pydantic's) when the data file is not in order."""
    path = files("dunning") / "data" / "paydays.yaml"
    data: dict[str, Any] = read_yaml(path.read_text(encoding="utf-8"))
    return PayDayRules.model_validate(data)


# --- business days ------------------------------------------------------------------------------------


@lru_cache(maxsize=32)
def _payment_system_holidays(name: str) -> holidays.HolidayBase:
    return holidays.financial_holidays(name)


@lru_cache(maxsize=16384)
def _is_business_day(day: date, country: str, scheme: str) -> bool:
    """Whether banks work that day: by the calendar of the bank debit, else by that of the country."""
    rule = rules().bank_calendars.get(scheme, BankCalendar(country=country))
    known = (
        _payment_system_holidays(rule.financial)
        if rule.financial
        else country_holidays(rule.country or "", rule.subdivision)
    )
    return day.isoweekday() <= 5 if known is None else known.is_working_day(day)


def _nearest(day: date, step: timedelta, country: str, scheme: str = "card") -> date:
    """The day itself if it is a business day, else the nearest one in the direction of `step`."""
    for _ in range(31):
        if _is_business_day(day, country, scheme):
            return day
        day += step
    raise AssertionError(f"a month without a business day before {day} in {country or 'no country'}")


# --- pay-days -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _PayDay:
    """A day on which wages come. `rank` 0 before 1; `note` says why, when the date alone does not."""

    day: date
    rank: int
    note: str


@lru_cache(maxsize=2048)
def _pay_days(country: str, first: date) -> tuple[_PayDay, ...]:
    """The pay-days that the month beginning at `first` gives; a shift may move one into the month beside."""
    row = rules().pay_days(country, first)
    ranked = [*((day, 0) for day in row.main), *((day, 1) for day in row.also)]
    return tuple(found for day, rank in ranked for found in _dates(day, rank, row, country, first))


def _dates(day: int | str, rank: int, row: PayDays, country: str, first: date) -> Iterator[_PayDay]:
    last = _next_month(first) - _DAY
    if isinstance(day, int):
        yield _shifted(first.replace(day=min(day, last.day)), rank, "", row, country)
    elif day == _LAST:
        yield _PayDay(_nearest(last, -_DAY, country), rank, "the last business day")
    elif day in _WEEKDAYS:
        offset = (_WEEKDAYS.index(day) - first.weekday()) % 7
        for number in range(offset, last.day, 7):
            yield _shifted(first + number * _DAY, rank, "weekly", row, country)
    else:
        number = int(day.removeprefix(_NTH))
        found = first - _DAY
        for _ in range(number):
            found = _nearest(found + _DAY, _DAY, country)
        yield _PayDay(found, rank, f"business day {number} of the month")


def _shifted(day: date, rank: int, note: str, row: PayDays, country: str) -> _PayDay:
    found = _nearest(day, -_DAY if row.shift == "previous" else _DAY, country)
    return _PayDay(found, rank, note if found == day else f"for {_words(day)}")


def _next_month(first: date) -> date:
    return (first.replace(day=28) + 4 * _DAY).replace(day=1)


def _pay_days_between(country: str, start: date, end: date) -> list[_PayDay]:
    """All pay-days from `start` to `end`, the best of each day, in order."""
    best: dict[date, _PayDay] = {}
    first = (start.replace(day=1) - _DAY).replace(day=1)
    while first <= _next_month(end.replace(day=1)):
        for found in _pay_days(country, first):
            if start <= found.day <= end and (found.day not in best or found.rank < best[found.day].rank):
                best[found.day] = found
        first = _next_month(first)
    return [best[day] for day in sorted(best)]


# --- the answer ---------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)  # a case asks again at each of its steps
def best_moment(
    after: datetime,
    before: datetime,
    *,
    code: str,
    funding: str | None,
    country: str | None,
    zone: str,
    seed: str,
    scheme: str = "card",
) -> Moment:
    """When to charge, from `after` to `before` (aware; both included), and why then.

    `code` is the decline of the last attempt, `funding` credit, debit, prepaid or unknown, `country` where
    the card was issued, `zone` the customer's, `scheme` Stripe's type of the payment method. For want of
    money it is the first of the window's main pay-days, else the first of the others, else `after` itself;
    but credit cards and bank debits are not charged on a day off if the window has a business morning after
    it. Other declines: `after`, spread by a few minutes.

    Raises ValueError for a moment without a zone and for a window that ends before it begins.
    """
    if after.tzinfo is None or before.tzinfo is None:
        raise ValueError(f"from {after} to {before}: give both moments a time zone")
    if before < after:
        raise ValueError(f"from {after} to {before}: the window ends before it begins")
    after, before = after.astimezone(UTC), before.astimezone(UTC)
    if code not in rules().codes:
        at = min(after + _spread(seed, local_date(after, zone), rules().spread_other), before)
        return Moment(at=at, reason=f"pay-days do not matter for {code}: as planned")
    hours = rules().hours_of(funding, scheme)
    window = _Window(after, before, hours, (country or "").upper(), zone, seed, scheme)
    return window.pay_day(_kind(funding, scheme)) or window.otherwise()


@dataclass(frozen=True)
class _Window:
    """The time in which the charge must be made, and what is known of who pays."""

    after: datetime
    before: datetime
    hours: Hours
    country: str
    zone: str
    seed: str
    scheme: str

    def pay_day(self, kind: str) -> Moment | None:
        """The first moment of the best pay-day."""
        start = self._first_day() - 7 * _DAY  # a bank debit may have to wait for the end of holidays
        days = _pay_days_between(self.country, start, local_date(self.before, self.zone))
        for found in sorted(days, key=lambda pay: (pay.rank, pay.day)):
            at = self._moment(self._usable(found.day))
            if at is None:
                continue
            note = f" ({found.note})" if found.note else ""
            when = f"{_words(found.day)}{note}, {self._hour(at, found.day)}"
            return Moment(at=at, reason=f"pay-day {when} ({kind})")
        return None

    def otherwise(self) -> Moment:
        """No pay-day in the window: at its beginning, or on the first business morning."""
        none = f"no pay-day until {_words(local_date(self.before, self.zone))}"
        first = self._first_day()
        if self.hours.business_days and not self._is_open(first):
            day = _nearest(first, _DAY, self.country, self.scheme)
            if (at := self._moment(day)) is not None:
                return Moment(at=at, reason=f"{none}: the next business day, {self._hour(at, day)}")
        return Moment(at=self.after, reason=f"{none}: as planned")

    def _first_day(self) -> date:
        return local_date(self.after, self.zone)

    def _is_open(self, day: date) -> bool:
        return _is_business_day(day, self.country, self.scheme)

    def _usable(self, day: date) -> date:
        """Wages come on business days of the country; a bank debit may have other holidays to keep."""
        return _nearest(day, _DAY, self.country, self.scheme) if self.hours.business_days else day

    def _moment(self, day: date) -> datetime | None:
        """The hour of the day, or the rest of it when it has begun; None outside of the window."""
        opens = local_moment(day, self.hours.opens, self.zone) + _spread(self.seed, day, self.hours.spread)
        until = self.hours.until
        closes = end_of_day(day, self.zone) if until is None else local_moment(day, until, self.zone)
        at = max(opens, self.after)
        return at if at < closes and at <= self.before else None

    def _hour(self, at: datetime, pay_day: date) -> str:
        day = local_date(at, self.zone)
        later = "" if day == pay_day else f"charged {_words(day)}, "
        begun = at == self.after and at > local_moment(day, self.hours.opens, self.zone) + self.hours.spread
        return f"{later}{'at once, the day has begun' if begun else self.hours.words} in {self.zone}"


def _spread(seed: str, day: date, most: timedelta) -> timedelta:
    """Whole seconds from none to `most`, the same for the same seed and day."""
    number = int.from_bytes(sha256(f"{seed}/{day.isoformat()}".encode()).digest()[:8])
    return timedelta(seconds=number % (int(most.total_seconds()) + 1))


def _kind(funding: str | None, scheme: str) -> str:
    if scheme != "card":
        return "bank debit" if scheme in rules().bank_calendars else scheme
    return f"{funding} card" if funding in ("credit", "debit", "prepaid") else "card"


def _words(day: date) -> str:
    return f"{day:%a} {day.day} {day:%b}"
