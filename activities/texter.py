"""SMS by Twilio: one message, one call, one of three results."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit, urlunsplit

import requests
from twilio.base.exceptions import TwilioRestException, TwilioServiceException
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from activities.sending import (
    Accepted,
    Refused,
    SendResult,
    Unknown,
    checked_base,
    never_sent,
    pause,
    seconds_in,
    unreached,
)

API_BASE = "https://api.twilio.com"

#: The longest stay in Twilio's queue, in seconds (Twilio API reference, Messages: ValidityPeriod).
LONGEST_VALIDITY = 36_000


@dataclass(frozen=True, slots=True)
class _Rule:
    """What an error code means and asks for; the message was not sent in any case."""

    words: str = "see twilio.com/docs/api/errors"
    retryable: bool = False
    retry_after: float | None = None
    opted_out: bool = False
    address_bad: bool = False
    operator: bool = False


#: Source: twilio.com/docs/api/errors. A code that is not here follows the HTTP status.
_CODES: dict[int, _Rule] = {
    20003: _Rule("the credentials are wrong", retryable=True, operator=True),
    20429: _Rule("too many requests", retryable=True),
    21211: _Rule("the number is not valid", address_bad=True),
    21212: _Rule("the sender is not valid", operator=True),
    21408: _Rule("sending to this country is switched off", operator=True),
    21601: _Rule("the sender cannot send SMS", operator=True),
    21606: _Rule("the sender is not ours", operator=True),
    21608: _Rule("a trial account writes to verified numbers only", operator=True),
    21610: _Rule("the customer opted out", opted_out=True),
    21611: _Rule("the sender's queue is full", retryable=True, retry_after=3600.0),
    21614: _Rule("not a mobile number", address_bad=True),
    21617: _Rule("the text is too long", operator=True),
    21635: _Rule("a landline number", address_bad=True),
    21655: _Rule("the approved template does not exist", operator=True),
    21656: _Rule("the approved template takes other variables", operator=True),
    63014: _Rule("the customer blocked us on WhatsApp", opted_out=True),
    63016: _Rule("WhatsApp takes an approved template only", operator=True),
}


@dataclass(frozen=True, slots=True)
class Template:
    """A template that Meta approved, and what fills it (twilio.com/docs/content)."""

    content_sid: str
    variables: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Text:
    """An SMS, or with a `template` a WhatsApp message, to one number in E.164.

    Its representation leaves out everything personal.
    `validity` in seconds: how long it may wait in Twilio's queue, so that it cannot slip into quiet hours.
    """

    dispatch_id: str
    to: str = field(repr=False)
    body: str = field(repr=False)
    validity: int | None = None
    template: Template | None = None

    def __post_init__(self) -> None:
        if self.validity is not None and not 1 <= self.validity <= LONGEST_VALIDITY:
            raise ValueError(f"validity={self.validity}: give 1 to {LONGEST_VALIDITY} seconds, or None")


class Texter(Protocol):
    """Sends SMS."""

    async def send(self, text: Text) -> SendResult:
        """Hand one SMS to the provider. A cancelled call may still have been sent: treat it as unknown."""
        ...


class TwilioTexter:
    """The texter of Twilio's Messages API (twilio.com/docs/messaging/api/message-resource).

    `timeout` in seconds bounds each wait for the network. `status_callback` is an absolute URL of ours; the
    dispatch id is added to its query as `dispatch_id`: after an unknown outcome no other id is known.
    The SDK's asynchronous client ignores its timeout, hence the blocking one in threads of its own.
    """

    def __init__(
        self,
        account_sid: str,
        auth_token: str,
        api_base: str | None = None,
        *,
        messaging_service_sid: str,
        timeout: float = 10.0,
        status_callback: str | None = None,
        threads: int = 8,
    ) -> None:
        self._credentials = (account_sid, auth_token)
        self._base = checked_base("TWILIO_API_BASE", api_base or API_BASE)
        self._service = messaging_service_sid
        self._timeout = timeout
        self._callback = status_callback
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="twilio")

    async def send(self, text: Text) -> SendResult:
        """See `Texter.send`."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._send, text)

    def close(self) -> None:
        """Let the threads end. Calls that run are not cut off."""
        self._threads.shutdown(wait=False)

    def _send(self, text: Text) -> SendResult:
        headers: dict[str, str] = {}
        client = self._client(headers)
        try:
            message = client.messages.create(**self._parameters(text))
        except (TwilioRestException, TwilioServiceException) as error:
            return _refusal(error.status, error.code, seconds_in(headers.get("retry-after")))
        except requests.exceptions.ConnectTimeout as error:
            return unreached("Twilio", error)
        except requests.exceptions.RequestException as error:
            if never_sent(error):
                return unreached("Twilio", error)
            return Unknown(f"Twilio gave no answer ({type(error).__name__})")
        except json.JSONDecodeError:
            return Unknown("Twilio's answer was not JSON")
        return Accepted(message.sid) if message.sid else Unknown("Twilio's answer named no message")

    def _client(self, headers: dict[str, str]) -> Client:
        """A client for one call, which puts the answer's headers into `headers` (the SDK's errors lack them).

        The SDK's HTTP client keeps the last answer in an attribute and returns that: two threads with one
        client could exchange their answers. And a pooled connection that died while idle would make a message
        unknown that was never sent, so every call connects afresh.
        """

        def keep(response: requests.Response, *_: Any, **__: Any) -> None:
            headers.update({name.lower(): value for name, value in response.headers.items()})

        http = TwilioHttpClient(
            pool_connections=False, timeout=self._timeout, request_hooks={"response": keep}
        )
        client = Client(*self._credentials, http_client=http)
        client.region = client.edge = None  # taken from the environment, they would change the host
        client.api.base_url = self._base
        return client

    def _parameters(self, text: Text) -> dict[str, Any]:
        parameters: dict[str, Any] = {
            "messaging_service_sid": self._service,
            **(_in_own_words(text) if text.template is None else _by_template(text.to, text.template)),
        }
        if text.validity is not None:
            parameters["validity_period"] = text.validity
        if self._callback:
            parameters["status_callback"] = with_query(self._callback, dispatch_id=text.dispatch_id)
        return parameters


