"""The payload of SendGrid's `mail/send`: what it refuses, and the mails it stands for.

Source: SendGrid v3 API reference, "Mail Send", its limitations and its list of errors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

ADDRESS = re.compile(r"[^@\s<>\",;]+@[^@\s<>\",;.]+(\.[^@\s<>\",;.]+)*")
RESERVED_HEADERS = {
    "x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding",
    "to", "from", "subject", "reply-to", "cc", "bcc",
}  # fmt: skip
Problem = tuple[str | None, str]


@dataclass(frozen=True)
class Mail:
    """One mail to one recipient."""

    to: str
    sender: str
    subject: str
    text: str | None
    html: str | None
    custom_args: dict[str, str]
    headers: dict[str, str]
    details: dict[str, Any]
    send_at: float


def problems(payload: Any, now: datetime) -> list[Problem]:
    """What SendGrid would refuse in a payload, as (field, message); empty when it would accept it."""
    if not isinstance(payload, dict):
        return [(None, "Bad Request")]
    return [
        *_personalizations(payload),
        *_from(payload),
        *_subject(payload),
        *_content(payload),
        *_extras("", payload, now),
        *_shared(payload),
    ]


def recipients(payload: dict[str, Any]) -> list[Mail]:
    """The mails of a valid payload, one a recipient; a personalization's settings win."""
    content = {part["type"]: part["value"] for part in payload.get("content", [])}
    kept = ("categories", "asm", "tracking_settings", "mail_settings", "reply_to", "template_id")
    mails = []
    for personalization in payload["personalizations"]:
        details = {name: payload[name] for name in kept if name in payload}
        details["from_name"] = payload["from"].get("name")
        if "dynamic_template_data" in personalization:
            details["dynamic_template_data"] = personalization["dynamic_template_data"]
        for kind in ("to", "cc", "bcc"):
            for person in personalization.get(kind, []):
                mails.append(
                    Mail(
                        to=person["email"],
                        sender=payload["from"]["email"],
                        subject=personalization.get("subject") or payload.get("subject") or "",
                        text=content.get("text/plain"),
                        html=content.get("text/html"),
                        custom_args=payload.get("custom_args", {}) | personalization.get("custom_args", {}),
                        headers=payload.get("headers", {}) | personalization.get("headers", {}),
                        details={**details, "kind": kind, "name": person.get("name")},
                        send_at=float(personalization.get("send_at") or payload.get("send_at") or 0),
                    )
                )
    return mails


def _personalizations(payload: dict[str, Any]) -> Iterator[Problem]:
    entries = payload.get("personalizations")
    if not isinstance(entries, list) or not entries:
        yield (
            "personalizations",
            "The personalizations field is required and must have at least one personalization.",
        )
        return
    if len(entries) > 1000:
        yield (
            "personalizations",
            "The personalization block is limited to 1000 personalizations per API request. "
            f"You have provided {len(entries)} personalizations. Please consider splitting this into "
            "multiple requests and resending your request.",
        )
    total = 0
    for number, entry in enumerate(entries):
        where = f"personalizations.{number}"
        if not isinstance(entry, dict):
            yield where, "Each personalization must be an object."
            continue
        total += sum(len(entry.get(kind) or []) for kind in ("to", "cc", "bcc"))
        yield from _envelope(where, entry)
    if total > 1000:
        yield "personalizations", "There is a limit of 1000 total recipients (to + cc + bcc) per request."


def _envelope(where: str, entry: dict[str, Any]) -> Iterator[Problem]:
    if not isinstance(entry.get("to"), list) or not entry["to"]:
        yield (
            f"{where}.to",
            "The to array is required for all personalization objects, and must have at least one email "
            "object with a valid email address.",
        )
    seen: set[str] = set()
    for kind in ("to", "cc", "bcc"):
        people = entry.get(kind) or []
        if not isinstance(people, list):
            yield f"{where}.{kind}", f"The {kind} parameter must be an array of email objects."
            continue
        for index, person in enumerate(people):
            email = person.get("email") if isinstance(person, dict) else None
            if not isinstance(email, str) or not ADDRESS.fullmatch(email):
                yield f"{where}.{kind}.{index}.email", "Does not contain a valid address."
                continue
            if re.search(r"[;,]", str(person.get("name") or "")):
                yield f"{where}.{kind}.{index}.name", "The name must not contain a semicolon or a comma."
            if email.lower() in seen:
                yield (
                    where,
                    "Each email address in the personalization block should be unique between to, cc, and "
                    f"bcc. We found the first duplicate instance of [{email}] in the {where}.{kind} field.",
                )
            seen.add(email.lower())
    yield from _extras(f"{where}.", entry, None)


