"""The app as a process: uvicorn over an open ledger and a connection to Temporal that may come later."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import uvicorn
from fastapi import FastAPI
from temporalio.client import Client

from ledger import Ledger
from starter import temporal
from starter.app import create_app
from starter.errors import EngineUnavailable
from starter.settings import Settings

log = structlog.get_logger(__name__)
GRACE_SECONDS = 10  # for requests that run when the process is told to stop


async def serve(settings: Settings, host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM; requests that run are finished.

    Temporal may be away at the start: `/readyz` says so, and Stripe is told to deliver again.
    Raises LedgerError when the ledger's schema is not current, OSError when the port is taken.
    """
    with listen(host, port) as listener:
        ledger = await Ledger.open(settings.database_url)
        try:
            app = create_app(settings, await _client(settings), ledger)
            log.info("serving", host=host, port=listener.getsockname()[1])
            await _Server(_config(app)).serve([listener])
        finally:
            await ledger.close()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket whose connections answer at once. Raises OSError when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=512)
    # Connections inherit it. Without it each answer on a kept connection takes 40 ms: the body waits until
    # the other side acknowledges the headers, which it puts off.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


class _Server(uvicorn.Server):
    """Uvicorn that stops on a signal and leaves the rest of the process to end in peace."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, self.handle_exit, name, None)
        yield


def _config(app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        # A proxy's headers must stay visible: without API keys a forwarded request is not a local one.
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


async def _client(settings: Settings) -> Client:
    runtime = temporal.runtime(settings.model_copy(update={"dunning_metrics_address": None}))
    try:
        return await temporal.connect(settings, runtime)
    except EngineUnavailable as error:
        log.warning("starting without Temporal", message=error.message)
        return await temporal.connect(settings, runtime, lazy=True)
