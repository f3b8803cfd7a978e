"""A shop with a failed renewal: real SDKs, the sandbox over HTTP, a SQLite ledger, real activities."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path

import pytest
import pytest_asyncio
import stripe

from activities import charging
from activities.context import SANDBOX_BUSINESS, Deps, PolicyBook, make_stripe
from activities.stripe_http import StripeHttp
from ledger import Ledger
from sandbox.app import serving
from sandbox.control_client import ControlClient
from sandbox.deliveries import Backoff
from sandbox.world import World
from tests.activities.shop import Shop
from tests.fixtures.databases import Databases


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def activities_world() -> AsyncIterator[World]:
    """A sandbox in the tests' event loop."""
    world = World(backoff=Backoff(first=0.01, longest=0.02, tries=4))
    async with serving(world):
        yield world


@pytest.fixture(scope="session", autouse=True)
def _impatient_sdk() -> Iterator[None]:
    """The Stripe SDK and a charge that waits for its turn wait milliseconds instead of half seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(charging, "TURN_PAUSES", (0.05, 0.05, 0.1, 0.2))
        patch.setattr(stripe.HTTPClient, "INITIAL_DELAY", 0.005)
        patch.setattr(stripe.HTTPClient, "MAX_DELAY", 0.01)
        yield


@pytest_asyncio.fixture
async def ledger(sqlite_databases: Databases, tmp_path: Path) -> AsyncIterator[Ledger]:
    """An empty ledger of this test's own."""
    path = tmp_path / "ledger.db"
    shutil.move(sqlite_databases.ready().removeprefix("sqlite:///"), path)
    opened = await Ledger.open(f"sqlite:///{path}")
    yield opened
    await opened.close()


class _Control(ControlClient):
    """Looks at the sandbox's clock without a call: every activity begins with a look at it."""

    def __init__(self, world: World) -> None:
        super().__init__(world.public_url)
        self._world = world

    async def now(self) -> datetime:
        """The sandbox's time."""
        return self._world.now()


@pytest_asyncio.fixture
async def control(activities_world: World) -> AsyncIterator[ControlClient]:
    """The sandbox's control client; the sandbox is empty."""
    async with _Control(activities_world) as client:
        await client.reset()
        yield client
        await client.reset()


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """An empty folder of policies."""
    folder = tmp_path / "policies"
    folder.mkdir()
    return folder


@pytest_asyncio.fixture
async def shop(control: ControlClient, ledger: Ledger, policies: Path) -> AsyncIterator[Shop]:
    """A shop at Stripe's stand-in, with the engine's activities."""
    async with StripeHttp(5.0) as http:
        client = make_stripe("sk_test_shop", http, api_base=control.url)
        deps = Deps(stripe=client, ledger=ledger, policies=PolicyBook(policies), business=SANDBOX_BUSINESS)
        yield Shop(control, deps)
