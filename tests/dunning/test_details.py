"""What an operator reads first in the Temporal UI: where a case stands, what it waits for, what is next."""

from __future__ import annotations

import pytest

from dunning.decide import decide
from dunning.view import details
from tests.dunning.cases import Run, opened

BY = {"reason": "outage", "by": "maria"}
WISH = {"days": 20, "reason": "new job", "by": "ann"}


def head(run: Run) -> list[str]:
    """The headline and the facts below it."""
    text = details(run.state, decide(run.state, run.policy, run.now), run.policy, [])
    return [line for line in text.partition("\n### ")[0].splitlines() if line]


@pytest.mark.parametrize(
    ("run", "headline"),
    [
        (Run(opened()).until(4), "## Recovering: 19.99 USD"),
        (Run(opened()).until(16), "## Grace to the end of Mon 23 Mar: 19.99 USD"),
        (Run(opened()).until(23), "## Suspended since Tue 24 Mar: 19.99 USD"),
        (Run(opened("fraudulent")).until(2), "## Recovering, needs a person: 19.99 USD"),
        (Run(opened(), outcomes={1: "succeeded"}).to_the_end(), "## Closed: recovered via engine"),
    ],
)
def test_the_headline_says_where_the_case_stands_and_what_is_at_stake(run: Run, headline: str) -> None:
    assert head(run)[0] == headline


def test_a_hold_stands_in_the_headline_with_what_it_moves() -> None:
    run = Run(opened()).until(8)
    run.lever("hold", BY)
    said = head(run)
    assert said[0] == "## Recovering, on hold: 19.99 USD"
    assert said[1] == "- **Next:** Tue 24 Mar 2026 10:00 UTC, on hold by maria: outage"
    assert "- **Last day of grace:** Mon 23 Mar 2026 (UTC); it moves by the time on hold" in said


def test_what_a_person_is_asked_comes_first_with_the_lever_that_answers() -> None:
    run = Run(opened("expired_card")).until(15)
    run.lever("request_extension", WISH)
    said = head(run)
    assert said[0] == "## Grace to the end of Mon 23 Mar, needs a person: 19.99 USD"
    assert said[1] == "- **More time asked for:** 20 days asked by ann: new job; answer by Fri 20 Mar"
    text = details(run.state, decide(run.state, run.policy, run.now), run.policy, [])
    assert '`grant_extension` `{"days": 20, ' in text
    assert "`deny_extension`" in text


def test_a_decision_that_waits_is_told_once_and_offers_only_what_would_be_taken() -> None:
    run = Run(opened("fraudulent")).until(2)
    said = head(run)
    assert said[1].startswith("- **A person must decide by Mon 16 Mar:** fraud or dispute: ")
    assert said[1].endswith("; else the case is stopped")
    assert not any(line.startswith("- **Next:**") for line in said)
    text = details(run.state, decide(run.state, run.policy, run.now), run.policy, [])
    assert "`release`" in text
    assert "`promise_to_pay`" not in text
    assert not run.lever("promise_to_pay", {"on": "2026-03-10", "by": "ann"})[0]
