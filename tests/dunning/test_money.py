"""Amounts of Stripe in words: the right number of decimals, in every currency and locale."""

from __future__ import annotations

import json
import re
from decimal import Decimal

import pytest
from babel import Locale
from babel.localedata import locale_identifiers
from babel.numbers import get_currency_precision, get_decimal_symbol, get_group_symbol, list_currencies
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dunning.money import Money, currency_table, exponent, format_money, parse_locale

PRESENTMENT = currency_table()["presentment"]
#: docs.stripe.com/currencies, "Zero-decimal currencies", less UGX: "Special cases" has it in two.
ZERO = {
    "BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF",
}  # fmt: skip
THREE = {"BHD", "JOD", "KWD", "OMR", "TND"}


def say(amount: int, currency: str, locale: str = "en", *, code: bool = False) -> str:
    return format_money(Money(amount=amount, currency=currency), locale, code=code).replace("\xa0", " ")


class TestTheTable:
    def test_is_complete(self) -> None:
        table = currency_table()
        assert set(table["zero"]) == ZERO
        assert set(table["three"]) == THREE
        assert len(PRESENTMENT) == len(set(PRESENTMENT)) >= 135
        assert all(isinstance(code, str) and re.fullmatch("[A-Z]{3}", code) for code in PRESENTMENT)
        assert {*table["zero"], *table["three"], *table["special"]} <= set(PRESENTMENT)

    def test_every_currency_is_in_one_list_only(self) -> None:
        table = currency_table()
        named = [*table["zero"], *table["three"], *table["special"]]
        assert len(named) == len(set(named))

    def test_names_only_currencies_that_exist(self) -> None:
        assert set(PRESENTMENT) <= set(list_currencies())

    def test_differs_from_cldr_exactly_where_we_know(self) -> None:
        """A currency that CLDR moves must be looked up at Stripe again, by a person."""
        differs = {code for code in PRESENTMENT if exponent(code) != get_currency_precision(code)}
        assert differs == {"AFN", "ALL", "ISK", "LAK", "LBP", "MMK", "RSD", "SOS", "STD", "UGX", "YER"}

    def test_a_new_currency_has_two_decimals(self) -> None:
        assert exponent("XYZ") == 2


class TestMoney:
    def test_keeps_the_currency_in_upper_case(self) -> None:
        assert Money(amount=1999, currency="usd") == Money(amount=1999, currency="USD")

    def test_survives_the_wire(self) -> None:
        money = Money(amount=1999, currency="eur")
        assert Money.model_validate(json.loads(money.model_dump_json())) == money

    @pytest.mark.parametrize("amount", [19.99, 5.0, "1999", True, None])
    def test_refuses_what_is_not_an_integer(self, amount: object) -> None:
        with pytest.raises(ValidationError, match="amount"):
            Money.model_validate({"amount": amount, "currency": "usd"})

    @pytest.mark.parametrize("currency", ["", "us", "dollar", "€", "U5D", None, 840])
    def test_refuses_what_is_not_a_currency(self, currency: object) -> None:
        with pytest.raises(ValidationError, match="currency"):
            Money.model_validate({"amount": 1, "currency": currency})


class TestFormat:
    @pytest.mark.parametrize(
        ("amount", "currency", "locale", "text"),
        [
            (1999, "usd", "en", "$19.99"),
            (1999, "eur", "de", "19,99 €"),
            (199900, "rsd", "sr-Latn", "1.999 RSD"),  # CLDR has no decimals here; Stripe has two
            (199950, "rsd", "sr-Latn", "1.999,50 RSD"),  # and what is there is not rounded away
            (500, "jpy", "en", "¥500"),
            (5120, "kwd", "en", "KWD 5.120"),
            (500, "isk", "is", "5 kr."),
            (1999, "zar", "en-GB", "ZAR 19.99"),
            (100_000_00, "inr", "en-IN", "₹1,00,000.00"),
            (-1999, "usd", "en", "-$19.99"),
            (0, "usd", "en", "$0.00"),
        ],
    )
    def test_reads_as_people_write_it(self, amount: int, currency: str, locale: str, text: str) -> None:
        assert say(amount, currency, locale) == text

    def test_can_name_the_code_where_a_symbol_cannot_be_sent(self) -> None:
        assert say(1999, "inr", code=True) == "INR 19.99"
        assert say(1999, "pln", "pl", code=True) == "19,99 PLN"

    @given(
        st.integers(-(10**12), 10**12),
        st.sampled_from(PRESENTMENT),
        st.sampled_from(sorted(locale_identifiers())),
    )
    def test_never_changes_the_amount(self, amount: int, currency: str, locale: str) -> None:
        money = Money(amount=amount, currency=currency)
        text = format_money(money, locale, code=True)
        babel = Locale.parse(locale)
        digits = text.replace(get_group_symbol(babel), "").replace(get_decimal_symbol(babel), ".")
        assert Decimal("".join(re.findall(r"[0-9.]+", digits)).strip(".")) == abs(money.decimal)


class TestLocales:
    @pytest.mark.parametrize(
        ("name", "found"),
        [
            ("es-MX", "es_MX"),
            ("zh_Hant_TW", "zh_Hant_TW"),
            ("de-ZZ", "de"),
            ("", "en"),
            ("auto", "en"),
            ("../../etc", "en"),
            ("en-GB-oxendict", "en_GB"),
        ],
    )
    def test_falls_back_instead_of_failing(self, name: str, found: str) -> None:
        assert str(parse_locale(name)).startswith(found)
