"""`dunning dev --json`: the whole stack, for whoever wants to try things."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import psutil
import pytest
import pytest_asyncio
import stripe

from dunning.values import Stage
from starter.client import DunningClient
from starter.demo import extend_command
from starter.demo.cast import CAST
from starter.demo.conductor import Story
from starter.demo.doings import Member
from starter.errors import CaseNotFound, EngineUnavailable
from starter.settings import Settings
from starter.stack import SANDBOX_PORT, STRIPE_KEY
from tests.e2e.commands import descendants, run
from tests.fixtures.stack import DevStack
from tests.fixtures.temporal import eventually

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("stack")]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def client(dev: DevStack) -> AsyncIterator[DunningClient]:
    settings = Settings(_env_file=None, temporal_variables={"TEMPORAL_ADDRESS": dev.where.temporal})
    yield await DunningClient.connect(settings)


def fail_an_invoice(sandbox: str) -> tuple[str, str]:
    """What a user's own script does with Stripe's SDK; returns customer and invoice."""
    api = stripe.StripeClient(STRIPE_KEY, base_addresses={"api": sandbox}).v1
    customer = api.customers.create({"email": "script@example.com"})
    card = api.payment_methods.create(
        {"type": "card", "card": {"token": "tok_visa"}, "metadata": {"outcomes": "insufficient_funds"}}
    )
    api.payment_methods.attach(card.id, {"customer": customer.id})
    api.customers.update(customer.id, {"invoice_settings": {"default_payment_method": card.id}})
    invoice = api.invoices.create({"customer": customer.id, "collection_method": "charge_automatically"})
    assert invoice.id is not None
    api.invoice_items.create(
        {"customer": customer.id, "invoice": invoice.id, "amount": 4_200, "currency": "usd"}
    )
    api.invoices.finalize_invoice(invoice.id)
    with pytest.raises(stripe.CardError):
        api.invoices.pay(invoice.id)
    return customer.id, invoice.id


async def wait_for_case(client: DunningClient, invoice: str) -> None:
    async def there() -> bool:
        try:
            return (await client.status(invoice)).next_at is not None
        except (CaseNotFound, EngineUnavailable):
            return False

    await eventually(there, f"the case of {invoice} appears")


def test_a_busy_port_is_replaced_by_a_free_one_and_said(dev: DevStack) -> None:
    where = dev.where
    assert "is busy" in dev.notice
    assert not where.sandbox.endswith(f":{SANDBOX_PORT}")
    assert where.task_queue == "dunning"
    assert where.webhook_secret.startswith("whsec_")


async def test_a_script_fails_an_invoice_and_its_case_appears(
    dev: DevStack, client: DunningClient
) -> None:
    _, invoice = fail_an_invoice(dev.where.sandbox)

    await wait_for_case(client, invoice)

    status = await client.status(invoice)
    assert (status.stage, status.amount_remaining, status.currency) == (Stage.RECOVERING, 4_200, "usd")


async def test_the_command_that_the_demo_prints_grants_more_time(
    dev: DevStack, client: DunningClient
) -> None:
    customer, invoice = fail_an_invoice(dev.where.sandbox)
    await wait_for_case(client, invoice)
    before = await client.status(invoice)

    printed = extend_command(Story(Member(CAST[-1], customer, "", invoice), datetime.now(UTC)), dev.where)
    pasted = await asyncio.to_thread(run, printed)

    assert pasted.returncode == 0, pasted.stderr
    after = await client.status(invoice)
    assert after.grace_ends_at - before.grace_ends_at == timedelta(days=7)


def test_sigterm_ends_every_process_it_started(dev: DevStack) -> None:
    """The last test of this file: the others need the stack."""
    family = descendants(dev.command.pid)
    assert len(family) >= 4  # Temporal, the sandbox, the app, the worker

    dev.command.send_signal(signal.SIGTERM)
    status = dev.command.wait(timeout=40)

    assert status == 0
    assert psutil.wait_procs(family, timeout=10)[1] == []
