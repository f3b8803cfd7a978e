"""SendGrid's stand-in: `POST /v3/mail/send` and the signed Event Webhook.

What becomes of a mail follows from the tags of the address's local part (`bounce@…`, `anna+spamreport@…`) or
from what the control API set for the address. Rules: SendGrid v3 API reference, "Mail Send", "Event Webhook".
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.sendgrid_mail import Mail, problems, recipients
from sandbox.world import Message, World

MAX_BYTES = 30 * 1024 * 1024
LATE = timedelta(hours=6)
FATES: dict[str, tuple[str, ...]] = {
    "bounce": ("processed", "bounce"),
    "blocked": ("processed", "blocked"),
    "dropped": ("dropped",),
    "deferred": ("processed", "deferred", "delivered"),
    "spamreport": ("processed", "delivered", "spamreport"),
    "unsubscribe": ("processed", "delivered", "unsubscribe"),
    "group_unsubscribe": ("processed", "delivered", "group_unsubscribe"),
    "open": ("processed", "delivered", "open"),
    "async_bounce": ("processed", "delivered", "async_bounce"),
    "silent": (),
}
MANNERS = {"late", "duplicate"}
"""`late`: after six hours of the sandbox clock. `duplicate`: each event twice, with another `sg_event_id`."""
TELLING: dict[str, dict[str, Any]] = {
    "delivered": {"response": "250 2.0.0 OK sandbox"},
    "deferred": {"response": "451 4.7.1 Try again later", "attempt": "1"},
    "open": {"useragent": "Mozilla/5.0", "ip": "203.0.113.7", "sg_machine_open": True},
    "dropped": {"reason": "Bounced Address", "status": "5.0.0"},
    "bounce": {
        "type": "bounce",
        "status": "5.1.1",
        "reason": "550 5.1.1 The email account that you tried to reach does not exist",
        "bounce_classification": "Invalid Address",
    },
    "blocked": {
        "type": "blocked",
        "status": "5.7.1",
        "reason": "550 5.7.1 The message was blocked by the receiving server",
        "bounce_classification": "Content",
    },
}
SUPPRESSED = {
    "bounce": "Bounced Address",
    "async_bounce": "Bounced Address",
    "spamreport": "Spam Reporting Address",
    "unsubscribe": "Unsubscribed Address",
}


class SendGrid:
    """Mails accepted, addresses suppressed, and the events that tell about them."""

    def __init__(self, world: World, events_url: str | None = None) -> None:
        self._world = world
        self._configured_url = events_url
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.events_url = events_url
        self.fates: dict[str, list[str]] = {}
        self.suppressed: dict[str, str] = {}

    @property
    def public_key(self) -> str:
        """The verification key as SendGrid shows it: base64 SPKI without PEM lines."""
        spki = self._key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return base64.b64encode(spki).decode()

    def routes(self) -> list[Route]:
        """The API's routes."""
        return [Route("/v3/mail/send", self._send, methods=["POST"])]

    def reset(self) -> None:
        """Forget suppressions and the fates set for addresses; events go where they went at first."""
        self.events_url = self._configured_url
        self.fates.clear()
        self.suppressed.clear()

    def set_fate(self, address: str, fate: list[str]) -> None:
        """Choose what becomes of mails to an address. Raises ValueError on an unknown word."""
        known = [*FATES, *sorted(MANNERS)]
        unknown = [word for word in fate if word not in known]
        if unknown:
            raise ValueError(f"unknown fate {unknown[0]!r} of {address}: choose from {', '.join(known)}")
        self.fates[address.lower()] = fate

    def tell(self, message: Message, event: str, extra: dict[str, Any] | None = None) -> str:
        """Post one event about an accepted mail now; returns its `sg_event_id`."""
        told = self._event(message, event, self._world.now()) | (extra or {})
        self._post([told])
        return str(told["sg_event_id"])

    async def _send(self, request: Request) -> Response:
        refusal = _unauthorised(request.headers.get("authorization", ""))
        if refusal is not None:
            return refusal
        body = await request.body()
        if len(body) > MAX_BYTES:
            return _errors(413, [(None, "The JSON payload you have included in your request is too large.")])
        if "json" not in request.headers.get("content-type", ""):
            return _errors(415, [("Content-Type", "Content-Type should be application/json.")])
        try:
            payload = json.loads(body)
        except ValueError:
            return _errors(400, [(None, "Bad Request")])
        found = problems(payload, self._world.now())
        if found:
            return _errors(400, found)
        if payload.get("mail_settings", {}).get("sandbox_mode", {}).get("enable"):
            return Response(status_code=200)
        message_id = secrets.token_urlsafe(16)
        for number, mail in enumerate(recipients(payload)):
            self._accept(mail, message_id, number)
        return Response(status_code=202, headers={"X-Message-Id": message_id})

    def _accept(self, mail: Mail, message_id: str, number: int) -> None:
        message = Message(
            channel="email",
            id=message_id,
            at=self._world.now(),
            to=mail.to,
            sender=mail.sender,
            status="accepted",
            subject=mail.subject,
            body=mail.text,
            html=mail.html,
            custom_args=mail.custom_args,
            headers=mail.headers,
            details={
                **mail.details,
                "sg_message_id": f"{message_id}.recvd-sandbox-{number}.0",
                "smtp-id": f"<{message_id}@sandbox.invalid>",
            },
        )
        self._world.messages.append(message)
        held = timedelta(seconds=max(0.0, mail.send_at - message.at.timestamp()))
        events, after = self._fate(message.to)
        due = message.at + after + held
        if due > message.at:
            self._world.at(due, lambda at: self._become(message, events, at))
        else:
            self._become(message, events, due)

    def _fate(self, address: str) -> tuple[list[str], timedelta]:
        if address.lower() in self.suppressed:
            return ["dropped"], timedelta()
        words = self.fates.get(address.lower())
        if words is None:
            words = address.lower().split("@")[0].replace("-", "_").split("+")
        events = next((FATES[word] for word in words if word in FATES), ("processed", "delivered"))
        after = LATE if "late" in words else timedelta()
        copies = 2 if "duplicate" in words else 1
        return [event for event in events for _ in range(copies)], after

    def _become(self, message: Message, events: list[str], at: datetime) -> None:
        if events:
            self._post([self._event(message, event, at) for event in events])

    def _post(self, batch: list[dict[str, Any]]) -> None:
        """Events go out in batches: here, what becomes of one mail at one moment."""
        if self.events_url:
            body = json.dumps(batch).encode() + b"\r\n"
            first = str(batch[0]["sg_event_id"])
            self._world.deliver(
                url=self.events_url, event_id=first, body=body, sign=self._sign, service="sendgrid"
            )

    def _event(self, message: Message, event: str, at: datetime) -> dict[str, Any]:
        """What became of a mail, which it then is, told as SendGrid tells it."""
        suppressed = self.suppressed.get(message.to.lower())
        if event in SUPPRESSED:
            self.suppressed[message.to.lower()] = SUPPRESSED[event]
        message.status = "bounce" if event == "async_bounce" else event
        name = {"blocked": "bounce", "async_bounce": "bounce"}.get(event, event)
        told: dict[str, Any] = {
            "email": message.to,
            "timestamp": int(at.timestamp()),
            "smtp-id": message.details["smtp-id"],
            "event": name,
            "sg_event_id": secrets.token_urlsafe(16),
            "sg_message_id": message.details["sg_message_id"],
            **TELLING.get("bounce" if event == "async_bounce" else event, {}),
            **({"reason": suppressed} if event == "dropped" and suppressed else {}),
            **message.custom_args,
        }
        if message.details.get("categories"):
            told["category"] = message.details["categories"]
        if event == "group_unsubscribe":
            told["asm_group_id"] = (message.details.get("asm") or {}).get("group_id", 1)
        if event == "async_bounce":
            del told["sg_message_id"], told["smtp-id"]
        return told

    def _sign(self, body: bytes) -> dict[str, str]:
        """ECDSA over timestamp and raw body; the timestamp is the wall clock's, as receivers compare it."""
        timestamp = str(int(time.time()))
        signature = self._key.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
        return {
            "User-Agent": "SendGrid Event API",
            "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
            "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
        }


def _unauthorised(authorization: str) -> Response | None:
    scheme, _, key = authorization.partition(" ")
    if not authorization:
        return _errors(401, [(None, "Permission denied, wrong credentials")])
    if scheme.lower() != "bearer" or not key.startswith("SG.") or len(key) < 5:
        return _errors(401, [(None, "The provided authorization grant is invalid, expired, or revoked")])
    return None


def _errors(status: int, found: list[tuple[str | None, str]]) -> JSONResponse:
    page = "http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html"
    errors = [
        {"message": text, "field": field, "help": f"{page}#message.{field}" if field else None}
        for field, text in found
    ]
    return JSONResponse({"errors": errors}, status)
