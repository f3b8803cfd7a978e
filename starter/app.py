"""The ASGI app: the providers' webhooks, the HTTP API, the customer's page, health and metrics."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from temporalio.client import Client

from dunning.values import reason_of
from ledger import Ledger, LedgerError
from starter import api, temporal
from starter.access import Gate
from starter.client import DunningClient
from starter.errors import DunningError, RateLimited, Unauthorized
from starter.limits import BodyLimit
from starter.metrics import Metrics
from starter.page.routes import is_configured, page_router
from starter.refusals import error_response
from starter.services import Services
from starter.settings import Settings
from starter.unsubscribe import add_unsubscribe
from starter.webhooks.routes import add_webhooks

log = structlog.get_logger(__name__)

MOST_BYTES = 1_000_000


def create_app(settings: Settings, client: Client, ledger: Ledger) -> FastAPI:
    """The app over a connection to Temporal and an open ledger. Who made those closes them."""
    app = FastAPI(title="Dunning engine", docs_url=None, redoc_url=None, openapi_url="/api/v1/openapi.json")
    app.add_middleware(BodyLimit, most=MOST_BYTES)
    metrics = Metrics()
    _add_errors(app)
    add_webhooks(app, settings, client, ledger, metrics)
    add_unsubscribe(app, settings, ledger)
    _add_health(app, settings, client, ledger, metrics)
    dunning = DunningClient.over(client, settings)
    app.state.gate = Gate(settings)
    app.state.services = Services(settings, dunning, ledger)
    app.router.routes.extend(api.router.routes)  # to include the router would build each route anew
    if is_configured(settings):
        app.include_router(page_router(settings, dunning, ledger))
    if not settings.dunning_api_keys:
        log.warning("no DUNNING_API_KEYS are configured: the API answers this machine only")
    return app


def _add_health(app: FastAPI, settings: Settings, client: Client, ledger: Ledger, metrics: Metrics) -> None:
    timeout = timedelta(seconds=settings.dunning_rpc_timeout_seconds)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "up"}

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        checks = {
            "temporal": await _temporal_trouble(settings, client, timeout),
            "ledger": await _ledger_trouble(ledger, timeout),
            "webhooks": "" if settings.webhook_secrets else "STRIPE_WEBHOOK_SECRET is not set",
        }
        ready = not any(checks.values())
        shown = {name: trouble or "ok" for name, trouble in checks.items()}
        return JSONResponse({"ready": ready, "checks": shown}, status_code=200 if ready else 503)

    @app.get("/metrics")
    async def exposed() -> Response:
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                counts = await ledger.counts()
        except (SQLAlchemyError, LedgerError, OSError, TimeoutError) as error:
            log.warning("metrics without the ledger", error=str(error))
            counts = None
        return Response(metrics.expose(counts), media_type=CONTENT_TYPE_LATEST)


async def _temporal_trouble(settings: Settings, client: Client, timeout: timedelta) -> str:
    if await temporal.is_serving(client, timeout):
        return ""
    return f"Temporal does not answer at {temporal.address(settings)}"


async def _ledger_trouble(ledger: Ledger, timeout: timedelta) -> str:
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            current = await ledger.is_current()
    except (SQLAlchemyError, LedgerError, OSError, TimeoutError) as error:
        log.warning("the ledger does not answer", error=str(error))
        return "the ledger does not answer"
    return "" if current else "the schema is not current: run `dunning db upgrade`"


# --- errors ---------------------------------------------------------------------------------------------


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(DunningError)
    async def ours(_request: Request, error: DunningError) -> JSONResponse:
        retry_after = error.retry_after if isinstance(error, RateLimited) else None
        answer = error_response(error.http_status, error.code, error.message, error.param, retry_after)
        if isinstance(error, Unauthorized):
            answer.headers["WWW-Authenticate"] = error.challenge
        return answer

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        path = [str(part) for part in first["loc"] if part not in ("body", "query", "path", "header")]
        param = ".".join(path) or None
        why = reason_of(first)
        text = f"{param}: {why}" if param else why
        return error_response(422, "invalid_input", text, param)

    @app.exception_handler(HTTPException)
    async def http(_request: Request, error: HTTPException) -> JSONResponse:
        codes = {404: "not_found", 405: "method_not_allowed"}
        return error_response(error.status_code, codes.get(error.status_code, "error"), str(error.detail))

    @app.exception_handler(SQLAlchemyError)
    @app.exception_handler(LedgerError)
    async def no_ledger(_request: Request, error: Exception) -> JSONResponse:
        log.warning("the ledger does not answer", error=str(error))
        return error_response(503, "engine_unavailable", "the ledger does not answer: try again later")

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> JSONResponse:
        log.error("unforeseen error", path=request.url.path, exc_info=error)
        return error_response(500, "internal_error", "something went wrong here; the log says what")
