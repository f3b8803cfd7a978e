"""The look at a Stripe account: what is sampled, what is said, and that it holds nothing up."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
import stripe

from activities.context import SANDBOX_BUSINESS, Deps, PolicyBook, make_stripe
from activities.stripe_http import StripeHttp
from dunning.account import Finding
from ledger import Ledger
from sandbox.app import serving_in_thread
from sandbox.control_client import ControlClient
from sandbox.world import World
from starter.account_check import check_account, look_once, looking_beside
from starter.cli import main
from starter.settings import Settings
from starter.webhooks.routing import CONCERNS
from tests.activities.shop import Renewal, Shop
from tests.fixtures.databases import Databases

IN_SOME_DAYS = timedelta(days=3)


@dataclass
class Account:
    """An account at the sandbox, looked at by an engine with an empty ledger."""

    shop: Shop
    ledger: Ledger
    settings: Settings
    policies: Path

    @property
    def client(self) -> stripe.StripeClient:
        return self.shop.deps.stripe

    async def failed(self, count: int = 2, *, retried: bool = False) -> list[Renewal]:
        """Failed renewals; `retried`: Stripe will try them again by itself."""
        made = [await self.shop.renewal("insufficient_funds") for _ in range(count)]
        soon = (await self.shop.control.now()) + IN_SOME_DAYS
        for renewal in made if retried else ():
            await self.shop.control.schedule_retries(renewal.invoice, [soon])
        return made

    async def listen(self, *without: str) -> None:
        """Register the engine's webhook endpoint, without some of the events it needs."""
        events = [name for name in CONCERNS if name not in without]
        await self.shop.control.webhook_fault("drop", service="stripe", times=0)  # nobody is there
        await self.client.v1.webhook_endpoints.create_async(
            {"url": "https://billing.example.com/webhooks/stripe", "enabled_events": events}  # type: ignore[typeddict-item]
        )

    async def findings(self, days_later: float = 0) -> dict[str, Finding]:
        """What is found, by code."""
        now = await self.shop.control.now() + timedelta(days=days_later)
        found = await check_account(self.client, self.ledger, self.policies, now)
        return {finding.code: finding for finding in found}

    def policy(self, owner: str, name: str = "standard") -> None:
        """The business's policy of that name."""
        text = (Path(__file__).parents[2] / "dunning/policies/standard.yaml").read_text(encoding="utf-8")
        text = text.replace("owner: engine ", f"owner: {owner} ").replace("name: standard", f"name: {name}")
        (self.policies / f"{name}.yaml").write_text(text, encoding="utf-8")


@pytest_asyncio.fixture(loop_scope="session")
async def account(sqlite_databases: Databases, tmp_path: Path) -> AsyncIterator[Account]:
    """An empty account whose webhooks nobody receives."""
    async with AsyncExitStack() as stack:
        world = World()
        stack.enter_context(serving_in_thread(world))
        control = await stack.enter_async_context(ControlClient(world.public_url))
        url = sqlite_databases.ready()
        ledger = await Ledger.open(url)
        stack.push_async_callback(ledger.close)
        key = f"sk_test_{uuid.uuid4().hex}"
        policies = tmp_path / "policies"
        policies.mkdir()
        http = await stack.enter_async_context(StripeHttp(5.0))
        deps = Deps(
            stripe=make_stripe(key, http, api_base=control.url),
            ledger=ledger,
            policies=PolicyBook(policies),
            business=SANDBOX_BUSINESS,
        )
        settings = Settings.model_validate(
            {
                "database_url": url,
                "stripe_api_key": key,
                "stripe_api_base": control.url,
                "dunning_policies": policies,
            }
        )
        yield Account(Shop(control, deps), ledger, settings, policies)


async def test_an_account_that_fits_says_nothing(account: Account) -> None:
    await account.listen()
    await account.failed()
    assert await account.findings() == {}


async def test_retries_of_stripes_own_beside_an_engine_that_charges(account: Account) -> None:
    await account.listen()
    made = await account.failed(retried=True)
    found = await account.findings()
    assert set(found) == {"stripe_retries"}
    assert set(found["stripe_retries"].examples) == {renewal.invoice for renewal in made}
    assert "Stripe itself will charge 2 failed invoices" in found["stripe_retries"].text


@pytest.mark.parametrize("owner", ["stripe", "shared"])
async def test_retries_of_stripes_own_are_right_where_the_policy_leaves_them_to_it(
    account: Account, owner: str
) -> None:
    account.policy(owner)
    await account.listen()
    await account.failed(retried=True)
    assert await account.findings() == {}


async def test_an_invoice_of_a_case_that_stripe_goes_on_with(account: Account) -> None:
    await account.listen()
    (renewal,) = await account.failed(1, retried=True)
    await account.shop.open(renewal.invoice)
    assert await account.findings() == {}  # the case has only begun
    assert set(await account.findings(days_later=1)) == {"stripe_retries_our_case"}


