"""A running sandbox, its control client, and a receiver for the webhooks it sends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.routing import Route
from webhook_receiver import Receiver

from sandbox.app import serving, serving_in_thread
from sandbox.control_client import ControlClient
from sandbox.deliveries import Backoff
from sandbox.world import World


@pytest.fixture(scope="session")
def sandbox_world() -> Iterator[World]:
    """A sandbox served from a thread, so that blocking SDKs can talk to it."""
    with serving_in_thread(World(backoff=Backoff(first=0.01, longest=0.02, tries=4))) as world:
        yield world


@pytest_asyncio.fixture(scope="session")
async def control_client(sandbox_world: World) -> AsyncIterator[ControlClient]:
    """The control client of the running sandbox."""
    async with ControlClient(sandbox_world.public_url) as client:
        yield client


@pytest_asyncio.fixture
async def sandbox(control_client: ControlClient) -> AsyncIterator[ControlClient]:
    """The control client of a running, empty sandbox; its URL is `sandbox.url`."""
    await control_client.reset()
    yield control_client
    await control_client.reset()


@pytest_asyncio.fixture(scope="session")
async def receiver_server() -> AsyncIterator[Receiver]:
    """A webhook endpoint on a free port."""
    endpoint = Receiver()
    app = Starlette(routes=[Route("/{path:path}", endpoint.take, methods=["POST"])])
    async with serving(World(), app) as url:
        endpoint.url = url
        yield endpoint


@pytest.fixture
def receiver(receiver_server: Receiver) -> Iterator[Receiver]:
    """A webhook endpoint that has got nothing yet."""
    receiver_server.forget()
    yield receiver_server
    receiver_server.forget()