def _from(payload: dict[str, Any]) -> Iterator[Problem]:
    sender = payload.get("from")
    email = sender.get("email") if isinstance(sender, dict) else None
    if not isinstance(email, str) or not email:
        yield (
            "from.email",
            "The from object must be provided for every email send. It is an object that requires the email "
            "parameter, but may also contain a name parameter.",
        )
    elif not ADDRESS.fullmatch(email) or not email.isascii():
        yield "from.email", "The from email does not contain a valid address."


def _subject(payload: dict[str, Any]) -> Iterator[Problem]:
    entries = payload.get("personalizations")
    each = (
        isinstance(entries, list)
        and bool(entries)
        and all(isinstance(entry, dict) and entry.get("subject") for entry in entries)
    )
    subject = payload.get("subject")
    if not (isinstance(subject, str) and subject) and not payload.get("template_id") and not each:
        yield (
            "subject",
            "The subject is required. You can get around this requirement if you use a template with a "
            "subject defined or if every personalization has a subject defined.",
        )


def _content(payload: dict[str, Any]) -> Iterator[Problem]:
    parts = payload.get("content")
    if parts is None and payload.get("template_id"):
        return
    if not isinstance(parts, list) or not parts:
        yield "content", "Unless a valid template_id is provided, the content parameter is required."
        return
    for number, part in enumerate(parts):
        value = part.get("value") if isinstance(part, dict) else None
        kind = part.get("type") if isinstance(part, dict) else None
        for name, given in (("value", value), ("type", kind)):
            if not isinstance(given, str) or not given:
                yield (
                    f"content.{number}.{name}",
                    f"The content {name} must be a string at least one character in length.",
                )
    kinds = [part.get("type") for part in parts if isinstance(part, dict)]
    if "text/plain" in kinds[1:] or ("text/html" in kinds and kinds.index("text/html") > 1):
        yield (
            "content",
            "If present, text/plain and text/html may only be provided once, and in that order: text/plain "
            "first, then text/html, then other content.",
        )


def _extras(prefix: str, entry: dict[str, Any], now: datetime | None) -> Iterator[Problem]:
    custom = entry.get("custom_args")
    if custom is not None:
        if not isinstance(custom, dict) or not all(isinstance(value, str) for value in custom.values()):
            yield f"{prefix}custom_args", "The custom_args must be an object whose values are strings."
        elif sum(len(k.encode()) + len(v.encode()) for k, v in custom.items()) > 10_000:
            yield f"{prefix}custom_args", "The custom_args must not exceed 10,000 bytes in total."
    headers = entry.get("headers")
    if headers is not None:
        if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
            yield f"{prefix}headers", "The headers must be an object whose values are strings."
        else:
            for name in headers:
                if name.lower() in RESERVED_HEADERS:
                    yield f"{prefix}headers", f"The header {name} is reserved and cannot be set."
    due = entry.get("send_at")
    if due is not None:
        if not isinstance(due, int):
            yield f"{prefix}send_at", "The send_at parameter must be a Unix timestamp."
        elif now is not None and due > (now + timedelta(hours=72)).timestamp():
            yield f"{prefix}send_at", "Scheduling more than 72 hours in advance is forbidden."


def _shared(payload: dict[str, Any]) -> Iterator[Problem]:
    categories = payload.get("categories")
    if categories is not None:
        if not isinstance(categories, list) or len(categories) > 10:
            yield "categories", "There is a limit of 10 categories per send."
        elif len({str(category) for category in categories}) < len(categories):
            yield "categories", "The categories must be unique."
        elif any(not isinstance(category, str) or len(category) > 255 for category in categories):
            yield "categories", "Each category must be a string of at most 255 characters."
    asm = payload.get("asm")
    if asm is not None and (not isinstance(asm, dict) or not isinstance(asm.get("group_id"), int)):
        yield "asm.group_id", "The asm object requires a group_id, an integer."
    if "reply_to" in payload and "reply_to_list" in payload:
        yield "reply_to", "Only one of reply_to and reply_to_list may be used."
    reply_to = payload.get("reply_to")
    if reply_to is not None:
        email = reply_to.get("email") if isinstance(reply_to, dict) else None
        if not isinstance(email, str) or not ADDRESS.fullmatch(email):
            yield "reply_to.email", "The email address of reply_to does not contain a valid address."
    settings = payload.get("mail_settings", {})
    mode = settings.get("sandbox_mode", {}) if isinstance(settings, dict) else None
    if not isinstance(mode, dict):
        yield "mail_settings", "The mail_settings must be an object of objects."
    elif not isinstance(mode.get("enable", False), bool):
        yield "mail_settings.sandbox_mode.enable", "The enable parameter must be a boolean."
