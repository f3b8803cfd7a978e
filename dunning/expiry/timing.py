"""When a card has expired, and which charges that concerns."""

from __future__ import annotations

from datetime import date, datetime, time

from dunning.calendar import local_moment
from dunning.decision import NextCharge
from dunning.expiry.card import CardFacts, Renewal

_MONTHS = 12
#: Where every day begins first.
EARLIEST = "Pacific/Kiritimati"


def written_expiry(year: int, month: int) -> str:
    """An expiry as it stands in ids and in the ledger: "2031-09"."""
    return f"{year:04d}-{month:02d}"


def expired_from(expiry: str, *zones: str) -> datetime:
    """The first moment at which the card is no longer valid in the earliest of the zones.

    A card is valid through the last day of its month (docs.stripe.com/api/payment_methods: exp_month); nobody
    says in whose zone, so the month ends where it ends first: UTC, the business's zone or the customer's.
    """
    year, month = (int(part) for part in expiry.split("-"))
    after = date(year + month // _MONTHS, month % _MONTHS + 1, 1)
    return min(local_moment(after, time(0), zone) for zone in {"UTC", *zones})


def endangered(card: CardFacts, expiry: str, zone: str) -> tuple[Renewal, ...]:
    """The charges that meet the card after its last day, the next first. `zone` is the business's."""
    dead_from = expired_from(expiry, zone, card.zone or zone)
    mine = (r for r in card.renewals if r.charges and r.method == card.method and r.at >= dead_from)
    return tuple(sorted(mine, key=lambda renewal: (renewal.at, renewal.subscription)))


def worth_saying(card: CardFacts, charge: NextCharge) -> bool:
    """Whether a message about this charge is still true, by what was just read."""
    dangers = endangered(card, charge.expiry, charge.zone)
    if card.expiry != charge.expiry or not dangers or card.dunned:
        return False
    return dangers[0].at == charge.at and not all(rescued(r, charge.zone) for r in dangers)


def in_danger(renewal: Renewal) -> bool:
    """Whether the card may be dead by the charge in some zone of the world: worth a closer look."""
    if renewal.expiry is None or not renewal.charges:
        return False
    return renewal.at >= expired_from(renewal.expiry, EARLIEST)


def rescued(renewal: Renewal, zone: str) -> bool:
    """Whether another method of the customer's is there, valid on the day, when this one fails."""
    if renewal.backup is None:
        return False
    return renewal.backup_expiry is None or renewal.at < expired_from(renewal.backup_expiry, zone)
