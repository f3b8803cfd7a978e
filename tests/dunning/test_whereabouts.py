"""A decent hour: where a customer may be, and when a text may reach them there."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dunning.calendar import Where, closing, decent
from dunning.policy import QuietHours
from dunning.values import Channel
from dunning.whereabouts import whereabouts
from tests.dunning.cases import Run, opened

HOURS = QuietHours(channels=(Channel.SMS,), opens=time(9), closes=time(20), sundays=False, holidays=False)
NEW_YORK, LOS_ANGELES, HONOLULU = "America/New_York", "America/Los_Angeles", "Pacific/Honolulu"


@pytest.mark.parametrize(
    ("known", "zones", "place"),
    [
        ({"timezone_told": "Asia/Tokyo", "country": "DE"}, ("Asia/Tokyo",), "DE"),
        ({"country": "TH", "phone": "+14155550123"}, ("Asia/Bangkok",), "TH"),
        ({"country": "us", "state": "ca"}, (LOS_ANGELES,), "US-CA"),
        ({"country": "US", "state": "TX"}, ("America/Chicago", "America/Denver"), "US-TX"),
        ({"country": "CA", "state": "ON"}, ("America/Toronto", "America/Winnipeg"), "CA-ON"),
        ({"phone": "+4915112345678", "currency": "usd"}, ("Europe/Berlin",), "DE"),
        ({"phone": "+14155550123"}, (LOS_ANGELES,), "US"),
        ({"phone": "+6681234567"}, ("Asia/Bangkok",), "TH"),
        ({"phone": "+61412345678"}, ("Australia/Sydney", "Australia/Perth", "Australia/Lord_Howe"), "AU"),
        ({"phone": "not a number", "locales": ("de-AT",)}, ("Europe/Vienna",), ""),
        ({"locales": ("de",), "currency": "thb"}, ("Asia/Bangkok",), ""),
        ({"currency": "eur"}, ("Europe/Athens", "Europe/Lisbon"), ""),
        ({"currency": "xaf"}, (), ""),
        ({}, (), ""),
    ],
)
def test_the_best_word_on_where_the_customer_is_counts(
    known: dict[str, Any], zones: tuple[str, ...], place: str
) -> None:
    where = whereabouts(**known)
    assert (where.zones, where.place) == (zones, place)


def test_a_toll_free_number_may_be_anywhere_in_the_country() -> None:
    zones = whereabouts(phone="+18005550123").zones
    assert NEW_YORK in zones
    assert HONOLULU in zones
    assert "Pacific/Guam" not in zones


def test_somewhere_in_the_us_is_from_three_to_eight_in_the_afternoon_in_the_east() -> None:
    where = Where(whereabouts(currency="usd").zones)
    night = datetime(2026, 7, 7, 4, 0, tzinfo=UTC)
    opens = decent(night, where, HOURS).astimezone(ZoneInfo(NEW_YORK))
    assert (opens.hour, opens.minute) == (15, 0)
    assert closing(opens, where, HOURS).astimezone(ZoneInfo(NEW_YORK)).hour == 20


@pytest.mark.parametrize(
    ("place", "zone", "at", "opens"),
    [
        ("DE", "Europe/Berlin", datetime(2026, 5, 1, 8, tzinfo=UTC), "Sat 02 May 09:00"),  # Labour Day
        ("DE", "Europe/Berlin", datetime(2026, 4, 2, 19, tzinfo=UTC), "Sat 04 Apr 09:00"),  # Good Friday
        (
            "US-TX",
            "America/Chicago",
            datetime(2026, 11, 26, 18, tzinfo=UTC),
            "Sat 28 Nov 09:00",
        ),
        ("US", "America/Chicago", datetime(2026, 11, 26, 18, tzinfo=UTC), "Fri 27 Nov 09:00"),
        ("US-KY", "America/New_York", datetime(2026, 3, 3, 13, tzinfo=UTC), "Tue 03 Mar 10:00"),
        ("US-RI", "America/New_York", datetime(2026, 3, 3, 23, 30, tzinfo=UTC), "Wed 04 Mar 09:00"),
        ("XX", "Europe/Berlin", datetime(2026, 5, 1, 8, tzinfo=UTC), "Fri 01 May 10:00"),
        ("", "Europe/Berlin", datetime(2026, 5, 3, 8, tzinfo=UTC), "Mon 04 May 09:00"),  # a Sunday
    ],
)
def test_holidays_and_narrower_hours_are_those_of_the_place(
    place: str, zone: str, at: datetime, opens: str
) -> None:
    found = decent(at, Where((zone,), place), HOURS)
    assert f"{found.astimezone(ZoneInfo(zone)):%a %d %b %H:%M}" == opens


ZONES = st.lists(
    st.sampled_from([NEW_YORK, LOS_ANGELES, HONOLULU, "Europe/London", "America/St_Johns", "Europe/Moscow"]),
    min_size=1, max_size=3, unique=True,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(hour=st.integers(0, 24 * 400), zones=ZONES, place=st.sampled_from(["", "US", "GB", "US-RI", "JP"]))
# Eleven hours apart in winter and ten in summer: in February the next common hour is five weeks away.
@example(hour=785, zones=["Europe/Moscow", NEW_YORK, LOS_ANGELES], place="")
def test_a_text_goes_out_only_where_it_is_decent_everywhere(hour: int, zones: list[str], place: str) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour, minutes=17)
    where = Where(tuple(zones), place)
    found = decent(at, where, HOURS)
    assert at <= found <= at + timedelta(days=7)
    assert decent(found, where, HOURS) == found
    assert closing(found, where, HOURS) > found
    offsets = [found.astimezone(ZoneInfo(zone)).utcoffset() or timedelta() for zone in zones]
    if max(offsets) - min(offsets) >= timedelta(hours=9):
        zones = zones[:1]  # no hour of the day is decent in all of them
    for zone in zones:
        local = found.astimezone(ZoneInfo(zone))
        assert 9 <= local.hour < 20
        assert local.isoweekday() != 7


def test_a_case_texts_in_every_zone_that_comes_into_question() -> None:
    us = whereabouts(currency="usd")
    run = Run(opened("expired_card", zones=us.zones, place="US", channels=(Channel.SMS,))).until(6)
    sent = [at for at, action in run.actions if action.kind == "send"]
    assert sent
    assert all(9 <= at.astimezone(ZoneInfo(zone)).hour < 20 for at in sent for zone in us.zones)
