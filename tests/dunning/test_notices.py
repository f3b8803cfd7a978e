"""What a front end shows: nothing before a message said it, nothing after the payment, only true dates."""

from __future__ import annotations

from datetime import date

import pytest

from dunning.messages.context import Business, MessageContext
from dunning.money import Money
from dunning.notices import Kind, is_blocking, kind_of, words
from dunning.values import Stage

LOCALES = ("en", "th", "es", "fr", "de", "pt-BR", "ja", "ar")


@pytest.mark.parametrize(
    ("stage", "decline_class", "fates", "owed", "kind"),
    [
        (Stage.RECOVERING, "soft", (), 1900, None),
        (Stage.RECOVERING, "soft", ("unknown", None), 1900, None),
        (Stage.RECOVERING, "soft", ("accepted",), 1900, "payment_failed"),
        (Stage.GRACE, "soft", (), 1900, "grace"),
        (Stage.SUSPENDED, "new_method", (), 1900, "suspended"),
        (Stage.GRACE, "review", ("accepted",), 1900, None),
        (Stage.GRACE, "soft", ("accepted",), 0, None),
        (Stage.CLOSED, "soft", ("accepted",), 1900, None),
    ],
)
def test_which_notice_a_case_asks_for(
    stage: Stage, decline_class: str, fates: tuple[str | None, ...], owed: int, kind: Kind | None
) -> None:
    assert kind_of(stage, decline_class, fates, owed) == kind


def test_it_blocks_only_who_may_use_less() -> None:
    assert [is_blocking(level) for level in (None, "full", "limited", "none")] == [False, False, True, True]


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("kind", ["payment_failed", "grace", "suspended"])
def test_it_is_short_and_says_the_amount_in_every_language(kind: Kind, locale: str) -> None:
    context = MessageContext(
        business=Business(name="Example GmbH", sender_email="billing@example.com"),
        amount=Money(amount=1900, currency="eur"),
        pay_url=None,
        last_day=date(2026, 12, 24),
        locale=locale,
    )
    title, text = words(kind, context)
    assert 0 < len(title) <= 80
    assert 0 < len(text) <= 400
    assert "19" in text
    assert not any(mark in title + text for mark in ("{{", "None", "\ue000", "\ue001", "<"))
