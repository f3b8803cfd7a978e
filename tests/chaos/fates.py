"""The people of a storm: what their banks answer and what they do, drawn from a seed. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

Deed = Literal[
    "pay", "pay_at_the_charge", "new_card", "new_card_without_money", "void", "extend", "stop_texting"
]

SOFT = ("insufficient_funds", "do_not_honor", "generic_decline")
TECHNICAL = ("issuer_not_available", "processing_error")
HARD = ("lost_card", "stolen_card", "expired_card")
BRANDS = ("tok_visa", "tok_visa", "tok_mastercard", "tok_amex")


@dataclass(frozen=True)
class Act:
    """What somebody does `day` days after the renewal failed, about the invoice with that index."""

    day: float
    deed: Deed
    invoice: int = 0


@dataclass(frozen=True)
class Person:
    """A customer: `bank` answers the attempts, from the sign-up on, the last answer repeating.

    People of one `wallet` share a card. `texts`: the customer agreed to text messages.
    """

    wallet: int
    token: str
    bank: tuple[str, ...]
    invoices: int
    acts: tuple[Act, ...]
    texts: bool


def people(seed: int, cases: int) -> list[Person]:
    """So many people that they have `cases` failed invoices together."""
    random, tired = Random(seed), Random(-seed)
    drawn: list[Person] = []
    left = cases
    for wallet in range(cases):
        for person in _wallet(random, wallet, left):
            drawn.append(person)
            left -= person.invoices
        if left == 0:
            break
    return [_with_a_stop(person, tired) for person in drawn]


def _with_a_stop(person: Person, random: Random) -> Person:
    """Some of those who get texts write STOP one day."""
    if not person.texts or random.random() < 0.5:
        return person
    acts = (*person.acts, Act(_half(random, 0.5, 18), "stop_texting"))
    return replace(person, acts=tuple(sorted(acts, key=lambda act: act.day)))


def _wallet(random: Random, wallet: int, left: int) -> Iterator[Person]:
    """One customer, mostly; some have two or three subscriptions, some share a card with somebody."""
    kind = random.choices(("one", "two", "three", "shared"), (70, 14, 6, 10))[0]
    token, bank = random.choice(BRANDS), _bank(random)
    invoices = min({"two": 2, "three": 3}.get(kind, 1), left)
    bank = (*["succeeded"] * invoices, *[bank[0]] * (invoices - 1), *bank)  # the sign-ups, the renewals
    people = 2 if kind == "shared" and left > 1 else 1
    for _ in range(people):
        yield Person(wallet, token, bank, invoices, _acts(random, invoices), random.random() < 0.3)


def _bank(random: Random) -> tuple[str, ...]:
    fate = random.choices(
        ("cures", "never", "technical", "hard", "authentication", "fraud"), (42, 18, 14, 16, 6, 4)
    )[0]
    soft = [random.choice(SOFT) for _ in range(random.randint(1, 4))]
    match fate:
        case "cures":
            return (*soft, "succeeded")
        case "technical":
            return (*random.choices(TECHNICAL, k=random.randint(1, 4)), random.choice(("succeeded", *SOFT)))
        case "hard":
            return (*soft[:-1][:2], random.choice(HARD))
        case "authentication":
            return ("authentication_required",)
        case "fraud":
            return (soft[0], "fraudulent")
        case _:
            return tuple(soft)


def _acts(random: Random, invoices: int) -> tuple[Act, ...]:
    return tuple(sorted(_deeds(random, invoices), key=lambda act: act.day))


def _deeds(random: Random, invoices: int) -> Iterator[Act]:
    """On half days, so that people act together and the storm has few moments."""
    for index in range(invoices):
        draw = random.random()
        if draw < 0.12:
            yield Act(_half(random, 0.5, 14), "pay", index)
        elif draw < 0.28:
            yield Act(_half(random, 0.5, 9), "pay_at_the_charge", index)
        elif draw < 0.42:
            yield Act(_half(random, 0.5, 14), random.choice(("new_card", "new_card_without_money")), index)
        elif draw < 0.49:
            yield Act(_half(random, 0.5, 30), "void", index)
        elif draw < 0.61:
            yield Act(_half(random, 15, 20), "extend", index)
            if random.random() < 0.5:
                yield Act(_half(random, 21, 28), "pay", index)
        elif draw < 0.72:
            yield Act(_half(random, 22, 49), "pay", index)  # suspended by then


def _half(random: Random, first: float, last: float) -> float:
    """A moment a quarter after a half day: beside the moments of the ladder, which are whole days."""
    return random.randint(int(first * 2), int(last * 2)) / 2 + 0.1
