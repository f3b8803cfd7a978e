"""The worker with a tenth of production's pauses between tries. Nothing else differs.

A storm makes some hundreds of tries; the seconds between them prove nothing.
"""

from __future__ import annotations

from datetime import timedelta

from stripe import HTTPClient

import worker
from workflows import options, reconciliation, sweeps


def main() -> int:
    """Shorten the pauses of Stripe's SDK, of the activities and of what goes through lists; be the worker."""
    HTTPClient.INITIAL_DELAY = 0.05
    options._RETRIES.initial_interval = timedelta(seconds=0.1)
    for step in (reconciliation._STEP, sweeps._PAGE):
        assert step["heartbeat_timeout"] == options.PATIENCE.silence
        step["heartbeat_timeout"] = timedelta(seconds=2)
    return worker.main()
