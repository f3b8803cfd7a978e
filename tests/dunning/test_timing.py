"""When a charge for want of money is tried again: on a pay-day of the customer, at a good hour."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import holidays
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dunning.declines import is_known
from dunning.timing import Moment, PayDays, best_moment, rules

DAY = timedelta(days=1)


def utc(month: int, day: int, hour: int = 0, year: int = 2026) -> datetime:
    return datetime(year, month, day, hour, tzinfo=UTC)


def best(after: datetime, before: datetime, **given: Any) -> Moment:
    fields: dict[str, Any] = {
        "code": "insufficient_funds",
        "funding": "debit",
        "country": "DE",
        "zone": "Europe/Berlin",
        "seed": "case-1",
    }
    return best_moment(after, before, **fields | given)


def local(moment: Moment, zone: str = "Europe/Berlin") -> datetime:
    return moment.at.astimezone(ZoneInfo(zone))


class TestTheDay:
    def test_a_debit_card_is_charged_just_after_midnight_of_the_pay_day(self) -> None:
        found = best(utc(5, 12, 10), utc(5, 20))
        assert local(found).date() == date(2026, 5, 15)
        assert time(0, 1) <= local(found).time() <= time(0, 30)
        assert found.reason == "pay-day Fri 15 May, just after midnight in Europe/Berlin (debit card)"

    def test_wages_that_fall_on_a_weekend_come_on_the_business_day_before(self) -> None:
        found = best(utc(8, 10), utc(8, 18))
        assert local(found).date() == date(2026, 8, 14)
        assert found.reason.startswith("pay-day Fri 14 Aug (for Sat 15 Aug), just after midnight")

    def test_wages_that_fall_on_a_public_holiday_come_on_the_business_day_before(self) -> None:
        # 1 May 2026 is a Friday and a holiday in Germany; the 30th of April is the last business day as well.
        found = best(utc(4, 27), utc(5, 4))
        assert local(found).date() == date(2026, 4, 30)
        assert "the last business day" in found.reason

    def test_the_first_of_a_month_may_be_paid_in_the_month_before(self) -> None:
        found = best(utc(1, 28), utc(2, 3), country="US", zone="America/New_York")
        assert local(found, "America/New_York").date() == date(2026, 1, 30)  # the 1st is a Sunday

    def test_the_days_of_most_people_go_before_those_of_some(self) -> None:
        us = {"country": "US", "zone": "America/Chicago"}
        assert local(best(utc(9, 9, 12), utc(9, 16, 12), **us), "America/Chicago").date() == date(2026, 9, 15)
        friday = best(utc(9, 9, 12), utc(9, 14), **us)
        assert local(friday, "America/Chicago").date() == date(2026, 9, 11)
        assert (
            friday.reason
            == "pay-day Fri 11 Sep (weekly), just after midnight in America/Chicago (debit card)"
        )

    @pytest.mark.parametrize(
        ("country", "zone", "after", "pay_day"),
        [
            ("SE", "Europe/Stockholm", utc(4, 20), date(2026, 4, 24)),  # the 25th is a Saturday
            ("CH", "Europe/Zurich", utc(6, 20), date(2026, 6, 25)),
            ("IT", "Europe/Rome", utc(6, 20), date(2026, 6, 26)),  # the 27th is a Saturday
            (
                "BR",
                "America/Sao_Paulo",
                utc(1, 3),
                date(2026, 1, 8),
            ),  # the fifth business day: the 1st is off
            ("PL", "Europe/Warsaw", utc(10, 5), date(2026, 10, 9)),  # the 10th is a Saturday
            ("AT", "Europe/Vienna", utc(11, 10), date(2026, 11, 13)),  # the 15th is a Sunday
            ("GB", "Europe/London", utc(5, 26), date(2026, 5, 28)),
        ],
    )
    def test_countries_have_their_own_pay_days(
        self, country: str, zone: str, after: datetime, pay_day: date
    ) -> None:
        assert local(best(after, after + 7 * DAY, country=country, zone=zone), zone).date() == pay_day

    @pytest.mark.parametrize("country", [None, "", "XX", "de"])
    def test_an_unknown_country_has_the_common_pay_days(self, country: str | None) -> None:
        assert local(best(utc(5, 12, 10), utc(5, 20), country=country)).date() == date(2026, 5, 15)

    def test_the_day_is_the_customers(self) -> None:
        found = best(utc(5, 13), utc(5, 20), country="NZ", zone="Pacific/Auckland")
        assert found.at < utc(5, 20)
        assert local(found, "Pacific/Auckland").date() == date(2026, 5, 20)

    def test_a_country_that_pays_on_the_next_business_day(self) -> None:
        from dunning.timing import _shifted

        row = PayDays(main=(1,), shift="next", basis="practice", source="for the test")
        assert _shifted(date(2026, 8, 1), 0, "", row, "DE").day == date(2026, 8, 3)


class TestTheHour:
    def test_a_credit_card_is_charged_in_the_morning(self) -> None:
        found = best(utc(5, 12, 10), utc(5, 20), funding="credit")
        assert time(9) <= local(found).time() <= time(9, 20)
        assert found.reason == "pay-day Fri 15 May, in the morning in Europe/Berlin (credit card)"

    @pytest.mark.parametrize("funding", [None, "unknown"])
    def test_a_card_of_unknown_kind_is_charged_in_the_morning(self, funding: str | None) -> None:
        assert best(utc(5, 12, 10), utc(5, 20), funding=funding).reason.endswith("Europe/Berlin (card)")

    def test_a_prepaid_card_like_a_debit_card(self) -> None:
        assert local(best(utc(5, 12, 10), utc(5, 20), funding="prepaid")).hour == 0

    def test_a_pay_day_that_has_begun_is_used_at_once_by_a_debit_card(self) -> None:
        found = best(utc(5, 15, 10), utc(5, 18))
        assert found.at == utc(5, 15, 10)
        assert found.reason == (
            "pay-day Fri 15 May, at once, the day has begun in Europe/Berlin (debit card)"
        )

    def test_the_afternoon_of_a_pay_day_is_too_late_for_a_credit_card(self) -> None:
        found = best(utc(5, 15, 12), utc(5, 30), funding="credit")
        assert local(found).date() == date(2026, 5, 29)

    def test_a_bank_debit_keeps_the_holidays_of_its_payment_system(self) -> None:
        # Monday 12 October is Columbus Day: the Federal Reserve is closed.
        us = {"scheme": "us_bank_account", "country": "US", "funding": None, "zone": "America/New_York"}
        found = best(utc(10, 10, 12), utc(10, 13, 20), **us)
        assert local(found, "America/New_York").date() == date(2026, 10, 13)
        assert found.reason == (
            "no pay-day until Tue 13 Oct: the next business day, in the morning in America/New_York"
        )

    def test_wages_of_good_friday_are_debited_after_easter(self) -> None:
        # Good Friday is no holiday in the United States, but one of the euro system.
        found = best(utc(4, 2), utc(4, 8), scheme="sepa_debit", country="US", funding=None)
        assert local(found).date() == date(2026, 4, 7)
        assert found.reason == (
            "pay-day Fri 3 Apr (weekly), charged Tue 7 Apr, in the morning in Europe/Berlin (bank debit)"
        )

    def test_the_hour_survives_a_midnight_that_a_clock_change_skips(self) -> None:
        # Cairo skips 00:00 to 01:00 on Friday 24 April 2026.
        found = best(utc(4, 21), utc(4, 25), country=None, zone="Africa/Cairo")
        assert local(found, "Africa/Cairo").date() == date(2026, 4, 24)
        assert time(1, 1) <= local(found, "Africa/Cairo").time() <= time(1, 30)

    @pytest.mark.parametrize("day", [utc(3, 27), utc(10, 23)])  # the week-ends of both changes of 2026
    def test_nine_in_the_morning_is_nine_before_and_after_a_clock_change(self, day: datetime) -> None:
        found = best(day, day + 8 * DAY, funding="credit", country="CH", zone="Europe/Zurich")
        assert local(found, "Europe/Zurich").hour == 9


class TestNoPayDay:
    def test_without_a_pay_day_in_the_window_it_is_charged_when_due(self) -> None:
        found = best(utc(5, 5, 10), utc(5, 7))
        assert (found.at, found.reason) == (utc(5, 5, 10), "no pay-day until Thu 7 May: as planned")

    def test_a_debit_card_is_charged_on_a_day_off_too(self) -> None:
        assert best(utc(5, 9, 10), utc(5, 12)).at == utc(5, 9, 10)

    def test_a_credit_card_waits_for_the_next_business_morning(self) -> None:
        found = best(utc(5, 9, 10), utc(5, 12), funding="credit")
        assert local(found).date() == date(2026, 5, 11)
        assert local(found).hour == 9

    def test_unless_the_window_ends_before(self) -> None:
        assert best(utc(5, 9, 10), utc(5, 10), funding="credit").at == utc(5, 9, 10)


class TestOtherDeclines:
    def test_are_charged_when_due_spread_by_a_few_minutes(self) -> None:
        found = best(utc(5, 12, 10), utc(5, 20), code="do_not_honor")
        assert utc(5, 12, 10) <= found.at <= utc(5, 12, 10) + timedelta(minutes=5)
        assert found.reason == "pay-days do not matter for do_not_honor: as planned"


class TestTheInput:
    def test_a_window_that_ends_before_it_begins_is_refused(self) -> None:
        with pytest.raises(ValueError, match="the window ends before it begins"):
            best(utc(5, 12), utc(5, 11))

    def test_a_moment_without_a_zone_is_refused(self) -> None:
        with pytest.raises(ValueError, match="give both moments a time zone"):
            best(datetime(2026, 5, 12), utc(5, 20))  # noqa: DTZ001

    def test_cases_are_spread_by_their_seeds(self) -> None:
        moments = {best(utc(5, 12, 10), utc(5, 20), seed=f"case-{n}").at for n in range(50)}
        assert len(moments) > 40


class TestTheData:
    def test_every_country_is_known_and_has_a_source(self) -> None:
        rows = rules().countries
        assert {row.country for row in rows} <= set(holidays.list_supported_countries())
        assert len({row.country for row in rows}) == len(rows)
        assert all(row.source for row in rows)

    def test_the_codes_are_those_of_the_decline_rules(self) -> None:
        assert all(is_known(code) for code in rules().codes if not code.startswith("visa_"))

    def test_the_last_hours_are_for_everything_else(self) -> None:
        assert rules().hours[-1].funding == ()

    def test_a_day_that_does_not_exist_is_refused(self) -> None:
        with pytest.raises(ValueError, match="pay-days of any country: 'someday' is not a day"):
            PayDays(main=("someday",), shift="previous", basis="practice", source="for the test")


# --- for any window -----------------------------------------------------------------------------------

ZONES = st.sampled_from(
    [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "America/Sao_Paulo",
        "Asia/Kolkata",
        "Pacific/Auckland",
        "Africa/Cairo",
        "Australia/Lord_Howe",
        "Pacific/Kiritimati",
        "America/Havana",
    ]
)
COUNTRIES = st.sampled_from([None, "XX", "AE", "IL", *(row.country for row in rules().countries)])
FUNDINGS = st.sampled_from(["debit", "credit", "prepaid", "unknown", None])
SCHEMES = st.sampled_from(["card", "card", "card", "paypal", *rules().bank_calendars])
CODES = st.sampled_from(
    ["insufficient_funds", "insufficient_funds", "partner_insufficient_funds", "do_not_honor"]
)
STARTS = st.datetimes(datetime(2024, 1, 1), datetime(2029, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
LENGTHS = st.integers(0, 40 * 24 * 3600).map(lambda seconds: timedelta(seconds=seconds))


@settings(max_examples=150, deadline=None)
@given(
    after=STARTS,
    length=LENGTHS,
    code=CODES,
    funding=FUNDINGS,
    country=COUNTRIES,
    zone=ZONES,
    scheme=SCHEMES,
    seed=st.text(max_size=5),
)
def test_the_moment_lies_in_the_window_at_a_good_hour_and_is_always_the_same(
    after: datetime,
    length: timedelta,
    code: str,
    funding: str | None,
    country: str | None,
    zone: str,
    scheme: str,
    seed: str,
) -> None:
    given: dict[str, Any] = {
        "code": code,
        "funding": funding,
        "country": country,
        "zone": zone,
        "scheme": scheme,
        "seed": seed,
    }
    found = best(after, after + length, **given)
    assert after <= found.at <= after + length
    assert found == best(after, after + length, **given)
    assert found.reason
    if "just after midnight" in found.reason:
        assert local(found, zone).time() <= time(1, 30)
    if "in the morning" in found.reason:
        assert time(9) <= local(found, zone).time() < time(12)
        assert country is not None or local(found, zone).isoweekday() <= 5


@settings(max_examples=50, deadline=None)
@given(after=STARTS, country=COUNTRIES, zone=ZONES, funding=FUNDINGS)
def test_every_window_of_forty_days_has_a_pay_day(
    after: datetime, country: str | None, zone: str, funding: str | None
) -> None:
    assert best(after, after + 40 * DAY, country=country, zone=zone, funding=funding).reason.startswith(
        "pay-day"
    )
