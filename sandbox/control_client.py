"""A typed client of the sandbox's control API, for the demo and the tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self

import aiohttp
from pydantic import AwareDatetime, BaseModel

from sandbox.rules import RequestFaultKind, Service, WebhookFaultKind
from sandbox.world import Channel


class ControlError(Exception):
    """The control API refused a call; `status` is the HTTP status, `param` the parameter at fault."""

    def __init__(self, status: int, message: str, param: str | None) -> None:
        super().__init__(message)
        self.status, self.param = status, param


class SentMessage(BaseModel):
    """A message that SendGrid's or Twilio's stand-in accepted; `at` is the sandbox's time."""

    channel: Channel
    id: str
    at: AwareDatetime
    to: str
    sender: str
    status: str
    subject: str | None
    body: str | None
    html: str | None
    custom_args: dict[str, str]
    headers: dict[str, str]
    details: dict[str, Any]


class ArrivedRequest(BaseModel):
    """An API request that arrived. `status` is None when its connection was closed without an answer."""

    number: int
    at: AwareDatetime
    service: Service
    method: str
    path: str
    query: dict[str, Any]
    body: Any
    status: int | None
    faults: list[str]
    seconds: float | None


class WebhookAttempt(BaseModel):
    """One POST of a webhook: the status its target answered, or why there was none."""

    at: AwareDatetime
    status: int | None
    error: str | None


class WebhookDelivery(BaseModel):
    """A webhook on its way, with its attempts."""

    number: int
    service: Service
    url: str
    event_id: str
    body: str
    queued_at: AwareDatetime
    state: str
    fault: str | None
    attempts: list[WebhookAttempt]


