"""How often somebody may ask: a token bucket each, in this process.

Several processes of the app allow as many times the rate: the limit protects from a runaway client, and a
load balancer is the place for more.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable


class Throttle:
    """`rate` requests a minute for each name, and as many at once. A rate of 0 is no limit.

    It remembers the `most` names that asked last; who is forgotten begins with a full bucket.
    """

    def __init__(
        self, rate: float, *, most: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._most, self._clock = rate, most, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens left, and when

    def wait(self, name: str) -> int:
        """Take a token: 0, or whole seconds until there is one again."""
        if not self._rate:
            return 0
        now = self._clock()
        left, at = self._buckets.pop(name, (self._rate, now))
        left = min(self._rate, left + (now - at) * self._rate / 60)
        allowed = left >= 1
        self._buckets[name] = (left - 1 if allowed else left, now)
        while len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return 0 if allowed else max(1, math.ceil((1 - left) * 60 / self._rate))
