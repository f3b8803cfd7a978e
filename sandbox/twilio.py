"""Twilio's stand-in: the Messages resource, signed status callbacks, and inbound messages.

What becomes of a message follows from the recipient's number (Twilio's magic numbers; `+150055` and a
five-digit error code) or from what the control API set for it. Rules: Twilio's docs, "Messages resource" and
"Error and warning dictionary".
"""

from __future__ import annotations

import base64
import hmac
import json
import re
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.twilio_wire import absolute, error, is_json_object, resource, rfc2822, segments, signature
from sandbox.world import Message, World

ACCOUNT_SID = "AC" + "5a4db0c0" * 4
AUTH_TOKEN = "sandbox" + "0" * 25
OWN_NUMBER = "+15005550006"
SENDER = re.compile(r"(whatsapp:)?\+[1-9]\d{7,14}|\d{5,6}|(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11}")
E164 = re.compile(r"(whatsapp:)?\+[1-9]\d{7,14}")
FAILING = re.compile(r"(?:whatsapp:)?\+150055([36]\d{4})")
STOP_WORDS = {"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"}
START_WORDS = {"START", "YES", "UNSTOP"}
WHATSAPP_WINDOW = timedelta(hours=24)
REFUSED_TO = {
    "+15005550001": 21211,
    "+15005550002": 21612,
    "+15005550003": 21408,
    "+15005550004": 21610,
    "+15005550009": 21614,
}
REFUSED_FROM = {"+15005550001": 21212, "+15005550007": 21606, "+15005550008": 21611}


@dataclass
class Fate:
    """What becomes of messages to one number.

    `refuse` is an error code answered to the API call; otherwise the message is accepted and ends in `status`
    with `error_code`, or nothing more is heard of it when `silent`.
    """

    refuse: int | None = None
    status: str = "delivered"
    error_code: int | None = None
    silent: bool = False


