"""A shop with a failed renewal: real SDKs, the sandbox over HTTP, a SQLite ledger, real activities."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import stripe

from activities import charging
from activities.context import SANDBOX_BUSINESS, Deps, PolicyBook, make_stripe
from activities.stripe_http import StripeHttp
from ledger import Ledger
from sandbox.control_client import ControlClient
from sandbox.deliveries import Backoff
from tests.activities.shop import Shop
from tests.fixtures.databases import Databases
from tests.fixtures.nearby import Nearby, sandbox_nearby


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def activities_sandbox() -> AsyncIterator[Nearby]:
    """A sandbox in the tests' event loop."""
    async with sandbox_nearby(Backoff(first=0.01, longest=0.02, tries=4)) as sandbox:
        yield sandbox


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


@pytest_asyncio.fixture
async def control(activities_sandbox: Nearby) -> AsyncIterator[ControlClient]:
    """The sandbox's control client; the sandbox is empty."""
    async with activities_sandbox.control() as client:
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
