"""The control API under `/_control`: what arrived, what shall go wrong, and what time it is. All JSON."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import re
import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import wraps
from types import ModuleType
from typing import Any, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from sandbox.faults import Faults
from sandbox.rules import RequestFault, Rule, WebhookFault
from sandbox.sendgrid import SendGrid
from sandbox.twilio import E164, OWN_NUMBER, Fate, Twilio
from sandbox.world import Message, World

Body = TypeVar("Body", bound=BaseModel)
Handler = Callable[[Request], Awaitable[Any]]


class Refused(Exception):
    """A control call that cannot be done, with the HTTP status and the parameter at fault."""

    def __init__(self, status: int, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.param = status, param


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Clock(_Body):
    """Set the clock `to` a moment, or ahead by `advance` seconds."""

    to: AwareDatetime | None = None
    advance: float | None = Field(default=None, ge=0)


class Targets(_Body):
    """Where webhooks go; null switches one off, and a target left out stays as it is."""

    sendgrid_events: str | None = None
    twilio_inbound: str | None = None


class Inbound(_Body):
    """A message from a customer's phone."""

    sender: str = Field(alias="from", pattern=f"^{E164.pattern}$")
    to: str = OWN_NUMBER
    body: str = ""
    opt_out_type: Literal["STOP", "START", "HELP"] | None = None
    messaging_service_sid: str | None = None


class SmsStatus(_Body):
    """A status for a message that was accepted."""

    sid: str
    status: Literal["queued", "sending", "sent", "delivered", "undelivered", "failed", "read"]
    error_code: int | None = None


class SmsFate(_Body):
    """What becomes of messages to one number."""

    to: str
    refuse: int | None = None
    status: Literal["sent", "delivered", "undelivered", "failed"] = "delivered"
    error_code: int | None = None
    silent: bool = False


class Account(_Body):
    """A Twilio account that the sandbox knows."""

    sid: str = Field(pattern=r"^AC[0-9a-f]{32}$")
    token: str = Field(min_length=1)


class MailEvent(_Body):
    """An event for an accepted mail, found by message id or by a custom argument."""

    event: str
    message_id: str | None = None
    custom_args: dict[str, str] = Field(default_factory=dict)
    extra: dict[str, Any] = Field(default_factory=dict)


class MailFate(_Body):
    """What becomes of mails to one address; an empty list means: processed and delivered."""

    address: str
    fate: list[str]


class CardUpdate(_Body):
    """The card updater's news: the same card with another expiry."""

    payment_method: str
    exp_month: int = Field(ge=1, le=12)
    exp_year: int = Field(ge=2000)


class Wait(_Body):
    """How long to wait, in real seconds."""

    timeout: float = Field(default=30.0, gt=0)


def _guarded(handler: Handler) -> Handler:
    """Answers refusals in one shape: `{"error": {"code", "message", "param"}}`."""

    @wraps(handler)
    async def guarded(request: Request) -> JSONResponse:
        try:
            return JSONResponse(await handler(request))
        except Refused as refusal:
            return _refusal(refusal.status, str(refusal), refusal.param)
        except ValidationError as error:
            first = error.errors()[0]
            param = ".".join(str(part) for part in first["loc"]) or None
            return _refusal(400, f"{param or 'body'}: {first['msg']}", param)
        except ValueError as error:
            return _refusal(400, str(error), None)

    return guarded


def _refusal(status: int, message: str, param: str | None) -> JSONResponse:
    code = {404: "not_found", 408: "timeout", 501: "not_available"}.get(status, "invalid_request")
    return JSONResponse({"error": {"code": code, "message": message, "param": param}}, status)


async def _read(request: Request, kind: type[Body]) -> Body:
    return kind.model_validate_json(await request.body() or b"{}")


def stripe_module() -> ModuleType | None:
    """The Stripe stand-in, or None where it is not installed."""
    spec = importlib.util.find_spec("sandbox.stripe")
    return importlib.import_module("sandbox.stripe") if spec is not None and spec.origin else None


def _stripe() -> ModuleType:
    module = stripe_module()
    if module is None:
        raise Refused(501, "the Stripe stand-in is not installed")
    return module


