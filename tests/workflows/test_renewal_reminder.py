"""A reminder before a renewal, on a real server: announced by Stripe, found by the scan, stopped."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.client import WorkflowHandle

from activities.interface import TASK_QUEUE
from tests.fixtures.engine import Engine
from tests.fixtures.worldtime import zone_where_it_is_morning
from tests.workflows.conftest import Record
from workflows.ids import card_scan_id, renewal_reminder_id

DAY = timedelta(days=1)


@dataclass
class Subscriber:
    """A subscriber who will be charged in twenty days, and reminded nineteen days before."""

    engine: Engine
    customer: str
    subscription: str
    email: str
    charge_at: datetime

    @property
    def handle(self) -> WorkflowHandle[Any, Any]:
        return self.engine.temporal.get_workflow_handle(self.workflow_id)

    @property
    def workflow_id(self) -> str:
        return renewal_reminder_id(self.subscription)

    async def subjects(self) -> list[str]:
        mails = await self.engine.control.messages(channel="email", to=self.email)
        return [mail.subject or "" for mail in mails]

    async def at(self, moment: datetime) -> None:
        await self.engine.time.advance(moment, [self.workflow_id])


async def subscriber(engine: Engine, account: str = "") -> Subscriber:
    engine.write_policy(
        "standard",
        ("remind: [yearly] ", "remind: [always] "),
        ("  before: 14d                 # a year", "  before: 19d                 # a year"),
    )
    there: Any = {"stripe_account": account} if account else {}
    email = "ada@customer.example"
    zone = zone_where_it_is_morning(datetime.now(UTC))
    profile: Any = {"email": email, "name": "Ada Example", "metadata": {"timezone": zone}}
    customer = (await engine.stripe.customers.create_async(profile, there)).id
    given: Any = {"token": "tok_visa", "exp_year": 2060, "exp_month": 12}
    method = await engine.stripe.payment_methods.create_async({"type": "card", "card": given}, there)
    await engine.stripe.payment_methods.attach_async(method.id, {"customer": customer}, there)
    price = await engine.stripe.prices.create_async(
        {"unit_amount": 12000, "currency": "eur", "recurring": {"interval": "day", "interval_count": 20},
         "product_data": {"name": "Cloud plan"}},
        there,
    )  # fmt: skip
    wanted: Any = {"customer": customer, "items": [{"price": price.id}], "default_payment_method": method.id}
    made = await engine.stripe.subscriptions.create_async(wanted, there)
    charge_at = datetime.fromtimestamp(made["items"]["data"][0]["current_period_end"], UTC)
    return Subscriber(engine, customer, made.id, email, charge_at)


async def test_stripe_announces_a_renewal_and_it_is_said_once(engine: Engine, record: Record) -> None:
    ada = await subscriber(engine)

    for _ in range(2):
        await engine.control.announce(ada.subscription)
        await engine.control.drain()
    await engine.time.settle([ada.workflow_id])
    assert await ada.subjects() == [], "nineteen days before is tomorrow"
    await ada.at(ada.charge_at - 18 * DAY)

    assert await ada.handle.result() == {"outcome": "reminded", "reason": "everything is said"}
    await record(ada, "reminded")
    (subject,) = await ada.subjects()
    assert "renews on" in subject
    await engine.control.announce(ada.subscription)
    await engine.control.drain()
    assert (await ada.handle.result())["reason"].startswith("this charge had its reminder already")
    assert len(await ada.subjects()) == 1


async def test_the_scan_visits_connected_accounts_on_their_own(engine: Engine) -> None:
    account = "acct_1032D82eZvKYlo2C"
    ada = await subscriber(engine, account)
    await engine.ledger.risks.told(  # so the engine knows the account
        account=account, customer="cus_1", kind="paused", key="evt_1", at=await engine.now(), by="stripe"
    )

    await engine.temporal.execute_workflow("ExpiringCardScan", id="scan", task_queue=TASK_QUEUE)

    scanned = await engine.temporal.get_workflow_handle(card_scan_id(account)).result()
    assert (scanned["looked_at"], scanned["reminders"]) == (1, 1)
    await engine.time.settle([ada.workflow_id])
    await ada.handle.cancel()
    (reminder,) = await engine.ledger.reminders.of_customer(account, ada.customer)
    assert reminder.subscription == ada.subscription


async def test_the_scan_finds_what_stripe_did_not_announce_and_an_operator_stops_it(
    engine: Engine, record: Record
) -> None:
    ada = await subscriber(engine)

    scanned = await engine.temporal.execute_workflow(
        "ExpiringCardScan", id="scan", task_queue=TASK_QUEUE, result_type=dict
    )
    assert (scanned["reminders"], scanned["started"]) == (1, 0)
    await engine.time.settle([ada.workflow_id])
    await ada.handle.cancel()

    assert await ada.handle.result() == {"outcome": "stopped", "reason": "canceled in Temporal"}
    await record(ada, "reminder_stopped")
    again = await engine.temporal.execute_workflow(
        "ExpiringCardScan", id="scan", task_queue=TASK_QUEUE, result_type=dict
    )
    assert "reminders" not in again, "what a person stopped is not begun again"
    assert await ada.subjects() == []
