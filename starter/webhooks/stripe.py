"""Stripe's webhooks: is it really Stripe, and what does it say. Pure. Whom it concerns: see `routing`."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dunning.reports import REPORTS, UnknownPayment
from starter.webhooks.refusals import BadSignature, Malformed

#: How far the time of a signature may lie from ours, in seconds (docs.stripe.com/webhooks). Stripe signs
#: every redelivery anew. The SDK refuses old times only; a future one is as wrong.
TOLERANCE = 300

#: Idempotency keys of the engine's own calls start with this; what such a call caused wakes nobody.
OWN_CALLS = "dunning-"
_LONGEST_TEXT = 500

#: What a report says of a payment, besides which one it is.
_SAID = ("status", "amount", "currency")

def verify(body: bytes, header: str | None, secrets: Iterable[str], now: float) -> None:
    """Check the `Stripe-Signature` header of a raw body against every secret of the endpoint.

    `now` is the wall clock in Unix seconds. Raises BadSignature.
    Source: docs.stripe.com/webhooks (verify signatures manually).
    """
    pairs = [part.strip().partition("=") for part in (header or "").split(",")]
    stamp = next((value for name, _, value in pairs if name == "t"), "")
    given = [value.encode() for name, _, value in pairs if name == "v1"]
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12) or not given:
        raise BadSignature("the Stripe-Signature header is missing or has no time and v1 signature")
    signed = stamp.encode() + b"." + body
    expected = [hmac.new(s.encode(), signed, hashlib.sha256).hexdigest().encode() for s in secrets]
    if not any(hmac.compare_digest(e, g) for e in expected for g in given):
        raise BadSignature("no signature matches a secret in STRIPE_WEBHOOK_SECRET")
    if abs(now - int(stamp)) > TOLERANCE:
        raise BadSignature(f"the signature is more than {TOLERANCE} seconds from our time: check the clock")


@dataclass(frozen=True, slots=True)
class StripeEvent:
    """The few facts of an event that say whom it concerns."""

    id: str
    type: str
    created: datetime
    account: str = ""
    own: bool = False
    object: Mapping[str, Any] = field(default_factory=dict)
    previous: Mapping[str, Any] = field(default_factory=dict)  # of what changed, the value before
    changed: frozenset[str] | None = None  # None: the event does not say

    @property
    def hint(self) -> dict[str, Any]:
        """What a case is told: small, and without anything personal."""
        told = {"type": self.type, "id": self.id, "created": self.created.isoformat()}
        return told | self._report if self.type in REPORTS else told

    @property
    def _report(self) -> dict[str, Any]:
        """What a refund, a dispute or a warning says of a payment."""
        said = {name: self.object.get(name) for name in _SAID}
        said |= {"report": self.object.get("id"), "charge": self.charge}
        return {name: value for name, value in said.items() if value is not None}

    @property
    def charge(self) -> str:
        """The charge that a report is about, or an empty string."""
        return id_in(self.object.get("charge")) or ""

    @property
    def of_stranger(self) -> UnknownPayment:
        """A report to be received again, once it is known whose payment it is about: nothing personal."""
        said = {name: self.object.get(name) for name in ("id", *_SAID)} | {"charge": self.charge}
        event = {"id": self.id, "type": self.type, "created": int(self.created.timestamp())}
        event |= {"account": self.account, "data": {"object": said}}
        return UnknownPayment(account=self.account, charge=self.charge, event=event)


def translate(body: bytes) -> StripeEvent:
    """Read a verified body. Raises Malformed. A thin event comes out with its type and no object."""
    try:
        raw = json.loads(body)
        created = raw["created"]
        data = mapping_in(raw.get("data"))
        request = mapping_in(raw.get("request"))
        previous = data.get("previous_attributes")
        return StripeEvent(
            id=text_in(raw["id"]) or "",
            type=text_in(raw["type"]) or "",
            created=_moment(created),
            account=text_in(raw.get("account")) or "",
            own=_is_own(request, mapping_in(data.get("object"))),
            object=mapping_in(data.get("object")),
            previous=mapping_in(previous),
            changed=frozenset(previous) if isinstance(previous, dict) else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError, RecursionError) as error:
        raise Malformed("the body is not a Stripe event: it has no id, type or created") from error


def _is_own(request: Mapping[str, Any], what: Mapping[str, Any]) -> bool:
    """An echo of a call of this engine's: by its idempotency key or, for a cancellation, by its comment."""
    marks = (request.get("idempotency_key"), mapping_in(what.get("cancellation_details")).get("comment"))
    return any((text_in(mark) or "").startswith(OWN_CALLS) for mark in marks)


def id_in(named: object) -> str | None:
    """The id of something that is named, or there as a whole."""
    return text_in(named.get("id") if isinstance(named, dict) else named)


def mapping_in(value: object) -> Mapping[str, Any]:
    """The fields of an object, none if it is not one."""
    return value if isinstance(value, dict) else {}


def text_in(value: object) -> str | None:
    """A text as Stripe writes ids, types and keys; nothing else may reach the ledger or Temporal."""
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_TEXT:
        return None
    return value if value.isascii() and value.isprintable() else None


def _moment(value: object) -> datetime:
    if isinstance(value, str):  # thin events write ISO 8601
        moment = datetime.fromisoformat(value)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("created is not a time")
    return datetime.fromtimestamp(value, UTC)