class Control:
    """The control API of one sandbox."""

    def __init__(self, world: World, faults: Faults, sendgrid: SendGrid, twilio: Twilio) -> None:
        self._world, self._faults, self._sendgrid, self._twilio = world, faults, sendgrid, twilio

    def routes(self) -> list[BaseRoute]:
        """Its routes."""
        table: list[tuple[str, str, Handler]] = [
            ("GET", "health", self._clock),
            ("GET", "clock", self._clock),
            ("POST", "clock", self._set_clock),
            ("GET", "requests", self._requests),
            ("GET", "messages", self._messages),
            ("GET", "deliveries", self._deliveries),
            ("GET", "targets", self._targets),
            ("PUT", "targets", self._set_targets),
            ("GET", "faults", self._list_faults),
            ("POST", "faults/requests", self._add_request_fault),
            ("POST", "faults/webhooks", self._add_webhook_fault),
            ("DELETE", "faults", self._clear_faults),
            ("DELETE", "faults/{id}", self._remove_fault),
            ("GET", "faults/{id}/holding", self._holding),
            ("POST", "faults/{id}/release", self._release),
            ("GET", "sendgrid/public_key", self._public_key),
            ("POST", "sendgrid/events", self._mail_event),
            ("POST", "sendgrid/fates", self._mail_fate),
            ("POST", "twilio/accounts", self._account),
            ("POST", "twilio/inbound", self._inbound),
            ("POST", "twilio/status", self._sms_status),
            ("POST", "twilio/fates", self._sms_fate),
            ("GET", "stripe/books", self._books),
            ("POST", "stripe/renew", self._renew),
            ("POST", "stripe/automatic_update", self._card_update),
            ("POST", "drain", self._drain),
            ("POST", "reset", self._reset),
        ]
        return [
            Route(f"/_control/{path}", _guarded(handler), methods=[method]) for method, path, handler in table
        ]

    async def _clock(self, _request: Request) -> Any:
        return {"now": self._world.now().isoformat()}

    async def _set_clock(self, request: Request) -> Any:
        wish = await _read(request, Clock)
        if (wish.to is None) == (wish.advance is None):
            raise Refused(400, "give either `to` (a moment) or `advance` (seconds)", "to")
        to: datetime = wish.to or self._world.now() + timedelta(seconds=wish.advance or 0)
        return {"now": self._world.set_clock(to).isoformat()}

    async def _requests(self, request: Request) -> Any:
        query = request.query_params
        found = [
            arrival
            for arrival in list(self._world.journal)
            if query.get("service") in (None, arrival.service)
            and query.get("method", arrival.method).upper() == arrival.method
            and re.search(query.get("path", ""), arrival.path)
            and query.get("status") in (None, str(arrival.status))
            and arrival.number > int(query.get("after", "0"))
        ]
        return {"requests": [arrival.as_json() for arrival in found]}

    async def _messages(self, request: Request) -> Any:
        query = request.query_params
        wanted = [pair.split(":", 1) for pair in query.getlist("custom_arg")]
        if any(len(pair) != 2 for pair in wanted):
            raise Refused(400, "write custom_arg as name:value", "custom_arg")
        found = [
            message
            for message in self._world.messages
            if query.get("channel") in (None, message.channel)
            and query.get("to") in (None, message.to)
            and all(message.custom_args.get(name) == value for name, value in wanted)
        ]
        return {"messages": [message.as_json() for message in found]}

    async def _deliveries(self, request: Request) -> Any:
        query = request.query_params
        found = self._world.deliveries.find(
            service=query.get("service"), state=query.get("state"), event=query.get("event")
        )
        return {"deliveries": [delivery.as_json() for delivery in found]}

    async def _targets(self, _request: Request) -> Any:
        return {"sendgrid_events": self._sendgrid.events_url, "twilio_inbound": self._twilio.inbound_url}

    async def _set_targets(self, request: Request) -> Any:
        targets = await _read(request, Targets)
        if "sendgrid_events" in targets.model_fields_set:
            self._sendgrid.events_url = targets.sendgrid_events
        if "twilio_inbound" in targets.model_fields_set:
            self._twilio.inbound_url = targets.twilio_inbound
        return await self._targets(request)

    async def _list_faults(self, _request: Request) -> Any:
        rules: list[Rule] = [*self._faults.rules, *self._world.deliveries.faults]
        holding = self._faults.holding
        return {"faults": [rule.model_dump(mode="json") | {"holding": holding(rule.id)} for rule in rules]}

    async def _add_request_fault(self, request: Request) -> Any:
        rule = await _read(request, RequestFault)
        rule.id = f"fault_{uuid.uuid4().hex[:12]}"
        self._faults.add(rule)
        return rule.model_dump(mode="json")

    async def _add_webhook_fault(self, request: Request) -> Any:
        rule = await _read(request, WebhookFault)
        rule.id = f"fault_{uuid.uuid4().hex[:12]}"
        self._world.deliveries.faults.append(rule)
        return rule.model_dump(mode="json")

    async def _clear_faults(self, _request: Request) -> Any:
        self._faults.clear()
        self._world.deliveries.faults.clear()
        return {"cleared": True}

    async def _remove_fault(self, request: Request) -> Any:
        rule_id = request.path_params["id"]
        webhooks = self._world.deliveries.faults
        kept = [rule for rule in webhooks if rule.id != rule_id]
        if not self._faults.remove(rule_id) and len(kept) == len(webhooks):
            raise Refused(404, f"no fault {rule_id}: list them with GET /_control/faults", "id")
        webhooks[:] = kept
        return {"removed": rule_id}

    async def _holding(self, request: Request) -> Any:
        rule_id, query = request.path_params["id"], request.query_params
        count, timeout = int(query.get("count", "0")), float(query.get("timeout", "10"))
        try:
            return {"holding": await self._faults.wait_holding(rule_id, count, timeout)}
        except TimeoutError as error:
            held = self._faults.holding(rule_id)
            message = f"fault {rule_id} holds {held} of {count} requests after {timeout} s"
            raise Refused(408, message) from error

    async def _release(self, request: Request) -> Any:
        rule_id = request.path_params["id"]
        if not self._faults.release(rule_id):
            raise Refused(404, f"no fault {rule_id}: list them with GET /_control/faults", "id")
        return {"released": rule_id}

    async def _public_key(self, _request: Request) -> Any:
        return {"public_key": self._sendgrid.public_key}

    async def _mail_event(self, request: Request) -> Any:
        wish = await _read(request, MailEvent)
        return {"sg_event_id": self._sendgrid.tell(self._mail(wish), wish.event, wish.extra)}

    def _mail(self, wish: MailEvent) -> Message:
        if wish.message_id is None and not wish.custom_args:
            raise Refused(400, "name the mail by `message_id` or by `custom_args`", "message_id")
        for message in reversed(self._world.messages):
            if (
                message.channel == "email"
                and wish.message_id in (None, message.id)
                and wish.custom_args.items() <= message.custom_args.items()
            ):
                return message
        raise Refused(404, "no such mail was accepted: see GET /_control/messages", "message_id")

    async def _mail_fate(self, request: Request) -> Any:
        wish = await _read(request, MailFate)
        self._sendgrid.set_fate(wish.address, wish.fate)
        return {"address": wish.address, "fate": wish.fate}

    async def _account(self, request: Request) -> Any:
        account = await _read(request, Account)
        self._twilio.tokens[account.sid] = account.token
        self._twilio.account_sid = account.sid
        return {"sid": account.sid}

    async def _inbound(self, request: Request) -> Any:
        wish = await _read(request, Inbound)
        sid = self._twilio.receive(
            sender=wish.sender,
            to=wish.to,
            body=wish.body,
            opt_out_type=wish.opt_out_type,
            service_sid=wish.messaging_service_sid,
        )
        return {"sid": sid}

    async def _sms_status(self, request: Request) -> Any:
        wish = await _read(request, SmsStatus)
        message = self._twilio.find(wish.sid)
        if message is None:
            raise Refused(404, f"no message {wish.sid}: see GET /_control/messages", "sid")
        self._twilio.tell(message, wish.status, wish.error_code)
        return {"sid": wish.sid, "status": wish.status}

    async def _sms_fate(self, request: Request) -> Any:
        wish = await _read(request, SmsFate)
        self._twilio.fates[wish.to] = Fate(**wish.model_dump(exclude={"to"}))
        return wish.model_dump()

    async def _books(self, _request: Request) -> Any:
        return _stripe().stripe_books(self._world)

    async def _renew(self, request: Request) -> Any:
        wish = dict(await request.json())
        subscription = wish.pop("subscription_id", None)
        if not isinstance(subscription, str):
            raise Refused(400, "name the subscription to renew", "subscription_id")
        return await asyncio.to_thread(_stripe().renew, self._world, subscription, **wish)

    async def _card_update(self, request: Request) -> Any:
        wish = await _read(request, CardUpdate)
        update = _stripe().automatic_update
        return update(self._world, wish.payment_method, wish.exp_month, wish.exp_year)

    async def _drain(self, request: Request) -> Any:
        wish = await _read(request, Wait)
        try:
            await self._world.drain(wish.timeout)
        except TimeoutError as error:
            pending = self._world.deliveries.pending
            raise Refused(408, f"{pending} deliveries are not settled after {wish.timeout} s") from error
        lost = self._world.deliveries.find(state="undelivered")
        return {"undelivered": len(lost)}

    async def _reset(self, request: Request) -> Any:
        await self._clear_faults(request)
        self._sendgrid.reset()
        self._twilio.reset()
        self._world.reset()
        stripe = stripe_module()
        if stripe is not None:
            stripe.reset(self._world)
        return {"now": self._world.now().isoformat()}
