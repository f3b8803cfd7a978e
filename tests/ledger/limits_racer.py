"""Charges a few cards for many customers while another process does the same.

Several tasks reserve and complete attempts at moments of two simulated weeks.
"""

from __future__ import annotations

import asyncio
import random
from datetime import datetime, timedelta
from typing import Any

from dunning.values import DeclineClass
from ledger import Ledger
from tests.fixtures.processes import meet
from tests.ledger.acts import NOW, claim_case, complete, reserve

TASKS = 4
TRIES = 15
CARDS = 4

#: Which card was charged, when, and how it ended.
Granted = list[tuple[str, datetime, DeclineClass]]


async def charge(ledger: Ledger, name: str, number: int, at: datetime, dice: random.Random) -> Granted:
    """Try once to charge one of the cards; an attempt that is made is declined."""
    invoice, card = f"in_{name}", {"fingerprint": f"fp_{dice.randrange(CARDS)}"}
    claim = await reserve(ledger, number, invoice, at=at, customer=f"cus_{name}", charge=card)
    if claim.state != "new":
        return []
    await asyncio.sleep(dice.random() / 100)  # Stripe is asked
    cls = dice.choice((DeclineClass.SOFT, DeclineClass.TECHNICAL, DeclineClass.TECHNICAL))
    ended: dict[str, Any] = {
        "decline_class": cls,
        "charge_id": f"ch_{name}_{number}",
        "charged_at": at,
        "at": at,
    }
    await complete(ledger, number, invoice_id=invoice, **ended)
    return [(card["fingerprint"], at, cls)]


def race(url: str, seed: str) -> Granted:
    """What all tasks of this process were granted."""
    return asyncio.run(_race(url, seed))


async def _race(url: str, seed: str) -> Granted:
    ledger = await Ledger.open(url)
    dice = {f"{seed}_{task}": random.Random(f"{seed}_{task}") for task in range(TASKS)}
    clocks = dict.fromkeys(dice, NOW)
    for name in dice:
        await claim_case(ledger, f"in_{name}", customer=f"cus_{name}")
    granted: Granted = []
    for number in range(1, TRIES + 1):
        for name, own in dice.items():
            clocks[name] += timedelta(minutes=own.randint(30, 40 * 60))
        meet()  # or one process is through with its two weeks before the other has begun
        tries = (charge(ledger, name, number, clocks[name], own) for name, own in dice.items())
        granted += [attempt for made in await asyncio.gather(*tries) for attempt in made]
    await ledger.close()
    return granted
