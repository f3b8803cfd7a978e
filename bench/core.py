"""How often a second the pure core decides."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from activities.policy_book import PolicyBook
from bench.pretend import life
from bench.world import POLICIES
from dunning.decide import decide
from dunning.step import answer

T = TypeVar("T")
_BEGUN = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Speed:
    """Calls per second on one core: `decide` alone, and the whole recorded step with what it narrates."""

    decide: float
    step: float


def measure(seconds: float) -> Speed:
    """Over all questions of a case, from the first failure to written off; `seconds` for each figure."""
    questions = list(life(PolicyBook(POLICIES).load("full_path"), _BEGUN))
    return Speed(
        decide=_per_second(questions, lambda asked: decide(asked.state, asked.policy, asked.now), seconds),
        step=_per_second(questions, answer, seconds),
    )


def _per_second(inputs: Sequence[T], call: Callable[[T], object], seconds: float) -> float:
    for one in inputs:
        call(one)  # what is computed once is computed now
    done, begun = 0, time.perf_counter()
    for one in itertools.cycle(inputs):
        call(one)
        done += 1
        if done % 64 == 0 and time.perf_counter() - begun >= seconds:
            break
    return done / (time.perf_counter() - begun)
