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
from tests.ledger.acts import NOW, claim_case, complete, reserve

TASKS = 4
TRIES = 15
CARDS = 4

#: Which card was charged, when, and how it ended.
Granted = list[tuple[str, datetime, DeclineClass]]


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
        granted.append((card["fingerprint"], at, cls))
    return granted


def race(url: str, seed: str) -> Granted:
    """What all tasks of this process were granted."""
    return asyncio.run(_race(url, seed))


async def _race(url: str, seed: str) -> Granted:
    ledger = Ledger.open(url)
    names = [f"{seed}_{task}" for task in range(TASKS)]
    granted = await asyncio.gather(*(charge(ledger, name, random.Random(name)) for name in names))
    await ledger.close()
    return [attempt for attempts in granted for attempt in attempts]
