"""Money: integer minor units and an ISO currency, always together. Never a float.

The number of decimals comes from Stripe's table (docs.stripe.com/currencies), not from ISO 4217 or CLDR:
those differ for a dozen currencies, and an amount scaled by them is wrong a hundredfold.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from babel import Locale, UnknownLocaleError
from babel.numbers import format_currency, get_currency_precision
from pydantic import BeforeValidator, Field, StrictInt

from dunning.values import Value
from dunning.yaml_text import read_yaml

_TABLE = Path(__file__).parent / "data" / "currencies.yaml"
_FALLBACK = "en"

#: CLDR, "currencySpacing": a symbol of letters is kept apart from the number (KWD 5.120, not KWD5.120).
_LETTER_MEETS_DIGIT = re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")


def _upper(code: Any) -> Any:
    return code.upper() if isinstance(code, str) else code


Currency = Annotated[str, BeforeValidator(_upper), Field(pattern=r"^[A-Z]{3}$")]


class Money(Value):
    """An amount in minor units of `currency`, an ISO 4217 code (any case is taken, upper case is kept)."""

    amount: StrictInt
    currency: Currency

    @property
    def decimal(self) -> Decimal:
        """The amount in major units, exactly: 1999 usd is 19.99, 500 jpy is 500."""
        return Decimal(self.amount).scaleb(-exponent(self.currency))


@lru_cache(maxsize=1)
def currency_table() -> dict[str, Any]:
    """The table of currencies as it stands in `data/currencies.yaml`."""
    table: dict[str, Any] = read_yaml(_TABLE.read_text(encoding="utf-8"))
    return table


@lru_cache(maxsize=256)
def exponent(currency: str) -> int:
    """How many decimals Stripe gives `currency`: two, unless its table says otherwise."""
    table, code = currency_table(), currency.upper()
    if code in table["special"]:
        return int(table["special"][code]["exponent"])
    if code in table["zero"]:
        return 0
    return 3 if code in table["three"] else int(table["default"])


@lru_cache(maxsize=256)
def parse_locale(name: str) -> Locale:
    """The locale called `name` ("de", "es-MX", "zh_Hant_TW"), else its language alone, else English.

    Locales come from customer records at Stripe and may hold anything, so nothing is raised.
    """
    parts = name.strip().replace("-", "_").split("_")
    for candidate in ("_".join(parts), parts[0]):
        try:
            return Locale.parse(candidate)
        except (UnknownLocaleError, ValueError, TypeError):
            continue
    return Locale.parse(_FALLBACK)


@lru_cache(maxsize=1024)
def format_money(money: Money, locale: str, *, code: bool = False) -> str:
    """`money` as people of `locale` write it: $19.99, 19,99 €, 1.999 RSD.

    With `code`, the ISO code stands for the symbol. Nothing is rounded: decimals that the locale would leave
    out are shown when they are not zero.
    """
    babel, value = parse_locale(locale), money.decimal
    pattern = babel.currency_formats["standard"].pattern
    usual = get_currency_precision(money.currency)
    needed = max(0, -int(value.normalize().as_tuple().exponent))
    if needed > usual:
        pattern = pattern.replace("0.00", "0." + "0" * exponent(money.currency))
    text = format_currency(
        value,
        money.currency,
        format=pattern.replace("¤", "¤¤") if code else pattern,
        locale=babel,
        currency_digits=needed <= usual,
    )
    return _LETTER_MEETS_DIGIT.sub("\N{NO-BREAK SPACE}", text)