class Twilio:
    """Messages accepted, numbers opted out, and the callbacks that tell about them."""

    def __init__(
        self,
        world: World,
        account_sid: str = ACCOUNT_SID,
        auth_token: str = AUTH_TOKEN,
        inbound_url: str | None = None,
    ) -> None:
        self._world = world
        self._configured = (account_sid, auth_token, inbound_url)
        self.account_sid = account_sid
        self.tokens = {account_sid: auth_token}
        self.inbound_url = inbound_url
        self.fates: dict[str, Fate] = {}
        self.opted_out: set[str] = set()
        self._heard_from: dict[str, datetime] = {}

    def routes(self) -> list[Route]:
        """The API's routes."""
        base = "/2010-04-01/Accounts/{account}/Messages"
        return [
            Route(base + ".json", self._create, methods=["POST"]),
            Route(base + ".json", self._list, methods=["GET"]),
            Route(base + "/{sid}.json", self._fetch, methods=["GET"]),
        ]

    def reset(self) -> None:
        """Forget opt-outs, conversations and fates of numbers; account and target are those of the start."""
        self.account_sid, token, self.inbound_url = self._configured
        self.tokens = {self.account_sid: token}
        self.fates.clear()
        self.opted_out.clear()
        self._heard_from.clear()

    def tell(self, message: Message, status: str, error_code: int | None = None) -> None:
        """Give a message its next status, and call back when it asked for that."""
        now = rfc2822(self._world.now())
        message.status = status
        message.details |= {
            "error_code": error_code,
            "error_message": None,
            "date_updated": now,
            "date_sent": message.details["date_sent"] or (now if status == "sent" else None),
        }
        if message.sender.startswith("MG") and status != "accepted":
            message.details["from"] = OWN_NUMBER
        url = message.details["status_callback"]
        if url:
            self._post(url, self._callback(message), f"{message.id}:{status}")

    def receive(
        self, *, sender: str, to: str, body: str, opt_out_type: str | None, service_sid: str | None
    ) -> str:
        """A message from a customer: opt-outs count at once, then the inbound webhook is posted; its sid."""
        word = opt_out_type or body.strip().upper()
        if word in STOP_WORDS:
            self.opted_out.add(sender)
        elif word in START_WORDS:
            self.opted_out.discard(sender)
        self._heard_from[sender] = self._world.now()
        sid = "SM" + uuid.uuid4().hex
        fields = {
            "ToCountry": "US",
            "SmsMessageSid": sid,
            "NumMedia": "0",
            "SmsSid": sid,
            "SmsStatus": "received",
            "Body": body,
            "To": to,
            "NumSegments": "1",
            "MessageSid": sid,
            "AccountSid": self.account_sid,
            "From": sender,
            "ApiVersion": "2010-04-01",
        }
        if service_sid:
            fields["MessagingServiceSid"] = service_sid
        if opt_out_type:
            fields["OptOutType"] = opt_out_type
        if self.inbound_url:
            self._post(self.inbound_url, fields, f"{sid}:received")
        return sid

    async def _create(self, request: Request) -> Response:
        account = request.path_params["account"]
        if not self._authorised(request, account):
            return error(401, 20003)
        body = await request.body()
        params = dict(parse_qsl(body.decode(), keep_blank_values=True))
        refusal = self._refusal(params)
        if refusal is not None:
            return error(400, *refusal)
        message = self._accept(account, params)
        answer = JSONResponse(resource(message), 201)
        self._progress(message)
        return answer

    async def _fetch(self, request: Request) -> Response:
        account, sid = request.path_params["account"], request.path_params["sid"]
        if not self._authorised(request, account):
            return error(401, 20003)
        message = self.find(sid)
        if message is None:
            return error(404, 20404, request.url.path)
        return JSONResponse(resource(message))

    async def _list(self, request: Request) -> Response:
        account = request.path_params["account"]
        if not self._authorised(request, account):
            return error(401, 20003)
        to = request.query_params.get("To")
        found = [m for m in reversed(self._world.messages) if m.channel != "email" and to in (None, m.to)]
        return JSONResponse(
            {
                "messages": [resource(message) for message in found],
                "page": 0,
                "page_size": max(50, len(found)),
                "start": 0,
                "end": max(0, len(found) - 1),
                "uri": request.url.path,
                "first_page_uri": request.url.path,
                "next_page_uri": None,
                "previous_page_uri": None,
            }
        )

    def find(self, sid: str) -> Message | None:
        """The message with that sid."""
        return next((m for m in self._world.messages if m.id == sid and m.channel != "email"), None)

    def _authorised(self, request: Request, account: str) -> bool:
        """Basic auth of the account. An account not seen before keeps the token it comes with.

        Inbound messages then go to that account.
        """
        scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
        try:
            user, _, token = base64.b64decode(encoded).decode().partition(":")
        except ValueError:
            return False
        if scheme.lower() != "basic" or user != account or not token or not account.startswith("AC"):
            return False
        if account not in self.tokens:
            self.tokens[account] = token
            self.account_sid = account
        return hmac.compare_digest(self.tokens[account], token)

    def _refusal(self, params: dict[str, str]) -> tuple[int, str] | None:
        to, sender = params.get("To", ""), params.get("From", "")
        service = params.get("MessagingServiceSid", "")
        body, content = params.get("Body", ""), params.get("ContentSid", "")
        fate = self.fates.get(to)
        callback = params.get("StatusCallback", "")
        validity = params.get("ValidityPeriod", "36000")
        checks: list[tuple[bool, int, str]] = [
            (not to, 21604, ""),
            (not sender and not service, 21603, ""),
            (not body and not content and "MediaUrl" not in params, 21602, ""),
            (len(body) > 1600, 21617, ""),
            (bool(service) and not re.fullmatch(r"MG[0-9a-f]{32}", service), 21705, service),
            (bool(content) and not re.fullmatch(r"HX[0-9a-f]{32}", content), 21655, content),
            (not is_json_object(params.get("ContentVariables", "{}")), 21656, ""),
            (not validity.isdigit() or not 1 <= int(validity) <= 36_000, 21624, validity),
            (bool(callback) and not absolute(callback), 21609, callback),
            (bool(params.get("SendAt") or params.get("ScheduleType")), 20001, ""),
            (not E164.fullmatch(to), 21211, to),
            (bool(sender) and not SENDER.fullmatch(sender), 21212, sender),
            (sender in REFUSED_FROM, REFUSED_FROM.get(sender, 0), sender),
            (to in REFUSED_TO, REFUSED_TO.get(to, 0), to),
            (fate is not None and fate.refuse is not None, (fate.refuse if fate else None) or 0, to),
            (to in self.opted_out, 21610, ""),
        ]
        return next(((code, value) for wrong, code, value in checks if wrong), None)

    def _accept(self, account: str, params: dict[str, str]) -> Message:
        pooled = bool(params.get("MessagingServiceSid")) and not params.get("From")
        now = self._world.now()
        message = Message(
            channel="whatsapp" if params["To"].startswith("whatsapp:") else "sms",
            id=("MM" if "MediaUrl" in params else "SM") + uuid.uuid4().hex,
            at=now,
            to=params["To"],
            sender=params.get("From") or params["MessagingServiceSid"],
            status="accepted" if pooled else "queued",
            body=params.get("Body"),
            details={
                "account_sid": account,
                "messaging_service_sid": params.get("MessagingServiceSid") or None,
                "from": None if pooled else params["From"],
                "content_sid": params.get("ContentSid"),
                "content_variables": json.loads(params.get("ContentVariables") or "{}"),
                "validity_period": int(params.get("ValidityPeriod", "36000")),
                "status_callback": params.get("StatusCallback") or None,
                "date_sent": None,
                "date_updated": rfc2822(now),
                "error_code": None,
                "error_message": None,
                "num_segments": "0" if pooled else str(segments(params.get("Body", ""))),
            },
        )
        self._world.messages.append(message)
        return message

    def _progress(self, message: Message) -> None:
        fate = self._fate(message)
        if fate.silent:
            return
        if message.status == "accepted":
            self.tell(message, "queued")
            message.details["num_segments"] = str(segments(message.body or ""))
        if fate.status != "failed":
            self.tell(message, "sent")
        if fate.status != "sent":
            self.tell(message, fate.status, fate.error_code)

    def _fate(self, message: Message) -> Fate:
        fate = self.fates.get(message.to)
        if fate is not None:
            return fate
        failing = FAILING.fullmatch(message.to)
        if failing:
            return Fate(status="undelivered", error_code=int(failing.group(1)))
        if message.channel == "whatsapp" and not message.details["content_sid"]:
            heard = self._heard_from.get(message.to)
            if heard is None or message.at - heard > WHATSAPP_WINDOW:
                return Fate(status="undelivered", error_code=63016)
        return Fate()

    def _callback(self, message: Message) -> dict[str, str]:
        fields = {
            "SmsSid": message.id,
            "SmsStatus": message.status,
            "MessageStatus": message.status,
            "To": message.to,
            "MessageSid": message.id,
            "AccountSid": message.details["account_sid"],
            "From": message.details["from"] or "",
            "ApiVersion": "2010-04-01",
        }
        if message.details["messaging_service_sid"]:
            fields["MessagingServiceSid"] = message.details["messaging_service_sid"]
        if message.details["error_code"]:
            fields["ErrorCode"] = str(message.details["error_code"])
        if message.status in ("delivered", "undelivered"):
            fields["RawDlrDoneDate"] = f"{self._world.now():%y%m%d%H%M}"
        return fields

    def _post(self, url: str, fields: dict[str, str], event_id: str) -> None:
        token = self.tokens[fields["AccountSid"]]
        once = str(uuid.uuid4())

        def sign(_body: bytes) -> dict[str, str]:
            return {
                "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
                "User-Agent": "TwilioProxy/1.1",
                "X-Twilio-Signature": signature(token, url, fields),
                "I-Twilio-Idempotency-Token": once,
            }

        self._world.deliver(
            url=url, event_id=event_id, body=urlencode(fields).encode(), sign=sign, service="twilio"
        )
