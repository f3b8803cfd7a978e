"""Which customers get which policy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dunning.policy import PolicyError
from dunning.segments import Traits, choose, parse_segments

LISTED = """
segments:
  - {policy: patient, when: {currencies: [eur], amount_at_least: 100000}}
  - {policy: alpine, when: {countries: [at, ch]}}
  - {policy: teams, when: {plans: [prod_team, price_team_yearly], metadata: {tier: gold}}}
  - {policy: careful, when: {risk_at_least: elevated}}
  - {policy: trial, when: {share: 5}}
"""
BASE = Traits(customer="cus_1", currency="usd", amount=1900)


@pytest.mark.parametrize(
    ("traits", "policy"),
    [
        ({"currency": "eur", "amount": 100_000}, "patient"),
        ({"currency": "eur", "amount": 99_999}, "standard"),
        ({"currency": "usd", "amount": 100_000}, "standard"),
        ({"country": "CH"}, "alpine"),
        ({"country": "CH", "currency": "eur", "amount": 100_000}, "patient"),  # the first that fits
        ({"plans": ("price_1", "prod_team"), "metadata": {"tier": "gold", "x": "y"}}, "teams"),
        ({"plans": ("prod_team",)}, "standard"),
        ({"risk": "high"}, "careful"),
        ({"risk": "none"}, "standard"),
    ],
)
def test_the_first_segment_whose_conditions_all_hold_names_the_policy(
    traits: dict[str, object], policy: str
) -> None:
    segments = parse_segments(LISTED.replace("share: 5", "share: 0.000001"), "segments.yaml")
    assert choose(segments, BASE.model_copy(update=traits)) == policy


def test_a_share_takes_about_so_many_customers_and_a_larger_one_keeps_them() -> None:
    def taken(share: int) -> set[int]:
        segments = parse_segments(f"segments: [{{policy: trial, when: {{share: {share}}}}}]", "segments.yaml")
        customers = (Traits(customer=f"cus_{number}") for number in range(2000))
        return {number for number, who in enumerate(customers) if choose(segments, who) == "trial"}

    five, twenty, all_of_them = taken(5), taken(20), taken(100)
    assert 60 <= len(five) <= 140
    assert five < twenty < all_of_them
    assert len(all_of_them) == 2000


@given(st.builds(Traits, customer=st.text(max_size=20), amount=st.integers(0, 10**9)))
def test_without_segments_everybody_gets_the_standard_policy(traits: Traits) -> None:
    assert choose(parse_segments("segments: []", "segments.yaml"), traits) == "standard"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("segments:\n  - {policy: a, when: {amount_at_least: 5}}", ".yaml:2: .*exactly one in currencies"),
        ("segments:\n  - {policy: a, when: {share: 0}}", "segments.yaml:2: segments.0.when.share"),
        ("segments:\n  - {policy: a, whom: {}}", "segments.yaml:2: segments.0.whom: is not a field"),
        ("segments:\n  - {when: {}}", "segments.0.policy: is missing"),
        ("- a", "a mapping that starts with `segments:`"),
        ("segments: [", "not YAML"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, says: str) -> None:
    with pytest.raises(PolicyError, match=says):
        parse_segments(text, "segments.yaml")
