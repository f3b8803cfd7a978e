"""How often somebody may ask."""

from __future__ import annotations

from starter.throttle import Throttle


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_full_bucket_allows_a_minutes_worth_at_once_then_one_as_time_passes() -> None:
    clock = Clock()
    throttle = Throttle(6, clock=clock)
    assert [throttle.wait("a") for _ in range(7)] == [0, 0, 0, 0, 0, 0, 10]
    clock.now += 9.0
    assert throttle.wait("a") == 1
    clock.now += 1.0
    assert [throttle.wait("a"), throttle.wait("a")] == [0, 10]


def test_nobody_waits_for_another() -> None:
    throttle = Throttle(1, clock=Clock())
    assert [throttle.wait("a"), throttle.wait("b"), throttle.wait("a")] == [0, 0, 60]


def test_memory_is_bounded_by_forgetting_who_asked_longest_ago() -> None:
    throttle = Throttle(1, most=2, clock=Clock())
    assert [throttle.wait(name) for name in ("a", "b", "c", "a")] == [0, 0, 0, 0]


def test_a_rate_of_nothing_is_no_limit() -> None:
    throttle = Throttle(0, clock=Clock())
    assert {throttle.wait("a") for _ in range(1000)} == {0}