async def test_attempts_that_nobody_asked_for_on_invoices_of_our_cases(account: Account) -> None:
    await account.listen()
    for renewal in await account.failed():
        state = await account.shop.open(renewal.invoice)
        moment = (await account.shop.control.now()) + timedelta(seconds=2)
        await account.shop.control.schedule_retries(renewal.invoice, [moment])
        await account.shop.control.advance(60)
        await account.shop.read(state.ref)  # the engine sees the charge that it did not make
    found = await account.findings()
    assert set(found) == {"charged_beside_us"}
    assert "2 failed charges" in found["charged_beside_us"].text


async def test_nobody_retries_where_the_policy_leaves_it_to_stripe(account: Account) -> None:
    account.policy("stripe")
    await account.listen()
    for renewal in await account.failed():
        await account.shop.open(renewal.invoice)
    assert set(await account.findings()) == {"nobody_retries"}


@pytest.mark.parametrize(
    ("action", "code"),
    [("cancel", "stripe_cancels"), ("pause", "stripe_pauses"), ("unpaid", "stripe_marks_unpaid")],
)
async def test_what_stripe_does_by_itself_when_its_retries_end(
    account: Account, action: str, code: str
) -> None:
    await account.listen()
    (renewal,) = await account.failed(1)
    await account.shop.control.exhaust_retries(renewal.subscription, action)  # type: ignore[arg-type]
    found = await account.findings()
    assert set(found) == {code}
    assert found[code].examples == (renewal.subscription,)


async def test_a_cancellation_by_a_person_is_no_contradiction(account: Account) -> None:
    await account.listen()
    (renewal,) = await account.failed(1)
    await account.client.v1.subscriptions.cancel_async(renewal.subscription)
    await account.client.v1.invoices.mark_uncollectible_async(renewal.invoice)
    assert await account.findings() == {}


async def test_events_that_the_endpoint_does_not_get(account: Account) -> None:
    assert set(await account.findings()) == {"no_endpoint"}
    await account.listen("refund.created", "customer.updated")
    found = await account.findings()
    assert "customer.updated, refund.created" in found["events_missing"].text


async def test_a_right_that_the_key_lacks_is_named_and_the_rest_is_looked_at(account: Account) -> None:
    await account.failed(retried=True)
    await account.shop.control.fault(
        "status", service="stripe", path="/v1/webhook_endpoints", status=403, times=0
    )
    found = await account.findings()
    assert set(found) == {"stripe_retries", "not_read"}
    assert "webhook endpoints were not looked at" in found["not_read"].text


# --- at the start ----------------------------------------------------------------------------------------


async def test_trouble_with_the_look_is_one_line(account: Account) -> None:
    for status in (401, 500):
        fault = await account.shop.control.fault("status", service="stripe", status=status, times=0)
        told: list[Finding] = []
        await look_once(account.settings, told.append)
        assert [finding.code for finding in told] == ["not_checked"]
        assert "\n" not in told[0].text
        await account.shop.control.remove_fault(fault)


async def test_a_look_that_hangs_holds_nothing_up(account: Account) -> None:
    pause = await account.shop.control.fault("pause", service="stripe", path="/v1/invoices$", times=0)
    look = asyncio.create_task(look_once(account.settings, lambda finding: None))
    await account.shop.control.held(pause)
    look.cancel()
    await asyncio.gather(look, return_exceptions=True)
    await account.shop.control.release(pause)
    assert look.cancelled()


async def test_a_stand_in_for_stripe_is_not_looked_at(account: Account) -> None:
    told: list[Finding] = []
    async with looking_beside(account.settings, told.append):
        await account.shop.control.now()
    assert told == []
    assert await account.shop.control.requests(service="stripe") == []


# --- the command -----------------------------------------------------------------------------------------


async def test_the_command_says_what_to_change_and_ends_with_one(
    account: Account, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert account.settings.stripe_api_key is not None
    monkeypatch.setenv("STRIPE_API_KEY", account.settings.stripe_api_key.get_secret_value())
    monkeypatch.setenv("STRIPE_API_BASE", str(account.settings.stripe_api_base))
    monkeypatch.setenv("DATABASE_URL", account.settings.database_url)
    assert await asyncio.to_thread(main, ["check"]) == 1
    said = capsys.readouterr()
    assert "warning: no webhook endpoint is enabled" in said.out
    assert "look yourself: Billing › Revenue recovery › Emails" in said.out
    assert said.err.startswith("dunning: 1 setting of the Stripe account contradicts the policies")
    await account.listen()
    assert await asyncio.to_thread(main, ["check", "--json"]) == 0
    assert '"findings": []' in capsys.readouterr().out


async def test_the_command_without_a_key_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STRIPE_API_KEY", raising=False)
    assert await asyncio.to_thread(main, ["check"]) == 1
    assert "STRIPE_API_KEY is missing" in capsys.readouterr().err
