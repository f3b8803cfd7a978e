"""Claims what another process claims at the same moment: ten attempts and ten messages in turn."""

from __future__ import annotations

import asyncio

from ledger import Ledger
from tests.ledger.acts import claim_message, reserve

ROUNDS = 10


def race(url: str) -> dict[str, list[int]]:
    """The numbers of the claims that this process won."""
    return asyncio.run(_race(url))


async def _race(url: str) -> dict[str, list[int]]:
    ledger = await Ledger.open(url)
    won: dict[str, list[int]] = {"attempts": [], "messages": []}
    for number in range(1, ROUNDS + 1):
        if (await reserve(ledger, number)).state == "new":
            won["attempts"].append(number)
        if (await claim_message(ledger, step=f"step_{number}")).state == "new":
            won["messages"].append(number)
    await ledger.close()
    return won