def _in_own_words(text: Text) -> dict[str, Any]:
    # `smart_encoded`: look-alikes that our own normalisation does not know.
    return {"to": text.to, "body": text.body, "smart_encoded": True}


def _by_template(to: str, template: Template) -> dict[str, Any]:
    """Outside the 24 hours after the customer's own message WhatsApp takes nothing else (error 63016)."""
    numbered = {str(number): value for number, value in enumerate(template.variables, start=1)}
    variables = json.dumps(numbered, ensure_ascii=False)
    return {"to": f"whatsapp:{to}", "content_sid": template.content_sid, "content_variables": variables}


def with_query(url: str, **parameters: str) -> str:
    """The URL with these parameters added to its query."""
    parts = urlsplit(url)
    query = "&".join(filter(None, (parts.query, urlencode(parameters))))
    return urlunsplit(parts._replace(query=query))


def _refusal(status: int, code: int | None, retry_after: float | None) -> SendResult:
    """What an error of the API means. Its text is left out: it repeats the customer's number."""
    stopped = status in {401, 403}
    rule = _CODES.get(code or 0, _Rule(retryable=stopped, operator=stopped))
    detail = f"Twilio answered HTTP {status}, error {code}: {rule.words}"
    if status >= 500 or status == 408:
        return Unknown(detail)
    return Refused(
        detail,
        retryable=rule.retryable or status == 429,
        retry_after=pause(rule.retry_after if retry_after is None else retry_after),
        opted_out=rule.opted_out,
        address_bad=rule.address_bad,
        operator=rule.operator,
    )
