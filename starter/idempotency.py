"""`Idempotency-Key` on the API's POSTs: the same key and the same request have the same answer, once done.

A request that was cut off leaves a claim without an answer and is carried out again, which does no harm:
starting a case twice finds the first, and a lever is pulled under the key as its `request_id`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from ledger import Ledger
from starter.errors import IdempotencyMismatch


class Idempotency:
    """Remembers the answers to requests by caller, path and key."""

    def __init__(self, ledger: Ledger) -> None:
        self._effects = ledger.effects

    async def once(
        self, caller: str, path: str, key: str | None, body: Any, act: Callable[[], Awaitable[dict[str, Any]]]
    ) -> dict[str, Any]:
        """The answer of `act`, or the one it gave before. What it raises is no answer: try again.

        Raises IdempotencyMismatch when the key came with another body before.
        """
        if key is None:
            return await act()
        now = datetime.now(UTC)
        name = f"api/{_digest([caller, path, key])}"
        claim = await self._effects.claim(name, {"body": _digest(body)}, at=now)
        if claim.params["body"] != _digest(body):
            raise IdempotencyMismatch(
                f"Idempotency-Key {key!r} came with another body before: use a new one", "Idempotency-Key"
            )
        if claim.result is not None:
            return dict(claim.result)
        answer = await act()
        await self._effects.complete(name, answer, at=now)
        return answer


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
