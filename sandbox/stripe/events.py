"""Events and webhooks: every change makes an event; endpoints that asked for its type get it, signed."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from fnmatch import fnmatchcase

from pydantic_core import to_json

from sandbox.stripe.errors import parameter_invalid, parameter_missing
from sandbox.stripe.http import Call, Endpoint
from sandbox.stripe.store import API_VERSION, Account, Obj, Origin, new_id, plain_copy
from sandbox.stripe.wire import PAGE, created_within, page

_MAX_TYPES = 20
_ENDPOINT_FIELDS = "url enabled_events description metadata"


def emit(account: Account, kind: str, obj: Obj, origin: Origin, previous: Obj | None = None) -> None:
    """Record an event about `obj` and queue one signed webhook for every endpoint that asked for its type."""
    data: Obj = {"object": plain_copy(obj)}
    if previous is not None:
        data["previous_attributes"] = previous
    endpoints = _listeners(account, kind) if account.books.tells else []
    event: Obj = {
        "id": new_id("evt"),
        "object": "event",
        "api_version": API_VERSION,
        "created": account.now,
        "data": data,
        "livemode": False,
        "pending_webhooks": len(endpoints),
        "request": {"id": origin.request_id, "idempotency_key": origin.idempotency_key},
        "type": kind,
    }
    if account.connected:
        event["account"] = account.id
    account.add(event)
    if not endpoints:
        return
    body = to_json(event, indent=2)  # as Stripe writes it: who signs what he parsed is found out
    for owner, endpoint in endpoints:
        account.books.world.deliver(
            url=endpoint["url"], event_id=event["id"], body=body, sign=signer(owner.secrets[endpoint["id"]])
        )


def _listeners(account: Account, kind: str) -> list[tuple[Account, Obj]]:
    """Endpoints of the account itself, and `connect` endpoints of the platform for a connected account."""
    found = [(account, row) for row in account.rows("webhook_endpoint") if not row["connect"]]
    if account.connected:
        platform = account.books.platform
        found += [(platform, row) for row in platform.rows("webhook_endpoint") if row["connect"]]
    return [
        (owner, row)
        for owner, row in found
        if row["status"] == "enabled" and ("*" in row["enabled_events"] or kind in row["enabled_events"])
    ]


def signer(secret: str) -> Callable[[bytes], dict[str, str]]:
    """Makes `Stripe-Signature` headers: HMAC-SHA256 of `{t}.{body}` with the endpoint's whole secret.

    `t` is the wall clock, not the sandbox clock: receivers compare it with theirs (docs.stripe.com/webhooks).
    """

    def sign(body: bytes) -> dict[str, str]:
        moment = str(int(time.time()))
        signed = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
        return {
            "Stripe-Signature": f"t={moment},v1={signed}",
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        }

    return sign


def list_events(call: Call) -> Obj:
    """Events of the last 30 days, newest first, by type (with `*`), creation and delivery."""
    params, account = call.params, call.account
    patterns = params.texts("types") or [wanted for wanted in [params.text("type")] if wanted]
    if params.has("types") and params.has("type"):
        raise parameter_invalid("types", "You may pass either type or types, not both.")
    if len(patterns) > _MAX_TYPES:
        raise parameter_invalid("types", f"You may pass at most {_MAX_TYPES} types.")
    rows = [row for row in account.rows("event") if row["created"] > account.now - 30 * 86400]
    if patterns:
        rows = [row for row in rows if any(fnmatchcase(row["type"], pattern) for pattern in patterns)]
    if params.has("delivery_success"):
        wanted = params.boolean("delivery_success")
        rows = [row for row in rows if (row["id"] not in call.books.undelivered()) == wanted]
    return page(created_within(rows, params), params, call.path)


def create_endpoint(call: Call) -> Obj:
    """A new webhook endpoint. `secret` is the sandbox's own parameter: a known secret, not a random one."""
    params = call.params
    events = params.texts("enabled_events")
    if not events:
        raise parameter_missing("enabled_events")
    endpoint: Obj = {
        "id": new_id("we"),
        "object": "webhook_endpoint",
        "api_version": params.text("api_version") or API_VERSION,
        "application": None,
        "connect": params.boolean("connect"),
        "created": call.now,
        "description": params.text("description"),
        "enabled_events": events,
        "livemode": False,
        "metadata": params.metadata(),
        "status": "enabled",
        "url": params.required("url"),
    }
    secret = params.text("secret") or new_id("whsec", 32)
    call.account.secrets[endpoint["id"]] = secret
    call.account.add(endpoint)
    return {**endpoint, "secret": secret}


def update_endpoint(call: Call) -> Obj:
    """Change where and what an endpoint receives, or switch it off with `disabled`."""
    endpoint, params = call.target("webhook_endpoint"), call.params
    endpoint["url"] = params.text("url") or endpoint["url"]
    endpoint["enabled_events"] = params.texts("enabled_events") or endpoint["enabled_events"]
    if params.has("description"):
        endpoint["description"] = params.text("description")
    if params.has("disabled"):
        endpoint["status"] = "disabled" if params.boolean("disabled") else "enabled"
    endpoint["metadata"] = params.metadata(endpoint["metadata"])
    return endpoint


def delete_endpoint(call: Call) -> Obj:
    """No more deliveries to this endpoint."""
    endpoint = call.target("webhook_endpoint")
    call.account.remove(endpoint)
    return {"id": endpoint["id"], "object": "webhook_endpoint", "deleted": True}


ENDPOINTS = [
    Endpoint("GET", "/v1/events", list_events, f"{PAGE} type types created delivery_success"),
    Endpoint("GET", "/v1/events/{id}", lambda call: call.target("event")),
    Endpoint(
        "POST", "/v1/webhook_endpoints", create_endpoint, f"{_ENDPOINT_FIELDS} connect api_version secret"
    ),
    Endpoint("GET", "/v1/webhook_endpoints", lambda call: call.rows("webhook_endpoint"), PAGE),
    Endpoint("GET", "/v1/webhook_endpoints/{id}", lambda call: call.target("webhook_endpoint")),
    Endpoint("POST", "/v1/webhook_endpoints/{id}", update_endpoint, f"{_ENDPOINT_FIELDS} disabled"),
    Endpoint("DELETE", "/v1/webhook_endpoints/{id}", delete_endpoint),
]
