"""Test cards and what the bank will answer: Stripe's own test cards, and chosen sequences of outcomes.

Sources: docs.stripe.com/testing for `cards.json`; docs.stripe.com/declines/codes and
docs.stripe.com/declines/card for the messages, advice and network codes in `declines.json`.

The sandbox's own extension: a payment method with `metadata["outcomes"]` answers its charge attempts in that
order, the last entry repeating. An entry is a decline code, a block reason of `declines.json`, `succeeded`,
`authentication_required` or `processing`, optionally followed by
`/advice_code/network_decline_code/network_advice_code`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

from sandbox.stripe.errors import card_error, invalid_request, parameter_invalid
from sandbox.stripe.store import Account, Obj

Kind = Literal["succeeded", "declined", "blocked", "authentication_required", "processing"]
_ADVICE = ("confirm_card_data", "do_not_try_again", "try_again_later")


def _load(name: str) -> Any:
    return json.loads(files("sandbox.stripe").joinpath(name).read_text(encoding="utf-8"))


_TABLE = _load("declines.json")
DECLINES: dict[str, Obj] = _TABLE["declines"]
BLOCKS: dict[str, Obj] = _TABLE["blocks"]
HARD: frozenset[str] = frozenset(_TABLE["hard"])
"""After these Stripe's own retries charge nothing before there is a new method (Smart Retries guide)."""
_CARDS: list[Obj] = _load("cards.json")
_BY_NUMBER: dict[str, Obj] = {card["number"]: card for card in _CARDS}
_BY_NAME: dict[str, Obj] = {card["name"]: card for card in _CARDS if card["name"]}


@dataclass(frozen=True)
class Outcome:
    """What the bank, or Stripe in front of it, answers to one charge attempt."""

    kind: Kind
    code: str = ""
    """The decline code, or the reason of a block."""
    advice: str | None = None
    network_decline: str | None = None
    network_advice: str | None = None

    @property
    def message(self) -> str:
        """What the API says about it."""
        return str(DECLINES[self.code]["message"]) if self.kind == "declined" else "Your card was declined."

    @property
    def error_code(self) -> str:
        """The error code over the decline code, such as `card_declined`."""
        return str(DECLINES[self.code]["error_code"]) if self.kind == "declined" else "card_declined"


_PLAIN: dict[str, Outcome] = {
    "succeeded": Outcome("succeeded", "succeeded"),
    "authentication_required": Outcome("authentication_required", "authentication_required"),
    "processing": Outcome("processing", "processing"),
}


def read_outcome(entry: str, brand: str, param: str = "metadata[outcomes]") -> Outcome:
    """Read one entry of a sequence. Raises StripeError 400 for a code that Stripe does not have."""
    code, *given = [part.strip() for part in entry.strip().split("/")]
    if len(given) > 3:
        raise parameter_invalid(
            param, f"Invalid outcome '{entry}': write code/advice/network_decline/network_advice."
        )
    advice, decline, network_advice = [*given, "", "", ""][:3]
    if advice and advice not in _ADVICE:
        raise parameter_invalid(param, f"Invalid advice '{advice}': must be one of {', '.join(_ADVICE)}")
    if code in _PLAIN:
        return _PLAIN[code]
    if code in BLOCKS:
        return Outcome("blocked", code, advice or BLOCKS[code]["advice_code"])
    if code not in DECLINES:
        raise parameter_invalid(
            param,
            f"Invalid outcome '{code}': use a decline code of docs.stripe.com/declines/codes, "
            "succeeded, authentication_required or processing.",
        )
    return decline_of(code, brand, advice, decline, network_advice)


def decline_of(
    code: str, brand: str, advice: str = "", decline: str = "", network_advice: str = ""
) -> Outcome:
    """An issuer decline; what is not given comes from the table. Advice codes are Mastercard's."""
    row = DECLINES[code]
    usual = row["network_advice_code"] if brand == "mastercard" else None
    return Outcome(
        "declined",
        code,
        advice or row["advice_code"],
        decline or row["network_decline_code"],
        network_advice or usual,
    )


def read_outcomes(sequence: str, brand: str) -> list[Outcome]:
    """Read a whole sequence. Raises StripeError 400 when it is empty or an entry is unknown."""
    entries = [entry for entry in sequence.split(",") if entry.strip()]
    if not entries:
        raise parameter_invalid("metadata[outcomes]", "Invalid outcomes: name at least one.")
    return [read_outcome(entry, brand) for entry in entries]


def card_named(name: str) -> Obj | None:
    """The test card behind `pm_card_<name>` or `tok_<name>`."""
    return _BY_NAME.get(name)


def card_numbered(number: str) -> Obj:
    """The test card of a number. Raises StripeError 402 for a number that is none."""
    digits = "".join(part for part in number if part.isdigit())
    card = _BY_NUMBER.get(digits)
    if card is not None:
        return card
    if _passes_luhn(digits):
        message = "The sandbox knows only Stripe's test cards: see docs.stripe.com/testing."
        raise invalid_request(message, code="testmode_charges_only", param="card[number]", status=402)
    raise card_error(
        {"code": "incorrect_number", "message": "Your card number is incorrect.", "param": "number"}
    )


def _passes_luhn(digits: str) -> bool:
    if not 12 <= len(digits) <= 19:
        return False
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if position % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def fingerprint(number: str) -> str:
    """The same card number has the same fingerprint, always."""
    return hashlib.sha256(f"sandbox card {number}".encode()).hexdigest()[:16]


def next_outcome(account: Account, method: Obj) -> Outcome:
    """What this attempt on the payment method brings, and move its sequence on by one."""
    used = account.outcomes_used.get(method["id"], 0)
    account.outcomes_used[method["id"]] = used + 1
    sequence = sequence_of(account, method)
    return sequence[min(used, len(sequence) - 1)]


def sequence_of(account: Account, method: Obj) -> list[Outcome]:
    """All outcomes of a payment method: its own sequence, else that of its test card."""
    chosen = method["metadata"].get("outcomes") or account.card_outcomes[method["id"]]
    return read_outcomes(chosen, method["card"]["brand"])
