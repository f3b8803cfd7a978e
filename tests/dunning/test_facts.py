"""What an invoice's own facts tell."""

from __future__ import annotations

import pytest

from tests.dunning.cases import invoice


def test_what_is_open_and_owed_is_chargeable() -> None:
    assert invoice().chargeable
    assert invoice(method=None).chargeable  # that there is nothing to charge is another matter


@pytest.mark.parametrize(
    "facts",
    [
        {"status": "draft"},
        {"status": "paid"},
        {"status": "void"},
        {"status": "uncollectible"},
        {"status": "gone"},
        {"amount_remaining": 0},
        {"collection_method": "send_invoice"},
        {"processing": True},
    ],
    ids=str,
)
def test_nothing_else_is(facts: dict[str, object]) -> None:
    assert not invoice(**facts).chargeable
