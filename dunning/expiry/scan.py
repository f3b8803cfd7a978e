"""The scan for cards that expire and renewals to remind of: what it asks and carries along. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from dunning.expiry.card import CardFacts, CardRef, CardState, Renewal
from dunning.expiry.decide import open_card
from dunning.policy import Policy
from dunning.values import Value

#: The statuses in which Stripe charges. A paused one is found by the first scan after it resumed.
STATUSES = ("active", "past_due", "trialing")
_EXAMPLE = 'give nothing, or one JSON object such as {"account": "acct_123"}'


class Found(Value):
    """A card that needs a case."""

    method: str
    expiry: str


class ScanOrder(Value):
    """One page of the subscriptions of a status."""

    account: str = ""
    status: str
    after: str | None = None


    @property
    def is_first(self) -> bool:
        """Whether it is the first page of the platform's own account."""
        return not self.account and self.status == STATUSES[0] and self.after is None


class ScanPage(Value):
    """What a page showed. `after` continues behind it; None: it was the last one of its status."""

    looked_at: int
    found: tuple[Found, ...] = ()
    known: int = 0  # of the cards in danger: those whose case is open, or was closed for good
    after: str | None = None
    accounts: tuple[str, ...] = ()  # connected accounts, told with the first page of the platform's own
    renewals: tuple[str, ...] = ()  # the subscriptions whose renewal needs a reminder and has none


class ScanWish(Value):
    """The input of `ExpiringCardScan`; beyond `account` it is what a run hands on to its successor."""

    account: str = ""
    status: str | None = STATUSES[0]  # None: through
    after: str | None = None
    looked_at: int = 0
    started: int = 0
    known: int = 0
    reminders: int = 0


class Scanned(Value):
    """What a scan did: the result of `ExpiringCardScan`."""

    looked_at: int
    started: int
    known: int
    reminders: int = 0


def parse_wish(args: Sequence[Any]) -> ScanWish:
    """The input of a scan. Raises ValueError with one sentence that says what to change."""
    if not args:
        return ScanWish()
    given = args[0]
    if len(args) > 1 or not isinstance(given, dict):
        raise ValueError(f"input: it has another shape; {_EXAMPLE}")
    strange = sorted(str(key) for key in given if key not in ScanWish.model_fields)
    if strange:
        raise ValueError(f"{strange[0]}: is no field of the input; {_EXAMPLE}")
    try:
        wish = ScanWish.model_validate(given)
    except ValidationError as error:
        raise ValueError(
            f"{'.'.join(map(str, error.errors()[0]['loc']))}: cannot be read; {_EXAMPLE}"
        ) from error
    if wish.account and not wish.account.startswith("acct_"):
        raise ValueError(
            f"account: {wish.account!r} is not a Stripe account (acct_…); leave it out or mend it"
        )
    if wish.status not in STATUSES:
        raise ValueError(f"status: write one of {', '.join(STATUSES)}, or leave it out")
    return wish


def onwards(done: ScanWish, page: ScanPage, started: int, reminders: int = 0) -> ScanWish:
    """Where the scan goes on after a page, and what it did so far. The status is None after the last one."""
    assert done.status is not None
    later = (*STATUSES, None)[STATUSES.index(done.status) + 1]
    return done.model_copy(
        update={
            "status": done.status if page.after is not None else later,
            "after": page.after,
            "looked_at": done.looked_at + page.looked_at,
            "started": done.started + started,
            "known": done.known + page.known + len(page.found) - started,
            "reminders": done.reminders + reminders,
        }
    )


def needs_case(renewal: Renewal, zone: str | None, policy: Policy, now: datetime) -> Found | None:
    """The card that this charge will meet after its last day, if a case is due for it now."""
    if renewal.method is None or renewal.expiry is None:
        return None
    ref = CardRef(case_id="", method=renewal.method, expiry=renewal.expiry)
    facts = CardFacts(method=ref.method, read_at=now, expiry=ref.expiry, zone=zone, renewals=(renewal,))
    needed = isinstance(open_card(ref, facts, policy, now), CardState)
    return Found(method=ref.method, expiry=ref.expiry) if needed else None
