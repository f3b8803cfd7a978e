"""E-mail by SendGrid: one message, one recipient, one call, one of three results."""

from __future__ import annotations

import asyncio
import email.utils
import json
import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any, Protocol
from urllib.error import URLError

from python_http_client.exceptions import HTTPError
from sendgrid import SendGridAPIClient

from activities.sending import (
    Accepted,
    Refused,
    SendResult,
    Unknown,
    checked_base,
    impersonal,
    never_sent,
    pause,
    seconds_in,
    unreached,
)

API_BASE = "https://api.sendgrid.com"

# At DEBUG this logger prints the API key and the recipient, whatever the level of the others.
logging.getLogger("python_http_client.client").setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Mail:
    """An e-mail to one person. Its representation leaves out everything personal."""

    dispatch_id: str
    case_id: str
    to: str = field(repr=False)
    subject: str = field(repr=False)
    text: str = field(repr=False)
    html: str = field(repr=False)
    sender_email: str
    sender_name: str
    reply_to: str | None = None
    unsubscribe_url: str | None = None  # by one click; None: the message is none to unsubscribe from


class Mailer(Protocol):
    """Sends e-mail."""

    async def send(self, mail: Mail) -> SendResult:
        """Hand one e-mail to the provider. A cancelled call may still have been sent: treat it as unknown."""
        ...


class SendGridMailer:
    """The mailer of SendGrid's v3 API (docs.sendgrid.com/api-reference/mail-send).

    `timeout` in seconds bounds each wait for the network; the SDK itself would wait for ever. The SDK blocks,
    so calls run in threads of their own: a provider that hangs must not hold up the rest of the process.
    """

    def __init__(
        self, api_key: str, api_base: str | None = None, timeout: float = 10.0, *, threads: int = 8
    ) -> None:
        host = checked_base("SENDGRID_API_BASE", api_base or API_BASE)
        self._client = SendGridAPIClient(api_key, host=host)
        self._client.client.timeout = timeout
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="sendgrid")

    async def send(self, mail: Mail) -> SendResult:
        """See `Mailer.send`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._send, payload(mail))

    def close(self) -> None:
        """Let the threads end. Calls that run are not cut off."""
        self._threads.shutdown(wait=False)

    def _send(self, body: dict[str, Any]) -> SendResult:
        try:
            response = self._client.send(body)
        except HTTPError as error:
            return _refusal(error.status_code, error.body, error.headers)
        except (OSError, HTTPException) as error:
            if never_sent(error) or _timed_out_before_answer(error):
                return unreached("SendGrid", error)
            return Unknown(f"SendGrid gave no answer ({type(error).__name__})")
        message_id = response.headers.get("X-Message-Id")
        if response.status_code == 202 and message_id:
            return Accepted(message_id)
        return Unknown(f"SendGrid answered HTTP {response.status_code} without X-Message-Id")


def payload(mail: Mail) -> dict[str, Any]:
    """The body of mail/send. Text comes before HTML, as the API wants it.

    Click and open tracking are off: they would rewrite the customer's signed link. `custom_args` come back in
    every event and are stored by SendGrid as not personal, so they hold our own ids only.

    There is no `asm` group: SendGrid would keep a second list of who wants no reminders, which a claim of a
    message cannot ask in its transaction, and whose members it moves to the list of all mail once the group
    is deleted ("Suppressions", groups). Our own link says the same, and the ledger knows it at once.
    """
    body: dict[str, Any] = {
        "personalizations": [
            {
                "to": [{"email": mail.to}],
                "custom_args": {"dispatch_id": mail.dispatch_id, "case_id": mail.case_id},
            }
        ],
        "from": {"email": mail.sender_email, "name": mail.sender_name},
        "subject": mail.subject,
        "content": [
            {"type": "text/plain", "value": mail.text},
            {"type": "text/html", "value": mail.html},
        ],
        "categories": ["dunning"],
        "tracking_settings": {
            "click_tracking": {"enable": False, "enable_text": False},
            "open_tracking": {"enable": False},
        },
    }
    if mail.reply_to:
        body["reply_to"] = {"email": mail.reply_to}
    if mail.unsubscribe_url:  # RFC 8058; SendGrid signs both with DKIM
        one_click = {"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
        body["headers"] = {"List-Unsubscribe": f"<{mail.unsubscribe_url}>"} | one_click
    return body


def _timed_out_before_answer(error: Exception) -> bool:
    """Whether connecting or writing timed out. urllib wraps only those into URLError, not the wait for the
    answer; and what was not written to its end SendGrid cannot have taken.
    """
    return isinstance(error, URLError) and isinstance(error.reason, TimeoutError)


def _refusal(status: int, body: bytes | None, headers: Mapping[str, str] | None) -> SendResult:
    """What an answer that is not a success means (docs.sendgrid.com, "Responses", "Rate limits")."""
    errors = _errors(body)
    detail = f"SendGrid answered HTTP {status}" + _said(errors)
    if status >= 500 or status == 408:
        return Unknown(detail)
    if status == 429:
        return Refused(detail, retryable=True, retry_after=_retry_after(headers or {}))
    if status in {401, 403}:  # a bad key, a missing scope, an unverified sender, or no credits left
        return Refused(detail, retryable=True, operator=True)
    bad = status == 400 and any(_about_recipient(error) for error in errors)
    return Refused(detail, retryable=False, address_bad=bad, operator=not bad)


def _errors(body: bytes | None) -> list[dict[str, Any]]:
    try:
        told = json.loads(body or b"{}")
    except ValueError:  # a proxy's page, not SendGrid's words: the status alone has to do
        return []
    errors = told.get("errors") if isinstance(told, dict) else None
    return [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []


def _said(errors: list[dict[str, Any]]) -> str:
    told = [f"{error.get('field') or 'request'}: {error.get('message') or '?'}" for error in errors]
    return f" ({impersonal('; '.join(told))})" if told else ""


def _about_recipient(error: dict[str, Any]) -> bool:
    parts = str(error.get("field") or "").split(".")
    return parts[0] == "personalizations" and "to" in parts and parts[-1] in {"to", "email"}


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds until the limit is reset: X-RateLimit-Reset is a Unix time of the server's clock."""
    reset = seconds_in(headers.get("X-RateLimit-Reset"))
    if reset is None:
        return pause(seconds_in(headers.get("Retry-After")))
    said = email.utils.parsedate_to_datetime(headers["Date"]).timestamp() if headers.get("Date") else None
    return pause(reset - (said if said is not None else time.time()))
