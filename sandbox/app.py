"""The sandbox as one ASGI application on one port, and the ways to run it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware

from sandbox.control import Control
from sandbox.faults import ClosableProtocol, Faults, Gate
from sandbox.sendgrid import SendGrid
from sandbox.stripe import routes as stripe_routes
from sandbox.twilio import ACCOUNT_SID, AUTH_TOKEN, Twilio
from sandbox.world import World


def create_app(
    world: World,
    *,
    sendgrid_events_url: str | None = None,
    twilio_inbound_url: str | None = None,
    twilio_account_sid: str = ACCOUNT_SID,
    twilio_auth_token: str = AUTH_TOKEN,
) -> Starlette:
    """The stand-ins of Stripe (`/v1`), SendGrid (`/v3`), Twilio (`/2010-04-01`) and `/_control`."""
    faults = Faults()
    sendgrid = SendGrid(world, sendgrid_events_url)
    twilio = Twilio(world, twilio_account_sid, twilio_auth_token, twilio_inbound_url)
    stripe = stripe_routes(world, lambda: world.public_url)
    control = Control(world, faults, sendgrid, twilio)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await world.start()
        try:
            yield
        finally:
            await world.close()

    return Starlette(
        routes=[*control.routes(), *sendgrid.routes(), *twilio.routes(), *stripe],
        middleware=[Middleware(Gate, world=world, faults=faults)],
        lifespan=lifespan,
    )


class _Server(uvicorn.Server):
    """A server that leaves the process's signals alone and tells when it listens."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[], None], signals: bool) -> None:
        super().__init__(config)
        self._listening, self._signals = listening, signals

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Only a process of its own is ended by a signal."""
        if not self._signals:
            yield
            return
        with super().capture_signals():
            yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        self._listening()


def _bind(host: str, port: int) -> socket.socket:
    # asyncio turns Nagle's algorithm off only where the protocol is named: else each answer takes 40 ms.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"the sandbox cannot listen on {host}:{port}: {error.strerror}") from error
    return listener


def _prepare(
    world: World,
    app: Starlette,
    host: str,
    port: int,
    *,
    listening: Callable[[], None],
    signals: bool = False,
) -> tuple[_Server, socket.socket]:
    listener = _bind(host, port)
    shown = f"[{host}]" if ":" in host else host
    world.public_url = f"http://{shown}:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        app,
        http=ClosableProtocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=1,
        timeout_keep_alive=60,
    )
    return _Server(config, listening, signals), listener


@asynccontextmanager
async def serving(
    world: World, app: Starlette | None = None, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[str]:
    """Serve in the running event loop; gives the URL. Port 0 is any free one; a busy port raises OSError."""
    ready = asyncio.Event()
    server, listener = _prepare(world, app or create_app(world), host, port, listening=ready.set)
    running = asyncio.create_task(server.serve([listener]))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    try:
        if running.done():
            await running
            raise RuntimeError("the sandbox stopped before it listened")
        yield world.public_url
    finally:
        server.should_exit = True
        await running


@contextmanager
def serving_in_thread(
    world: World | None = None, *, host: str = "127.0.0.1", port: int = 0, **settings: str | None
) -> Iterator[World]:
    """Serve in a thread with an event loop of its own, for blocking clients; gives the world, with its URL.

    `settings` are those of `create_app`.
    """
    world = world or World()
    app = create_app(world, **settings)  # type: ignore[arg-type]
    ready = threading.Event()
    server, listener = _prepare(world, app, host, port, listening=ready.set)
    failure: list[BaseException] = []

    def work() -> None:
        try:
            asyncio.run(server.serve([listener]))
        except BaseException as error:  # handed to the thread that waits
            failure.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=work, name="sandbox", daemon=True)
    thread.start()
    ready.wait()
    if failure:
        raise RuntimeError("the sandbox did not start") from failure[0]
    try:
        yield world
    finally:
        server.should_exit = True
        thread.join()


def announce(world: World) -> None:
    """Print the one JSON line that says where the sandbox is."""
    where = {"sandbox": world.public_url, "control": f"{world.public_url}/_control"}
    sys.stdout.write(json.dumps(where) + "\n")
    sys.stdout.flush()


def run(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    sendgrid_events_url: str | None = None,
    twilio_inbound_url: str | None = None,
    twilio_account_sid: str = ACCOUNT_SID,
    twilio_auth_token: str = AUTH_TOKEN,
    ready: Callable[[World], None] = announce,
) -> None:
    """Serve until SIGINT or SIGTERM; `ready` is called once it listens. A busy port raises OSError."""
    world = World()
    app = create_app(
        world,
        sendgrid_events_url=sendgrid_events_url,
        twilio_inbound_url=twilio_inbound_url,
        twilio_account_sid=twilio_account_sid,
        twilio_auth_token=twilio_auth_token,
    )
    server, listener = _prepare(world, app, host, port, listening=lambda: ready(world), signals=True)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(server.serve([listener]))