class ControlClient:
    """One method for each control call. Raises ControlError when a call is refused."""

    def __init__(self, url: str, *, timeout: float = 60.0) -> None:
        self.url = url.rstrip("/")
        self._timeout = timeout
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """The client itself, which makes its calls within this block."""
        self._http = aiohttp.ClientSession(f"{self.url}/_control/", cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close()

    # The clock

    async def now(self) -> datetime:
        """The sandbox's time."""
        return datetime.fromisoformat((await self._call("GET", "clock"))["now"])

    async def set_clock(self, to: datetime) -> datetime:
        """Set the clock ahead to a moment (a passed one leaves it alone); returns the time it is now."""
        return datetime.fromisoformat((await self._call("POST", "clock", {"to": to.isoformat()}))["now"])

    async def advance(self, seconds: float) -> datetime:
        """Set the clock ahead by some seconds; returns the time it is now."""
        return datetime.fromisoformat((await self._call("POST", "clock", {"advance": seconds}))["now"])

    # What arrived and what left

    async def requests(
        self,
        *,
        service: Service | None = None,
        method: str | None = None,
        path: str | None = None,
        status: int | None = None,
        after: int = 0,
    ) -> list[ArrivedRequest]:
        """The journal, oldest first; `path` is a regular expression, `after` the number of a known entry."""
        query = {"service": service, "method": method, "path": path, "status": status, "after": after}
        answer = await self._call("GET", "requests", query=query)
        return [ArrivedRequest.model_validate(entry) for entry in answer["requests"]]

    async def messages(
        self,
        *,
        channel: Channel | None = None,
        to: str | None = None,
        custom_args: Mapping[str, str] | None = None,
    ) -> list[SentMessage]:
        """The messages accepted, oldest first, one a recipient."""
        wanted = [f"{name}:{value}" for name, value in (custom_args or {}).items()]
        query = {"channel": channel, "to": to, "custom_arg": wanted}
        answer = await self._call("GET", "messages", query=query)
        return [SentMessage.model_validate(entry) for entry in answer["messages"]]

    async def deliveries(
        self, *, service: Service | None = None, state: str | None = None, event: str | None = None
    ) -> list[WebhookDelivery]:
        """The webhooks, oldest first; `event` is a regular expression over event id and body."""
        query = {"service": service, "state": state, "event": event}
        answer = await self._call("GET", "deliveries", query=query)
        return [WebhookDelivery.model_validate(entry) for entry in answer["deliveries"]]

    async def drain(self, timeout: float = 30.0) -> int:
        """Wait until all webhooks are settled; returns how many were given up."""
        answer = await self._call("POST", "drain", {"timeout": timeout}, waits=timeout)
        return int(answer["undelivered"])

    async def set_targets(self, **targets: str | None) -> None:
        """Where webhooks go: `sendgrid_events`, `twilio_inbound`; None switches one off."""
        await self._call("PUT", "targets", targets)

    async def reset(self) -> None:
        """A clean slate: books, journal, messages, webhooks, faults and fates are gone; the clock stays."""
        await self._call("POST", "reset")

    # Faults

    async def fault(
        self,
        kind: RequestFaultKind,
        *,
        service: Service | None = None,
        method: str | None = None,
        path: str | None = None,
        body: str | None = None,
        times: int = 1,
        **more: Any,
    ) -> str:
        """Set a fault for API requests and return its id; `more` are the other fields of RequestFault."""
        rule = {"kind": kind, "service": service, "method": method, "path": path, "body": body}
        return str((await self._call("POST", "faults/requests", rule | {"times": times} | more))["id"])

    async def webhook_fault(
        self,
        kind: WebhookFaultKind,
        *,
        service: Service | None = None,
        event: str | None = None,
        times: int = 1,
        **more: Any,
    ) -> str:
        """Set a fault for outgoing webhooks and return its id; `more` are other fields of WebhookFault."""
        rule = {"kind": kind, "service": service, "event": event, "times": times}
        return str((await self._call("POST", "faults/webhooks", rule | more))["id"])

    async def faults(self) -> list[dict[str, Any]]:
        """The faults set, with how often each `fired` and how many requests each is `holding`."""
        return list((await self._call("GET", "faults"))["faults"])

    async def held(self, fault_id: str, count: int = 1, timeout: float = 10.0) -> int:
        """Wait until a pause holds at least `count` requests; returns how many it holds."""
        query = {"count": count, "timeout": timeout}
        answer = await self._call("GET", f"faults/{fault_id}/holding", query=query, waits=timeout)
        return int(answer["holding"])

    async def release(self, fault_id: str) -> None:
        """Let the requests that a pause holds go on; later ones pass at once."""
        await self._call("POST", f"faults/{fault_id}/release")

    async def remove_fault(self, fault_id: str) -> None:
        """Take one fault away."""
        await self._call("DELETE", f"faults/{fault_id}")

    async def clear_faults(self) -> None:
        """Take all faults away."""
        await self._call("DELETE", "faults")

    # SendGrid

    async def sendgrid_public_key(self) -> str:
        """The key that verifies the Event Webhook: base64 SPKI, as SendGrid shows it."""
        return str((await self._call("GET", "sendgrid/public_key"))["public_key"])

    async def mail_event(
        self,
        event: str,
        *,
        message_id: str | None = None,
        custom_args: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> str:
        """Post an event about an accepted mail; returns its `sg_event_id`."""
        wish: dict[str, Any] = {"event": event, "message_id": message_id}
        wish |= {"custom_args": dict(custom_args or {}), "extra": dict(extra or {})}
        return str((await self._call("POST", "sendgrid/events", wish))["sg_event_id"])

    async def mail_fate(self, address: str, *fate: str) -> None:
        """Choose what becomes of mails to an address, such as `"bounce"`, or `"spamreport", "duplicate"`."""
        await self._call("POST", "sendgrid/fates", {"address": address, "fate": list(fate)})

    # Twilio

    async def twilio_account(self, sid: str, token: str) -> None:
        """Make a Twilio account known, and send inbound messages to it."""
        await self._call("POST", "twilio/accounts", {"sid": sid, "token": token})

    async def inbound(
        self,
        sender: str,
        body: str,
        *,
        to: str | None = None,
        opt_out_type: Literal["STOP", "START", "HELP"] | None = None,
        messaging_service_sid: str | None = None,
    ) -> str:
        """A customer writes; returns the message's sid."""
        wish = {"from": sender, "body": body, "opt_out_type": opt_out_type}
        wish |= {"messaging_service_sid": messaging_service_sid} | ({"to": to} if to else {})
        return str((await self._call("POST", "twilio/inbound", wish))["sid"])

    async def sms_status(self, sid: str, status: str, error_code: int | None = None) -> None:
        """Give an accepted SMS or WhatsApp message its next status, with its callback."""
        await self._call("POST", "twilio/status", {"sid": sid, "status": status, "error_code": error_code})

    async def sms_fate(self, to: str, **fate: Any) -> None:
        """Choose the fate of messages to a number: `refuse`, or `status` with `error_code`, or `silent`."""
        await self._call("POST", "twilio/fates", {"to": to, **fate})

    # Stripe

    async def stripe_books(self, *only: str) -> dict[str, Any]:
        """Everything the Stripe stand-in knows, or only the books of these names."""
        return dict(await self._call("GET", "stripe/books", query={"only": only}))

    async def renew(self, subscription_id: str, retries: Sequence[datetime | str] = ()) -> dict[str, Any]:
        """Begin a subscription's next period: its invoice is finalised and charged. Returns the invoice.

        `retries` are the times at which Stripe tries again by itself.
        """
        wish = {"subscription_id": subscription_id, "retries": _written(retries)}
        return dict(await self._call("POST", "stripe/renew", wish))

    async def announce(self, subscription_id: str) -> dict[str, Any]:
        """Tell of a subscription's next renewal by `invoice.upcoming`. Returns the invoice."""
        return dict(await self._call("POST", "stripe/announce", {"subscription_id": subscription_id}))

    async def schedule_retries(self, invoice_id: str, retries: Sequence[datetime | str]) -> dict[str, Any]:
        """Let Stripe try an open invoice again by itself at these times. Returns the invoice."""
        wish = {"invoice_id": invoice_id, "retries": _written(retries)}
        return dict(await self._call("POST", "stripe/schedule_retries", wish))

    async def automatic_update(
        self, payment_method: str, exp_month: int, exp_year: int, **more: str | None
    ) -> dict[str, Any]:
        """The card updater brings another expiry, maybe `last4`, maybe `outcomes`. Returns the method."""
        wish = {"pm_id": payment_method, "exp_month": exp_month, "exp_year": exp_year}
        return dict(await self._call("POST", "stripe/automatic_update", wish | more))

    async def replace_card(
        self, customer: str, *, card: str | None = None, outcomes: str | None = None
    ) -> dict[str, Any]:
        """The customer replaces the card in the portal. Returns the new payment method."""
        wish = {"customer_id": customer, "card": card, "outcomes": outcomes}
        return dict(await self._call("POST", "stripe/replace_card", wish))

    async def settle(self, invoice_id: str, outcome: str) -> dict[str, Any]:
        """End a payment that is processing: `succeeded` or a decline code. Returns the invoice."""
        return dict(
            await self._call(
                "POST", "stripe/settle_processing", {"invoice_id": invoice_id, "outcome": outcome}
            )
        )

    async def dispute(self, charge_id: str, amount: int | None = None) -> dict[str, Any]:
        """The cardholder disputes a charge, or `amount` minor units of it. Returns the dispute."""
        return dict(await self._call("POST", "stripe/dispute", {"charge_id": charge_id, "amount": amount}))

    async def close_dispute(self, dispute_id: str, status: Literal["won", "lost"]) -> dict[str, Any]:
        """The bank decides a dispute. Returns it."""
        wish = {"dispute_id": dispute_id, "status": status}
        return dict(await self._call("POST", "stripe/close_dispute", wish))

    async def exhaust_retries(
        self, subscription_id: str, action: Literal["unpaid", "cancel", "past_due", "pause"]
    ) -> dict[str, Any]:
        """Stripe's own retries have ended, and the account's settings act. Returns the subscription."""
        wish = {"subscription_id": subscription_id, "action": action}
        return dict(await self._call("POST", "stripe/exhaust_retries", wish))

    async def subscribe(
        self,
        *,
        customer: Mapping[str, Any],
        card: Mapping[str, Any],
        price: Mapping[str, Any],
        card_of: Literal["customer", "subscription"] = "customer",
        account: str | None = None,
    ) -> dict[str, str]:
        """A customer whose card has paid a first month, of which no webhook tells. Returns the ids.

        Each is given as the parameters of Stripe's call that makes it, numbers as text.
        """
        wish: dict[str, Any] = {"customer": customer, "card": card, "price": price}
        wish |= {"card_of": card_of, "account": account}
        return dict(await self._call("POST", "stripe/subscribe", wish))

    async def multiply(self, subscription_id: str, copies: int) -> list[dict[str, str]]:
        """As many subscribers more like this one. Returns the ids of each."""
        wish = {"subscription_id": subscription_id, "copies": copies}
        return list(await self._call("POST", "stripe/multiply", wish))

    async def bank_seconds(self, seconds: float) -> None:
        """Let every charging call take so many real seconds."""
        await self._call("POST", "stripe/set_bank_seconds", {"seconds": seconds})

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        waits: float = 0.0,
    ) -> Any:
        """Make a call. `waits`: seconds that the sandbox itself may wait before it answers."""
        params = {name: value for name, value in (query or {}).items() if value is not None}
        status, answer = await self._ask(method, path, body, params, waits + self._timeout)
        if status < 400:
            return json.loads(answer)
        try:
            error = json.loads(answer)["error"]
        except (ValueError, KeyError):
            raise ControlError(status, answer.decode("utf-8", "replace"), None) from None
        raise ControlError(status, error["message"], error["param"])

    async def _ask(
        self, method: str, path: str, body: Any, query: Mapping[str, Any], patience: float
    ) -> tuple[int, bytes]:
        assert self._http is not None, "use it in `async with`"
        timeout = aiohttp.ClientTimeout(total=patience)
        async with self._http.request(method, path, json=body, params=query, timeout=timeout) as response:
            return response.status, await response.read()


def _written(moments: Sequence[datetime | str]) -> list[str]:
    return [moment if isinstance(moment, str) else moment.isoformat() for moment in moments]
