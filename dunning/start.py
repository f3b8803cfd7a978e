"""The door of a case: what a start and a hint may look like. Refused with one sentence, or taken."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from dunning.case import BillingEvent
from dunning.decision import Start

_LONGEST_ID = 255  # Stripe: "IDs are at most 255 characters" (docs.stripe.com/upgrades)
_SAID = ("report", "status", "charge", "invoice", "card", "step", "channel", "why")
_MOST_MONEY = 10**12  # Stripe's amounts have at most twelve digits


def parse_start(args: Sequence[Any]) -> Start:
    """The input of `InvoiceDunning`. Raises ValueError with one sentence that says what to change."""
    given = parse_input(args, "invoice_id", "a Stripe invoice (in_…)", ("in_",), ("reopen",))
    if not isinstance(given.get("reopen", False), bool):
        raise ValueError("reopen: write true or false")
    return Start(
        invoice_id=given["invoice_id"],
        policy=given.get("policy"),
        account=given.get("account") or "",
        reopen=given.get("reopen", False),
    )


def parse_input(
    args: Sequence[Any], field: str, what: str, prefixes: tuple[str, ...], more: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The one JSON object that starts a workflow: an id at Stripe; `policy`, `account` and `more` if need be.

    Raises ValueError with one sentence that says what to change.
    """
    example = f'give one JSON object such as {{"{field}": "{prefixes[0]}123"}}'
    if len(args) != 1:
        raise ValueError(f"input: {len(args)} arguments arrived; {example}")
    given = args[0]
    if not isinstance(given, dict):
        raise ValueError(f"input: {type(given).__name__} arrived; {example}")
    fields = sorted({field, "policy", "account", *more})
    strange = sorted(str(key) for key in given if key not in fields)
    if strange:
        raise ValueError(f"{strange[0]}: is not a field of the input; its fields are {', '.join(fields)}")
    named = given.get(field)
    if not isinstance(named, str) or not named.startswith(prefixes) or len(named) > _LONGEST_ID:
        raise ValueError(f"{field}: {named!r} is not the id of {what}; {example}")
    for option, prefix in (("account", "acct_"), ("policy", "")):
        value = given.get(option)
        if value is not None and (not isinstance(value, str) or not value.startswith(prefix) or not value):
            meant = "a Stripe account (acct_…)" if prefix else "the name of a policy"
            raise ValueError(f"{option}: {value!r} is not {meant}; leave it out or mend it")
    return given


def parse_hint(args: Sequence[Any], now: datetime) -> BillingEvent:
    """A hint of any shape. One that cannot be read is still a reason to look: reading again does no harm."""
    given = args[0] if len(args) == 1 and isinstance(args[0], dict) else {}
    return BillingEvent(
        type=_text(given.get("type")),
        id=_text(given.get("id")),
        created=_moment(given.get("created")),
        at=now,
        amount=_amount(given.get("amount")),
        currency=_currency(given.get("currency")),
        **{name: _text(given.get(name)) for name in _SAID},
    )


def asked_moment(args: Sequence[Any], now: datetime) -> datetime:
    """The moment that a query asks about; not before `now`, which in a waiting case is its last step's."""
    asked = _moment(args[0]) if len(args) == 1 else None
    return max(asked, now) if asked is not None else now


def _text(value: Any) -> str:
    return value[:120] if isinstance(value, str) else ""


def _amount(value: Any) -> int | None:
    fits = isinstance(value, int) and not isinstance(value, bool) and abs(value) < _MOST_MONEY
    return value if fits else None


def _currency(value: Any) -> str:
    return value if isinstance(value, str) and len(value) == 3 and value.isascii() and value.isalpha() else ""


def _moment(value: Any) -> datetime | None:
    """Unix seconds, as Stripe writes them, or ISO 8601; anything else is unknown."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            return moment if moment.tzinfo else None
    except (ValueError, OverflowError, OSError):
        return None
    return None
