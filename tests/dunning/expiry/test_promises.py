"""What holds for every card, whatever Stripe shows, providers answer and people do."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dunning.expiry.card import CardFacts
from dunning.expiry.evolve import parse_start
from dunning.expiry.timing import worth_saying
from tests.dunning.expiry.cards import CHARGE, EXPIRY, CardRun, card, renewal

DAY = timedelta(days=1)
BEGIN = CHARGE - 32 * DAY
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "expiry": st.sampled_from([EXPIRY, EXPIRY, "2030-01", None]),
        "dunned": st.booleans(),
        "channels": st.sampled_from([(), ("email",)]),
        "renewals": st.lists(
            st.builds(
                renewal,
                at=st.integers(-20, 40).map(lambda days: CHARGE + days * DAY),
                method=st.sampled_from(["pm_1", "pm_1", "pm_2", None]),
                charges=st.sampled_from([True, True, False]),
                backup=st.sampled_from([None, None, "pm_3"]),
            ),
            max_size=3,
        ).map(tuple),
    },
)
WORLD = st.lists(st.tuples(st.integers(1, 34 * 24), CHANGES), max_size=6).map(
    lambda w: sorted(w, key=lambda c: c[0])
)
FATES = st.dictionaries(
    st.integers(1, 20), st.sampled_from(["down", "held", "too_late", "unknown", "failed"]), max_size=8
)


def shown(world: list[tuple[int, dict[str, Any]]], at: datetime) -> CardFacts:
    facts = card(at)
    for hour, changes in world:
        if BEGIN + hour * timedelta(hours=1) <= at:
            facts = facts.model_copy(update=changes)
    return facts


@settings(max_examples=150, deadline=None)
@given(WORLD, FATES, st.sets(st.integers(1, 34 * 24), max_size=5))
def test_every_message_is_true_goes_out_once_and_never_after_the_charge(
    world: list[tuple[int, dict[str, Any]]], fates: dict[int, str], hints: set[int]
) -> None:
    run = CardRun(
        lambda at: shown(world, at),
        BEGIN,
        fates=fates,
        hints=sorted(BEGIN + hour * timedelta(hours=1) for hour in hints),
    )
    run.run(CHARGE + 60 * DAY)

    steps = Counter((sent.step, sent.channel) for sent in run.state.sent)
    assert all(count == 1 for count in steps.values())
    for at, send in run.sends:
        assert send.charge is not None
        assert at < send.charge.at
        assert worth_saying(shown(world, at), send.charge)
    if run.state.outcome is not None:
        assert run.state.closed_reason


@pytest.mark.parametrize(
    "args",
    [
        (),
        ({},),
        ("pm_1",),
        ({"payment_method_id": "in_1"},),
        ({"payment_method_id": "pm_1", "more": 1},),
        ({"payment_method_id": "pm_1", "account": "x"},),
        ({"payment_method_id": "pm_1", "policy": 3},),
        ({"payment_method_id": "pm_1"}, 2),
    ],
)
def test_a_malformed_start_is_refused_with_a_sentence(args: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match=":"):
        parse_start(args)
