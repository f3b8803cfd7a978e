"""What `dunning declines explain` says of a decline."""

from __future__ import annotations

import pytest

from dunning.declines import rules
from dunning.explain import ACTIONS, explain
from dunning.values import DeclineClass


def test_every_class_has_an_action() -> None:
    assert set(ACTIONS) == set(DeclineClass)


@pytest.mark.parametrize("code", sorted(rules().texts))
def test_every_known_code_names_its_public_source(code: str) -> None:
    answer = explain(code)
    assert answer.known
    assert answer.sources


def test_a_masters_advice_says_how_long_to_wait() -> None:
    answer = explain("insufficient_funds", network_advice="26", brand="mastercard")
    assert answer.wait_hours == 48
    assert any("Merchant Advice Codes" in source for source in answer.sources)


def test_a_network_code_of_another_brand_says_nothing() -> None:
    assert explain("insufficient_funds", network_advice="26", brand="visa").wait_hours is None


def test_the_reason_of_a_stolen_card_is_never_told() -> None:
    assert "nothing of the reason" in explain("stolen_card").customer_may_be_told


def test_an_unknown_code_is_treated_with_caution() -> None:
    answer = explain("no_such_code")
    assert not answer.known
    assert answer.decline_class is DeclineClass.SOFT
    assert answer.max_retries == 2
