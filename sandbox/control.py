"""The control API under `/_control`: what arrived, what shall go wrong, and what time it is. All JSON."""

from __future__ import annotations

import re
import uuid
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import AwareDatetime, Field
from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from sandbox import stripe
from sandbox.control_calls import CallBody, Handler, Refused, guarded, read_body
from sandbox.control_stripe import stripe_calls
from sandbox.faults import Faults
from sandbox.rules import RequestFault, Rule, WebhookFault
from sandbox.sendgrid import SendGrid
from sandbox.twilio import E164, OWN_NUMBER, Fate, Twilio
from sandbox.world import Message, World


class Clock(CallBody):
    """Set the clock `to` a moment, or ahead by `advance` seconds."""

    to: AwareDatetime | None = None
    advance: float | None = Field(default=None, ge=0)


class Targets(CallBody):
    """Where webhooks go; null switches one off, and a target left out stays as it is."""

    sendgrid_events: str | None = None
    twilio_inbound: str | None = None


class Inbound(CallBody):
    """A message from a customer's phone."""

    sender: str = Field(alias="from", pattern=f"^{E164.pattern}$")
    to: str = OWN_NUMBER
    body: str = ""
    opt_out_type: Literal["STOP", "START", "HELP"] | None = None
    messaging_service_sid: str | None = None


class SmsStatus(CallBody):
    """A status for a message that was accepted."""

    sid: str
    status: Literal["queued", "sending", "sent", "delivered", "undelivered", "failed", "read"]
    error_code: int | None = None


class SmsFate(CallBody):
    """What becomes of messages to one number."""

    to: str
    refuse: int | None = None
    status: Literal["sent", "delivered", "undelivered", "failed"] = "delivered"
    error_code: int | None = None
    silent: bool = False


class Account(CallBody):
    """A Twilio account that the sandbox knows."""

    sid: str = Field(pattern=r"^AC[0-9a-f]{32}$")
    token: str = Field(min_length=1)


MailEventName = Literal[
    "processed",
    "deferred",
    "delivered",
    "bounce",
    "blocked",
    "async_bounce",
    "dropped",
    "open",
    "click",
    "spamreport",
    "unsubscribe",
    "group_unsubscribe",
    "group_resubscribe",
]


class MailEvent(CallBody):
    """An event for an accepted mail, found by message id or by a custom argument."""

    event: MailEventName
    message_id: str | None = None
    custom_args: dict[str, str] = Field(default_factory=dict)
    extra: dict[str, Any] = Field(default_factory=dict)


class MailFate(CallBody):
    """What becomes of mails to one address; an empty list means: processed and delivered."""

    address: str
    fate: list[str]


class Wait(CallBody):
    """How long to wait, in real seconds."""

    timeout: float = Field(default=30.0, gt=0)


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
            *stripe_calls(self._world),
            ("POST", "drain", self._drain),
            ("POST", "reset", self._reset),
        ]
        return [
            Route(f"/_control/{path}", guarded(handler), methods=[method]) for method, path, handler in table
        ]

    async def _clock(self, _request: Request) -> Any:
        return {"now": self._world.now().isoformat()}

    async def _set_clock(self, request: Request) -> Any:
        wish = await read_body(request, Clock)
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
        targets = await read_body(request, Targets)
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
        rule = await read_body(request, RequestFault)
        rule.id = f"fault_{uuid.uuid4().hex[:12]}"
        self._faults.add(rule)
        return rule.model_dump(mode="json")

    async def _add_webhook_fault(self, request: Request) -> Any:
        rule = await read_body(request, WebhookFault)
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
        wish = await read_body(request, MailEvent)
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
        wish = await read_body(request, MailFate)
        self._sendgrid.set_fate(wish.address, wish.fate)
        return {"address": wish.address, "fate": wish.fate}

    async def _account(self, request: Request) -> Any:
        account = await read_body(request, Account)
        self._twilio.tokens[account.sid] = account.token
        self._twilio.account_sid = account.sid
        return {"sid": account.sid}

    async def _inbound(self, request: Request) -> Any:
        wish = await read_body(request, Inbound)
        sid = self._twilio.receive(
            sender=wish.sender,
            to=wish.to,
            body=wish.body,
            opt_out_type=wish.opt_out_type,
            service_sid=wish.messaging_service_sid,
        )
        return {"sid": sid}

    async def _sms_status(self, request: Request) -> Any:
        wish = await read_body(request, SmsStatus)
        message = self._twilio.find(wish.sid)
        if message is None:
            raise Refused(404, f"no message {wish.sid}: see GET /_control/messages", "sid")
        self._twilio.tell(message, wish.status, wish.error_code)
        return {"sid": wish.sid, "status": wish.status}

    async def _sms_fate(self, request: Request) -> Any:
        wish = await read_body(request, SmsFate)
        self._twilio.fates[wish.to] = Fate(**wish.model_dump(exclude={"to"}))
        return wish.model_dump()

    async def _drain(self, request: Request) -> Any:
        wish = await read_body(request, Wait)
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
        stripe.reset(self._world)
        return {"now": self._world.now().isoformat()}
