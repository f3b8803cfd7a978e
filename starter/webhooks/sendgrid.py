"""SendGrid's Event Webhook: is it really SendGrid, and what does it say about which message. Pure.

Source: SendGrid v3 API reference, "Event Webhook", "Event Webhook Security Features".
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from dunning.consents import of_sendgrid
from dunning.deliveries import Delivery, Heard
from starter.webhooks.refusals import BadSignature, Malformed

SIGNATURE = "x-twilio-email-event-webhook-signature"
TIMESTAMP = "x-twilio-email-event-webhook-timestamp"

#: What each event says of the message. Unsubscribing proves that it arrived, and so does opening it.
DELIVERIES: Mapping[str, Delivery] = {
    "processed": "taken",
    "deferred": "deferred",
    "delivered": "delivered",
    "bounce": "undelivered",
    "dropped": "undelivered",
    "open": "delivered",
    "click": "delivered",
    "spamreport": "delivered",
    "unsubscribe": "delivered",
    "group_unsubscribe": "delivered",
    "group_resubscribe": "delivered",
}
_DISPATCH_ID = re.compile(r"dsp_[0-9a-f]{32}")
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}", re.ASCII)
_CATEGORY = re.compile(r"[A-Za-z ]{1,40}")
_MESSAGE_ID = re.compile(r"[\w-]{1,100}", re.ASCII)


@dataclass(frozen=True, slots=True)
class MailEvent:
    """One event: which message it is about, and what it tells of it."""

    dispatch_id: str | None
    news: Heard


def load_key(text: str) -> ec.EllipticCurvePublicKey:
    """The key as SendGrid shows it: base64 without PEM lines. Raises ValueError with one sentence."""
    try:
        key = load_der_public_key(base64.b64decode(text, validate=True))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError("SENDGRID_WEBHOOK_PUBLIC_KEY is malformed: copy the verification key") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError("SENDGRID_WEBHOOK_PUBLIC_KEY is of another kind: copy the verification key")
    return key


def verify(
    body: bytes, headers: Mapping[str, str], key: ec.EllipticCurvePublicKey, now: float
) -> float | None:
    """Check the signature over timestamp and raw body; the age in seconds of what was signed, if it is told.

    There is no limit to the age: SendGrid delivers again for a day and documents no window. What was taken
    in before has no effect a second time. Raises BadSignature.
    """
    signature, timestamp = headers.get(SIGNATURE), headers.get(TIMESTAMP)
    if not signature or not timestamp:
        raise BadSignature("the request carries no signature of SendGrid's Event Webhook: switch signing on")
    try:
        der = base64.b64decode(signature, validate=True)
        key.verify(der, timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    except (binascii.Error, ValueError, InvalidSignature):
        raise BadSignature("the signature does not match SENDGRID_WEBHOOK_PUBLIC_KEY") from None
    return now - int(timestamp) if timestamp.isascii() and timestamp.isdigit() else None


def translate(body: bytes) -> Iterator[MailEvent]:
    """The events of a verified body that are about messages. Raises Malformed unless the body is a list.

    An event that makes no sense is left out: one must not keep the others from being heard.
    """
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        raise Malformed("the body is not JSON") from None
    if not isinstance(told, list):
        raise Malformed("the body is not a list of events")
    return (event for raw in told if isinstance(raw, dict) and (event := _event(raw)) is not None)


def _event(raw: Mapping[str, Any]) -> MailEvent | None:
    name, at = raw.get("event"), _moment(raw.get("timestamp"))
    if not isinstance(name, str) or name not in DELIVERIES or at is None:
        return None
    news = Heard(
        provider="sendgrid",
        event=name,
        key=f"{name}@{int(at.timestamp())}",  # `sg_event_id` may change from one delivery to the next
        at=at,
        delivery=DELIVERIES[name],
        provider_id=_matching(_MESSAGE_ID, str(raw.get("sg_message_id", "")).partition(".")[0]),
        detail=_detail(name, raw),
        effect=of_sendgrid(name, bounce=_text(raw.get("type")), reason=_text(raw.get("reason"))),
    )
    return MailEvent(_matching(_DISPATCH_ID, raw.get("dispatch_id")), news)


def _detail(name: str, raw: Mapping[str, Any]) -> str:
    """Why, in codes and SendGrid's own categories: the words of receiving servers may name the customer."""
    if DELIVERIES[name] not in ("undelivered", "deferred"):
        return ""
    what = "blocked" if raw.get("type") == "blocked" else name
    code = _matching(_STATUS, raw.get("status"))
    category = _matching(_CATEGORY, raw.get("bounce_classification" if name == "bounce" else "reason"))
    return ", ".join(filter(None, (f"{what} {code}" if code else what, category)))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _moment(value: object) -> datetime | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _matching(pattern: re.Pattern[str], value: object) -> str | None:
    return value if isinstance(value, str) and pattern.fullmatch(value) else None
