"""A case whose customer is erased while it runs: it forgets what people wrote, and goes on."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from dunning.case import BillingEvent, Event, Lever
from dunning.decision import Question, Step
from dunning.forgetting import ERASED, NO_WORDS
from dunning.step import answer, applied
from tests.dunning.cases import DAY0, STANDARD, opened

WORDS = "salary comes late: divorce"
AT = DAY0 + timedelta(days=1)
HINT = BillingEvent(type=ERASED, at=AT)


def lever(name: str, **payload: Any) -> Lever:
    return Lever(name=name, args=({"by": "maria", **payload},), at=AT)


SPOKEN = {
    "grant_extension": lever("grant_extension", days=7, reason=WORDS),
    "request_extension": lever("request_extension", days=30, reason=WORDS),
    "hold": lever("hold", reason=WORDS),
    "add_note": lever("add_note", text=WORDS),
    "stop": lever("stop", reason=WORDS),
}


def step(*inbox: Event) -> Step:
    return answer(Question(state=opened(), inbox=inbox, policy=STANDARD, now=AT, seq=1))


def written(told: Step) -> str:
    """What the ledger and the history keep of a step."""
    recorded = told.model_dump(mode="json") | {"answers": None}  # what the caller was told at once
    return json.dumps([recorded, applied(opened(), told).model_dump(mode="json")])


@pytest.mark.parametrize("name", SPOKEN)
def test_words_that_wait_in_the_inbox_are_forgotten_with_the_rest(name: str) -> None:
    assert WORDS in written(step(SPOKEN[name]))
    forgets = step(SPOKEN[name], HINT)
    assert WORDS not in written(forgets)
    assert (forgets.forgets, forgets.entries[0].text, forgets.entries[0].by) == (True, NO_WORDS, "maria")


def test_what_is_written_afterwards_stays() -> None:
    told = step(SPOKEN["grant_extension"], HINT, lever("grant_extension", days=1, reason="more"))
    state = applied(opened(), told)
    assert [(granted.days, granted.reason) for granted in state.extensions] == [(7, ""), (1, "more")]
    assert "more" in told.entries[-1].text


def test_a_step_that_heard_nothing_of_it_forgets_nothing() -> None:
    assert not step(SPOKEN["add_note"]).forgets
