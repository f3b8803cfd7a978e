"""A process that claims what another one claims at the same moment.

It is told the database, says `ready`, waits for a line, claims ten attempts and ten messages one after the
other, and prints the ones it got.
"""

from __future__ import annotations

import asyncio
import json
import sys

from ledger import Ledger
from tests.ledger.acts import claim_message, reserve

ROUNDS = 10


async def race(url: str) -> dict[str, list[int]]:
    """The numbers of the claims that this process won."""
    ledger = Ledger.open(url)
    await ledger.ping()
    print("ready", flush=True)  # noqa: T201
    sys.stdin.readline()
    won: dict[str, list[int]] = {"attempts": [], "messages": []}
    for number in range(1, ROUNDS + 1):
        if (await reserve(ledger, number)).state == "new":
            won["attempts"].append(number)
        if (await claim_message(ledger, step=f"step_{number}")).state == "new":
            won["messages"].append(number)
    await ledger.close()
    return won


if __name__ == "__main__":
    print(json.dumps(asyncio.run(race(sys.argv[1]))))  # noqa: T201
