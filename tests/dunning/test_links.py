"""Links to the customer's page, and the seals of its forms: when they are the same and when not."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Any

import pytest

from dunning import links
from dunning.values import Channel

KEY = "k" * 32
DAY = date(2026, 12, 4)
WISH: dict[str, Any] = {"digest": "d1", "action": "time_yes", "fields": {"days": "7"}}
FORM = WISH | {"day": DAY, "marker": "m1"}


def sealed(**changes: Any) -> str:
    return links.seal(KEY, **(FORM | changes))


def accepted(seal: str, **changes: Any) -> bool:
    return links.is_sealed(seal, **({"key": KEY, "today": DAY} | WISH | changes))


class TestToken:
    def test_of_one_message_is_always_the_same_and_of_128_bits(self) -> None:
        token = links.token(KEY, "acct/in_1/1", "first_notice", Channel.EMAIL)
        assert token == links.token(KEY, "acct/in_1/1", "first_notice", Channel.EMAIL)
        assert re.fullmatch(rf"[\w-]{{{links.LENGTH}}}", token)

    def test_of_another_message_case_channel_or_key_is_another(self) -> None:
        tokens = {
            links.token(key, case, step, channel)
            for key in (KEY, "other" * 8)
            for case in ("acct/in_1/1", "acct/in_2/1")
            for step in ("first_notice", "final_notice:2026-12-24")
            for channel in (Channel.EMAIL, Channel.SMS)
        }
        assert len(tokens) == 16

    def test_is_not_in_what_the_ledger_knows_of_it(self) -> None:
        token = links.token(KEY, "acct/in_1/1", "first_notice", Channel.EMAIL)
        assert token not in links.digest(token)
        assert links.address("https://pay.example.com/", token) == f"https://pay.example.com/r/{token}"


class TestSeal:
    def test_holds_for_the_form_on_its_day_and_the_day_after(self) -> None:
        assert accepted(sealed())
        assert accepted(sealed(day=DAY - timedelta(days=1)))
        assert not accepted(sealed(day=DAY - timedelta(days=2)))
        assert not accepted(sealed(day=DAY + timedelta(days=1)))

    @pytest.mark.parametrize(
        "changed",
        [{"digest": "d2"}, {"action": "x"}, {"fields": {"days": "70"}}, {"fields": {}}, {"key": "x" * 32}],
    )
    def test_breaks_when_anything_is_changed(self, changed: dict[str, Any]) -> None:
        assert not accepted(sealed(), **changed)

    @pytest.mark.parametrize("nonsense", ["", ".", "2026-12-04", "2026-12-04.m1.", "x" * 5000, "é.ü.ß"])
    def test_that_is_nonsense_opens_nothing(self, nonsense: str) -> None:
        assert not accepted(nonsense)

    def test_names_the_state_so_that_the_same_wish_later_is_another_request(self) -> None:
        later = sealed(marker="m2")
        assert later != sealed()
        assert accepted(later)
