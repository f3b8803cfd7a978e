"""Twilio's wire format: the message resource, errors, signatures, and how SMS segments are counted."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import JSONResponse

from sandbox.world import Message

MESSAGES = {
    20001: "The sandbox does not support scheduled messages: leave out SendAt and ScheduleType",
    20003: "Authenticate",
    20404: "The requested resource {value} was not found",
    21211: "Invalid 'To' Phone Number: {value}",
    21212: "Invalid From Number (caller ID): {value}",
    21408: "Permission to send an SMS has not been enabled for the region of the 'To' number: {value}",
    21602: "Message body is required.",
    21603: "A 'From' or 'MessagingServiceSid' parameter is required.",
    21604: "A 'To' phone number is required.",
    21606: "The 'From' phone number {value} is not a valid message-capable Twilio phone number",
    21609: "The 'StatusCallback' URL {value} is not a valid URL.",
    21610: "Attempt to send to unsubscribed recipient",
    21611: "This 'From' number has exceeded the maximum number of queued messages",
    21612: "The 'To' phone number {value} is not currently reachable using the 'From' phone number",
    21614: "'To' number {value} is not a valid mobile number",
    21617: "The concatenated message body exceeds the 1600 character limit",
    21624: "Invalid validity period value: {value}",
    21655: "The ContentSid {value} is invalid",
    21656: "The ContentVariables parameter is invalid",
    63014: "Message failed to be delivered to user because it is blocked by a user action",
    21705: "The Messaging Service Sid {value} is invalid",
}


def signature(token: str, url: str, fields: dict[str, str]) -> str:
    """Base64 HMAC-SHA1 over the URL and the sorted fields (Twilio docs, "Webhooks security")."""
    signed = url + "".join(name + fields[name] for name in sorted(fields))
    return base64.b64encode(hmac.new(token.encode(), signed.encode(), hashlib.sha1).digest()).decode()


GSM7 = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM7_TWICE = "^{}\\[~]|€\f"


def segments(body: str) -> int:
    """How many SMS segments a text takes: 160/153 in GSM-7, 70/67 UTF-16 units otherwise (3GPP TS 23.038)."""
    if all(char in GSM7 or char in GSM7_TWICE for char in body):
        size, one, more = sum(2 if char in GSM7_TWICE else 1 for char in body), 160, 153
    else:
        size, one, more = len(body.encode("utf-16-le")) // 2, 70, 67
    return 1 if size <= one else -(-size // more)


def resource(message: Message) -> dict[str, Any]:
    """A message as the API shows it."""
    details = message.details
    uri = f"/2010-04-01/Accounts/{details['account_sid']}/Messages/{message.id}"
    return {
        "account_sid": details["account_sid"],
        "api_version": "2010-04-01",
        "body": message.body,
        "date_created": rfc2822(message.at),
        "date_sent": details["date_sent"],
        "date_updated": details["date_updated"],
        "direction": "outbound-api",
        "error_code": details["error_code"],
        "error_message": details["error_message"],
        "from": details["from"],
        "messaging_service_sid": details["messaging_service_sid"],
        "num_media": "0",
        "num_segments": details["num_segments"],
        "price": None,
        "price_unit": "USD",
        "sid": message.id,
        "status": message.status,
        "subresource_uris": {"media": f"{uri}/Media.json"},
        "to": message.to,
        "uri": f"{uri}.json",
    }


def rfc2822(moment: datetime) -> str:
    """A moment as the API writes it."""
    return f"{moment:%a, %d %b %Y %H:%M:%S +0000}"


def error(status: int, code: int, value: str = "") -> JSONResponse:
    """A refusal as the API answers it."""
    return JSONResponse(
        {
            "code": code,
            "message": MESSAGES.get(code, "The message was refused").format(value=value),
            "more_info": f"https://www.twilio.com/docs/errors/{code}",
            "status": status,
        },
        status,
    )


def is_json_object(text: str) -> bool:
    """Whether a parameter holds a JSON object."""
    try:
        return isinstance(json.loads(text or "{}"), dict)
    except ValueError:
        return False


def absolute(url: str) -> bool:
    """Whether Twilio takes this as the address of a callback (no underscore in the host)."""
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and "_" not in (parts.hostname or "")
