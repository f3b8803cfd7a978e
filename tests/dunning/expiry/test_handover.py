"""When the card fails after all, its invoice's case does not start over."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dunning.decision import Question
from dunning.expiry.handover import expired_method, not_said_twice
from dunning.facts import Method
from dunning.step import answer
from tests.dunning.cases import DAY0, STANDARD, VISA, Run, failure, invoice, opened

OLD = VISA.model_copy(update={"exp_year": 2026, "exp_month": 2})
TOLD = DAY0 - timedelta(days=3)


@pytest.mark.parametrize(
    ("code", "method", "expired"),
    [
        ("expired_card", VISA, True),  # the bank says so
        ("do_not_honor", OLD, True),  # the calendar says so
        ("insufficient_funds", VISA, False),
        ("expired_card", Method(id="src_1"), False),
    ],
)
def test_only_a_card_that_had_expired_is_what_was_spoken_of(code: str, method: Method, expired: bool) -> None:
    facts = invoice(code, method=method, failure=failure(code, method=method))

    assert (expired_method(facts) is not None) is expired


def test_the_first_notice_counts_as_said_and_the_second_keeps_its_day() -> None:
    fresh, warned = Run(opened("expired_card")), Run(opened("expired_card"))
    warned.state = not_said_twice(warned.state, STANDARD, TOLD)
    for run in (fresh, warned):
        run.run_to(DAY0 + timedelta(days=13))

    assert fresh.state.sent[0].step == warned.state.sent[0].step == "first_notice"
    assert warned.state.sent[0].fate == "told_before"
    assert warned.state.sent[1:] == fresh.state.sent[1:]
    assert warned.state.sent[1].step == "second_notice"


def test_the_timeline_says_why() -> None:
    state = not_said_twice(opened("expired_card"), STANDARD, TOLD)

    [entry, *_] = answer(Question(state=state, policy=STANDARD, now=DAY0)).entries

    assert entry.text.endswith("told on Fri 27 Feb that the card expires: first notice is not repeated")
