"""A process that charges a few cards for many customers while another process does the same.

It is told the database and a seed, says `ready`, waits for a line, lets several tasks reserve and complete
attempts at moments of two simulated weeks, and prints those that it was granted: which card, when, and how
they ended.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from datetime import timedelta
from typing import Any

from dunning.values import DeclineClass
from ledger import Ledger
from tests.ledger.acts import NOW, claim_case, complete, reserve

TASKS = 4
TRIES = 15
CARDS = 4

Granted = list[tuple[str, str, str]]


async def charge(ledger: Ledger, name: str, dice: random.Random) -> Granted:
    """Try again and again to charge one of the cards, hours apart; every attempt made is declined."""
    granted: Granted = []
    invoice, at = f"in_{name}", NOW
    await claim_case(ledger, invoice, customer=f"cus_{name}")
    for number in range(1, TRIES + 1):
        at += timedelta(minutes=dice.randint(30, 40 * 60))
        card = {"fingerprint": f"fp_{dice.randrange(CARDS)}"}
        claim = await reserve(ledger, number, invoice, at=at, customer=f"cus_{name}", charge=card)
        if claim.state != "new":
            continue
        await asyncio.sleep(dice.random() / 100)  # Stripe is asked
        cls = dice.choice((DeclineClass.SOFT, DeclineClass.TECHNICAL, DeclineClass.TECHNICAL))
        ended: dict[str, Any] = {
            "decline_class": cls,
            "charge_id": f"ch_{name}_{number}",
            "charged_at": at,
            "at": at,
        }
        await complete(ledger, number, invoice_id=invoice, **ended)
        granted.append((card["fingerprint"], at.isoformat(), cls.value))
    return granted


async def race(url: str, seed: str) -> Granted:
    """What all tasks of this process were granted."""
    ledger = Ledger.open(url)
    await ledger.ping()
    print("ready", flush=True)  # noqa: T201
    sys.stdin.readline()
    names = [f"{seed}_{task}" for task in range(TASKS)]
    granted = await asyncio.gather(*(charge(ledger, name, random.Random(name)) for name in names))
    await ledger.close()
    return [attempt for attempts in granted for attempt in attempts]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(race(sys.argv[1], sys.argv[2]))))  # noqa: T201
