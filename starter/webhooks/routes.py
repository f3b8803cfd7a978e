"""The routes of the providers' webhooks: verified on the raw body, answered fast, refused with one sentence.

A refusal is a 4xx; 503 means that the ledger or Temporal is away, and that the provider shall deliver again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from starlette.responses import JSONResponse
from temporalio.client import Client
from twilio.request_validator import HMAC_SHA1, HMAC_SHA256

from ledger import Ledger
from starter.errors import EngineUnavailable
from starter.metrics import Metrics
from starter.refusals import error_response
from starter.settings import Settings
from starter.webhooks import sendgrid, stripe, twilio
from starter.webhooks.feedback import Feedback
from starter.webhooks.receiver import Receiver
from starter.webhooks.refusals import BadSignature, Malformed, NotConfigured
from starter.webhooks.replies import Replies
from starter.webhooks.routing import CONCERNS

log = structlog.get_logger(__name__)

Handler = Callable[[Request], Awaitable[Response]]
#: TwiML for: say nothing. Twilio itself has confirmed a STOP already.
_NO_ANSWER = '<?xml version="1.0" encoding="UTF-8"?><Response/>'
#: What SendGrid signed longer ago was kept back somewhere: its own redelivery ends after a day.
_OLD = timedelta(days=1)


def add_webhooks(app: FastAPI, settings: Settings, client: Client, ledger: Ledger, metrics: Metrics) -> None:
    """Add the routes. Plain ones: bodies are read raw, and there is nothing for FastAPI to resolve."""
    timeout = timedelta(seconds=settings.dunning_rpc_timeout_seconds)
    receiver = Receiver(client, ledger, timeout)
    feedback = Feedback(ledger, receiver, timeout)
    folder = settings.dunning_policies
    replies = Replies(ledger, receiver, 2 * timeout.total_seconds(), folder / "templates" if folder else None)
    routes: dict[str, tuple[str, Handler]] = {
        "/webhooks/stripe": ("stripe", _stripe(settings, receiver, metrics)),
        "/webhooks/sendgrid": ("sendgrid", _sendgrid(settings, feedback, metrics)),
        twilio.STATUS_PATH: ("twilio", _twilio_status(settings, feedback, metrics)),
        twilio.INBOUND_PATH: ("twilio", _twilio_inbound(settings, replies, metrics)),
    }
    for path, (provider, handle) in routes.items():
        app.add_route(path, _guarded(provider, handle, metrics), methods=["POST"])


def _guarded(provider: str, handle: Handler, metrics: Metrics) -> Handler:
    """The route, with the answers to everything that can be wrong."""

    def failed(status: int, code: str, message: str, **why: str) -> JSONResponse:
        metrics.webhook_failures.labels(provider, code).inc()
        log.warning("webhook not handled", provider=provider, code=code, message=message, **why)
        return error_response(status, code, message)

    async def route(request: Request) -> Response:
        with metrics.webhook_seconds.labels(provider).time():
            try:
                return await handle(request)
            except NotConfigured as error:
                return failed(error.http_status, "not_configured", str(error))
            except BadSignature as error:
                return failed(400, "bad_signature", str(error))
            except Malformed as error:
                return failed(400, "malformed", str(error))
            except EngineUnavailable as error:
                # What was said may name people; its kind alone tells a fault of ours from an outage.
                return failed(503, error.code, error.message, cause=type(error.__cause__).__name__)

    return route


def _stripe(settings: Settings, receiver: Receiver, metrics: Metrics) -> Handler:
    secrets = settings.webhook_secrets

    async def handle(request: Request) -> Response:
        body = await request.body()
        if not secrets:
            raise NotConfigured("STRIPE_WEBHOOK_SECRET is not set", http_status=503)
        stripe.verify(body, request.headers.get("stripe-signature"), secrets, time.time())
        event = stripe.translate(body)
        receipt = await receiver.receive(event)
        kind = event.type if event.type in CONCERNS else "other"
        metrics.webhooks.labels("stripe", kind, receipt.result).inc()
        answer: dict[str, Any] = {"received": True, "result": receipt.result, "cases": receipt.cases}
        return JSONResponse(answer | ({"why": receipt.why} if receipt.why else {}))

    return handle


def _sendgrid(settings: Settings, feedback: Feedback, metrics: Metrics) -> Handler:
    configured = settings.sendgrid_webhook_public_key

    async def handle(request: Request) -> Response:
        if not configured:
            raise NotConfigured("SENDGRID_WEBHOOK_PUBLIC_KEY is not set: copy the verification key")
        try:
            key = sendgrid.load_key(configured)
        except ValueError as error:
            raise NotConfigured(str(error)) from error
        body = await request.body()
        age = sendgrid.verify(body, request.headers, key, time.time())
        if age is not None and abs(age) > _OLD.total_seconds():
            log.warning("SendGrid's webhook was signed long ago", seconds=round(age))
        results: Counter[str] = Counter()
        for event in sendgrid.translate(body):
            result = await feedback.hear(event.dispatch_id, event.news)
            metrics.webhooks.labels("sendgrid", event.news.event, result).inc()
            results[result] += 1
        return JSONResponse({"received": True, "results": results})

    return handle


def _twilio_status(settings: Settings, feedback: Feedback, metrics: Metrics) -> Handler:
    async def handle(request: Request) -> Response:
        form = await _twilio_form(request, settings)
        event = twilio.status(form, request.query_params, datetime.now(UTC))
        result = await feedback.hear(event.dispatch_id, event.news)
        metrics.webhooks.labels("twilio", event.news.event, result).inc()
        return Response(status_code=204)

    return handle


def _twilio_inbound(settings: Settings, replies: Replies, metrics: Metrics) -> Handler:
    async def handle(request: Request) -> Response:
        kind = await replies.take_in(twilio.inbound(await _twilio_form(request, settings)))
        metrics.webhooks.labels("twilio", "inbound", kind).inc()
        return Response(_NO_ANSWER, media_type="text/xml")

    return handle


async def _twilio_form(request: Request, settings: Settings) -> twilio.Form:
    """The verified form. The URL is the configured one: a proxy may hide which one Twilio called."""
    url, token = settings.public_url(request.url.path), settings.twilio_auth_token
    if url is None or token is None:
        raise NotConfigured("PUBLIC_BASE_URL and TWILIO_AUTH_TOKEN are needed to verify Twilio's webhooks")
    body = await request.body()
    if request.url.query:
        url = f"{url}?{request.url.query}"
    form = twilio.read_form(body)
    shared = [key.get_secret_value() for key in settings.twilio_webhook_shared_keys]
    secrets = {HMAC_SHA1: [token.get_secret_value()], HMAC_SHA256: shared}
    twilio.verify(url, form, request.headers, secrets)
    return form
