"""Deliveries that the sandbox would not make by itself: an event again, late, or one it cannot cause."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import httpx
import stripe

from tests.fixtures.engine import SECRET, Engine

_IDS = itertools.count(1)


async def deliver(engine: Engine, event: dict[str, Any]) -> httpx.Response:
    """Deliver an event to the engine, signed as Stripe does."""
    books = await engine.control.stripe_books("webhook_endpoints")
    (endpoint,) = books["webhook_endpoints"]
    body = json.dumps(event)
    signature = stripe.WebhookSignature.generate_signature_header(body, SECRET, int(time.time()))
    async with httpx.AsyncClient(timeout=20.0, trust_env=False) as http:
        answer = await http.post(endpoint["url"], content=body, headers={"Stripe-Signature": signature})
    return answer.raise_for_status()


async def report(engine: Engine, type: str, *, event_id: str = "", **object: Any) -> dict[str, Any]:
    """Stripe reports something that the sandbox cannot cause, such as a dispute; the engine's answer."""
    event = {
        "id": event_id or f"evt_report_{next(_IDS)}",
        "object": "event",
        "type": type,
        "created": int((await engine.now()).timestamp()),
        "request": {"id": None, "idempotency_key": None},
        "data": {"object": object},
    }
    told: dict[str, Any] = (await deliver(engine, event)).json()
    await engine.settle()
    return told


async def pay_on_page(engine: Engine, invoice: str) -> None:
    """The customer pays on Stripe's hosted invoice page; what follows is not waited for."""
    page = (await engine.stripe.invoices.retrieve_async(invoice)).hosted_invoice_url
    assert page is not None
    async with httpx.AsyncClient(timeout=20.0, trust_env=False) as http:
        (await http.post(page, data={"card": "4242424242424242"})).raise_for_status()
