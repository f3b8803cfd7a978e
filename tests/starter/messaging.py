"""The app as SendGrid and Twilio call it: signed bodies, a ledger with one claimed message, nobody else."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twilio.request_validator import RequestValidator

from dunning.addresses import fingerprint
from dunning.values import Channel
from ledger import Ledger
from ledger.records import DispatchRecord
from sandbox.twilio import AUTH_TOKEN
from starter.settings import Settings
from tests.ledger.acts import claim_case, claim_message, closing

BASE = "https://billing.example.com/dunning"
SHARED_KEY = "shared-" + "k" * 30
PHONE = "+14155550123"
SID = "SM" + "0123456789abcdef" * 2
ADDRESS = {
    Channel.EMAIL: fingerprint("ada@example.com"),
    Channel.SMS: fingerprint(PHONE),
    Channel.WHATSAPP: fingerprint(PHONE),
}
PRIVATE_KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC_KEY = base64.b64encode(
    PRIVATE_KEY.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
).decode()


def settings(**changes: Any) -> Settings:
    """What the app needs to verify both."""
    known: dict[str, Any] = {
        "sendgrid_webhook_public_key": PUBLIC_KEY,
        "twilio_auth_token": AUTH_TOKEN,
        "twilio_webhook_shared_keys": SHARED_KEY,
        "public_base_url": BASE,
    }
    return Settings.model_validate(known | changes)


def signed(body: bytes, timestamp: str | None = None) -> dict[str, str]:
    """The headers with which SendGrid signs a body."""
    stamp = timestamp or str(int(time.time()))
    signature = PRIVATE_KEY.sign(stamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    return {
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": stamp,
    }


@dataclass
class Door:
    """The app's routes for messages, and the message that they are about."""

    http: httpx.AsyncClient
    ledger: Ledger
    claimed: dict[Channel, str] = field(default_factory=dict)

    async def claim(
        self, channel: Channel, fate: str | None = "accepted", *, step: str = "gentle", open: bool = False
    ) -> str:
        """A message of one case, handed to its provider. The case has ended, or would have to be told."""
        case = await claim_case(self.ledger)
        if not open:
            await self.ledger.cases.remember(case.case_id, 0, [], closing())
        dispatch = (await claim_message(self.ledger, step, channel, address=ADDRESS[channel])).dispatch_id
        self.claimed[channel] = dispatch
        if fate is not None:
            record = await self.message(channel)
            provider_id = SID if channel is not Channel.EMAIL else "mail-1"
            await self.ledger.dispatches.complete(
                dispatch, fate, at=record.claimed_at, provider_id=provider_id if fate == "accepted" else None
            )
        return dispatch

    async def message(self, channel: Channel) -> DispatchRecord:
        """The message as the ledger knows it."""
        found = await self.ledger.dispatches.by_id(self.claimed[channel])
        assert found is not None
        return found

    async def mail(self, *events: dict[str, Any], **more: Any) -> httpx.Response:
        """SendGrid posts events, about the claimed mail unless they name another one."""
        named = {"dispatch_id": self.claimed.get(Channel.EMAIL), "timestamp": 1_772_450_000}
        body = json.dumps([named | event for event in events]).encode() + b"\r\n"
        return await self.post_mail(body, **more)

    async def post_mail(self, body: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
        """A raw body to SendGrid's route."""
        given = signed(body) if headers is None else headers
        return await self.http.post("/webhooks/sendgrid", content=body, headers=given)

    async def status(self, status: str, query: str | None = None, **fields: str) -> httpx.Response:
        """Twilio calls back about the claimed text."""
        named = query if query is not None else f"?dispatch_id={self.claimed.get(Channel.SMS)}"
        form = {"MessageSid": SID, "MessageStatus": status, "AccountSid": "AC" + "0" * 32} | fields
        return await self.text(f"/webhooks/twilio/status{named}", form)

    async def reply(self, body: str, *, sender: str = PHONE, sid: str = SID, **fields: str) -> httpx.Response:
        """A customer writes back."""
        form = {"MessageSid": sid, "From": sender, "Body": body, "To": "+15005550006"} | fields
        return await self.text("/webhooks/twilio/inbound", form)

    async def text(self, path: str, form: dict[str, Any], **more: Any) -> httpx.Response:
        """A form that Twilio signed for the public address."""
        body = urlencode(form, doseq=True).encode()
        return await self.post_text(path, body, signature=self.sign(path, form, **more), **more)

    async def post_text(
        self, path: str, body: bytes, *, signature: str | None, algorithm: str | None = None
    ) -> httpx.Response:
        """A raw body to one of Twilio's routes."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        headers |= {"X-Twilio-Signature": signature} if signature is not None else {}
        if algorithm:
            headers["X-Twilio-Webhooks-Signature-Settings"] = f"key=k,algorithm={algorithm}"
        raw = {name: value.encode("latin-1") for name, value in headers.items()}
        return await self.http.post(path, content=body, headers=raw)

    async def consents(self) -> dict[str, str]:
        """What counts now, by channel."""
        return {str(k): str(v) for k, v in (await self.ledger.consents.state("", "cus_1")).items()}

    @staticmethod
    def sign(path: str, form: dict[str, Any], algorithm: str | None = None) -> str:
        """Twilio's signature of a form posted to a path below the public address."""
        fields = httpx.QueryParams(form)
        listed = {name: fields.get_list(name) for name in fields}
        validator = RequestValidator(SHARED_KEY if algorithm else AUTH_TOKEN)
        return str(validator.compute_signature(BASE + path, _Fields(listed), algorithm))


class _Fields(dict[str, list[str]]):
    def getlist(self, name: str) -> list[str]:
        return self[name]
