"""Twilio's webhooks: is it really Twilio, and what does it say about which message. Pure.

Source: twilio.com/docs/usage/webhooks/webhooks-security, "Outbound message status in status callbacks".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import parse_qsl

from starlette.datastructures import ImmutableMultiDict
from twilio.request_validator import (
    HMAC_SHA1,
    SIGNATURE_SETTINGS_HEADER,
    RequestValidator,
    get_signature_algorithm,
)

from dunning.consents import of_twilio, twilio_errors
from dunning.deliveries import Delivery, Heard
from dunning.values import Channel
from starter.webhooks.refusals import BadSignature, Malformed

STATUS_PATH = "/webhooks/twilio/status"
INBOUND_PATH = "/webhooks/twilio/inbound"
SIGNATURE = "x-twilio-signature"
MOST_FIELDS = 200

#: What each status says of the message. Twilio tells nothing of the first one.
DELIVERIES: Mapping[str, Delivery] = {
    **dict.fromkeys(("accepted", "scheduled", "queued", "sending"), "taken"),
    "sent": "sent",
    "partially_delivered": "sent",
    "delivered": "delivered",
    "read": "read",
    **dict.fromkeys(("undelivered", "failed", "canceled"), "undelivered"),
}
_SID = re.compile(r"[A-Z]{2}[0-9a-fA-F]{32}")
_DISPATCH_ID = re.compile(r"dsp_[0-9a-f]{32}")
_SENDER = re.compile(r"(whatsapp:)?\+?[0-9]{3,15}", re.ASCII)  # short codes write as well
_CODE = re.compile(r"[0-9]{1,6}", re.ASCII)

Form = ImmutableMultiDict[str, str]


@dataclass(frozen=True, slots=True)
class TextEvent:
    """One status: which message it is about, and what it tells of it."""

    dispatch_id: str | None
    news: Heard


@dataclass(frozen=True, slots=True)
class Inbound:
    """A message that a customer wrote. Its representation names nobody and leaves out the words."""

    id: str
    sender: str = field(repr=False)
    text: str = field(repr=False)
    opt_out_type: str | None = None  # Twilio's own reading (Advanced Opt-Out)

    @property
    def channel(self) -> Channel:
        """How it came."""
        return Channel.WHATSAPP if self.sender.startswith("whatsapp:") else Channel.SMS


def read_form(body: bytes) -> Form:
    """The fields of a raw body, with every value of a field that comes twice. Raises Malformed."""
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError:
        raise Malformed("the body is not a form of Twilio's") from None
    return ImmutableMultiDict(fields)


def verify(url: str, form: Form, headers: Mapping[str, str], secrets: Mapping[str, Iterable[str]]) -> None:
    """Check the signature over the URL that Twilio called, query included, and the fields of the form.

    `secrets` by algorithm: the account's auth token for HMAC_SHA1, shared keys for HMAC_SHA256. A signature
    carries no time: what was taken in before has no effect a second time. Raises BadSignature.
    """
    given = headers.get(SIGNATURE)
    if not given:
        raise BadSignature("the request carries no X-Twilio-Signature")
    algorithm = get_signature_algorithm(headers.get(SIGNATURE_SETTINGS_HEADER) or "").upper()
    matches = [RequestValidator(s).validate(url, form, given, algorithm) for s in secrets.get(algorithm, ())]
    if not any(matches):
        secret = "TWILIO_AUTH_TOKEN" if algorithm == HMAC_SHA1 else "TWILIO_WEBHOOK_SHARED_KEYS"
        raise BadSignature(f"the signature does not match {secret} and PUBLIC_BASE_URL")


def inbound(form: Form) -> Inbound:
    """The message in a verified form. Raises Malformed."""
    sid, sender = form.get("MessageSid") or form.get("SmsSid") or "", form.get("From") or ""
    if not _SID.fullmatch(sid):
        raise Malformed("MessageSid is missing or is not the id of a message")
    if not _SENDER.fullmatch(sender):
        raise Malformed("From is missing or is not a number")
    return Inbound(sid, sender, form.get("Body") or "", form.get("OptOutType") or None)


def status(form: Form, query: Mapping[str, str], now: datetime) -> TextEvent:
    """What a status callback tells. `now`: when it arrived, for Twilio names no time. Raises Malformed."""
    sid, word = form.get("MessageSid") or form.get("SmsSid") or "", form.get("MessageStatus") or ""
    if not _SID.fullmatch(sid):
        raise Malformed("MessageSid is missing or is not the id of a message")
    if word not in DELIVERIES:
        raise Malformed("MessageStatus is missing or is not the status of a message")
    code = form.get("ErrorCode") or ""
    number = int(code) if _CODE.fullmatch(code) and int(code) else None
    news = Heard(
        provider="twilio",
        event=word,
        key=word,
        at=now,
        delivery=DELIVERIES[word],
        provider_id=sid,
        detail=_detail(word, number),
        effect=of_twilio(number) if DELIVERIES[word] == "undelivered" else None,
    )
    named = query.get("dispatch_id", "")
    return TextEvent(named if _DISPATCH_ID.fullmatch(named) else None, news)


def _detail(word: str, code: int | None) -> str:
    known = twilio_errors().get(code or 0)
    return f"error {code}, {known.words}" if known else f"{word}, error {code}" if code else ""
