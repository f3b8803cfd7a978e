"""The cast: fictional customers, what their banks say, what they do on which day, and how it must end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from dunning.values import Outcome, RecoveredVia, Stage
from starter.demo.doings import Doings, Member


@dataclass(frozen=True)
class Fate:
    """How a case must come out.

    `suspended`: it was suspended on the way, and restored if it was paid. `attempts`: charges of the engine.
    """

    words: str
    outcome: Outcome | None
    via: RecoveredVia | None = None
    suspended: bool = False
    stage: Stage = Stage.CLOSED
    attempts: int | None = None


@dataclass(frozen=True)
class Act:
    """What somebody does on a day of the story (days since the renewal failed)."""

    day: float
    words: str
    do: Callable[[Doings, Member], Awaitable[None]]


@dataclass(frozen=True)
class Role:
    """A customer. `bank`: what the card's bank says to each attempt in turn, the last one repeating.

    The first answer is to the invoice that began the subscription. `amount` is in minor units.
    """

    name: str
    amount: int
    currency: str
    bank: str
    fate: Fate
    acts: tuple[Act, ...] = ()
    phone: str | None = None
    parked_on: float | None = None  # from this day on its clock runs in real time: somebody plays with it


_BROKE = "succeeded,insufficient_funds"

CAST: tuple[Role, ...] = (
    Role(
        "Delta Couriers", 4_900, "eur", "succeeded,processing_error,succeeded",
        Fate("technical failure, paid soon", Outcome.RECOVERED, RecoveredVia.ENGINE, attempts=1),
    ),
    Role(
        "Tidal Yoga", 2_900, "usd", "succeeded,insufficient_funds,insufficient_funds,succeeded",
        Fate("paid by the second retry", Outcome.RECOVERED, RecoveredVia.ENGINE, attempts=2),
    ),
    Role(
        "Café Lumière", 7_900, "eur", "succeeded,authentication_required",
        Fate("authenticates at the bank", Outcome.RECOVERED, RecoveredVia.CUSTOMER),
        (Act(1.4, "confirms with the bank on Stripe's page", Doings.authenticate),),
    ),
    Role(
        "Bergmann Optics", 12_900, "eur", "succeeded,lost_card",
        Fate("lost card, then a new one", Outcome.RECOVERED, RecoveredVia.NEW_METHOD),
        (Act(4.3, "puts in a new card", Doings.new_card),),
    ),
    Role(
        "Quiet Library", 1_900, "usd", _BROKE,
        Fate("invoice voided while waiting", Outcome.VOIDED),
        (Act(5.5, "was billed by mistake: the business voids the invoice", Doings.void),),
    ),
    Role(
        "Pixel Foundry", 24_900, "usd", "succeeded,do_not_honor",
        Fate("pays in the middle of grace", Outcome.RECOVERED, RecoveredVia.CUSTOMER),
        (Act(17.4, "pays on Stripe's page with another card", Doings.pay),),
        phone="+12025550143",
    ),
    Role(
        "Otto's Bike Repair", 5_900, "usd", _BROKE,
        Fate("gets 7 more days, pays late", Outcome.RECOVERED, RecoveredVia.CUSTOMER),
        (
            Act(19.2, "calls: support grants 7 days", Doings.extend),
            Act(25.6, "pays on Stripe's page", Doings.pay),
        ),
    ),
    Role(
        "Harbour Books", 8_900, "usd", _BROKE,
        Fate("suspended, pays, restored", Outcome.RECOVERED, RecoveredVia.CUSTOMER, suspended=True),
        (Act(29.3, "comes back and pays on Stripe's page", Doings.pay),),
    ),
    Role(
        "Nimbus Drones", 39_900, "usd", "succeeded,insufficient_funds,do_not_honor",
        Fate("never pays, written off", Outcome.WRITTEN_OFF, suspended=True),
        phone="+12025550176",
    ),
    Role(
        "Rosa Delgado Design", 3_900, "usd", _BROKE,
        Fate("left in grace, for you", None, stage=Stage.GRACE),
        parked_on=16.0,
    ),
)  # fmt: skip
