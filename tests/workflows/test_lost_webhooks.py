"""A month in which three webhooks in ten get lost: nothing is missed, nothing is done twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from activities.reconciling import REPLAYED
from dunning.reconciliation import IN_FLIGHT, Kind
from dunning.reports import REPORTS
from starter.webhooks.routing import FAILURES
from starter.webhooks.stripe import OWN_CALLS
from tests.fixtures.case import Case
from tests.fixtures.engine import Engine
from tests.fixtures.reconciling import PATIENCE, reconcile

LOST = 0.3
SEED = 20
MATTER = {"status", "pause_collection", "default_payment_method"}
_BANKS = ("insufficient_funds", "do_not_honor", "expired_card", "processing_error", "insufficient_funds")

Deed = Callable[[Case], Awaitable[None]]
DEEDS: dict[float, Deed] = {
    2.5: Case.customer_pays,
    6.5: Case.customer_replaces_card,
    9.5: Case.business_voids,
    12.5: Case.business_cancels,
    16.5: Case.customer_pays,
    25.5: Case.customer_pays,  # suspended by then
    60.0: Case.customer_pays,  # after the month
}


class Month:
    """The customers of a month, and what the sandbox's books say of it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.cases: list[Case] = []
        self.found: set[str] = set()

    async def begin(self, customers: int) -> None:
        signed_up = await asyncio.gather(*(self._signs_up(n) for n in range(customers)))
        fault = {"service": "stripe", "times": 0, "probability": LOST, "seed": SEED}
        await self.engine.control.webhook_fault("drop", **fault)
        for customer, subscription, email in signed_up:
            self.cases.append(await self.engine.renewal(customer, subscription, email))
        await self.engine.settle()

    async def _signs_up(self, number: int) -> tuple[str, str, str]:
        customer, email = await self.engine.customer()
        bank = _BANKS[number % len(_BANKS)]
        await self.engine.card(customer, "succeeded", bank, bank, "succeeded" if number % 4 == 0 else bank)
        return customer, await self.engine.subscription(customer), email

    def deed(self, case: Case) -> tuple[float, Deed]:
        return list(DEEDS.items())[self.cases.index(case) % len(DEEDS)]

    async def until(self, day: float) -> None:
        """Let days pass; who has something to do does it on the way."""
        begun = self.cases[0].begun
        now = (await self.engine.now() - begun).total_seconds() / 86400
        for moment in sorted({self.deed(case)[0] for case in self.cases}):
            if now < moment <= day:
                await self.cases[0].until(moment)
                for case in self.cases:
                    if self.deed(case)[0] == moment and await self._status(case) == "open":
                        await self.deed(case)[1](case)
        await self.cases[0].until(day)

    async def _status(self, case: Case) -> str | None:
        return (await self.engine.stripe.invoices.retrieve_async(case.invoice)).status

    async def reconcile(self) -> None:
        """What a reconciliation finds is what the books say was lost and matters: no more, no less."""
        await self.engine.control.advance(PATIENCE.total_seconds())
        expected = await self._lost_and_wanted()
        findings = await reconcile(self.engine)
        extra = [f.words for f in findings if f.subject not in expected]
        assert not extra
        assert {(f.kind, f.subject) for f in findings} == {(Kind.LOST_EVENT, event) for event in expected}
        assert all(finding.fixed_at for finding in findings)
        self.found |= expected

    async def _lost_and_wanted(self) -> set[str]:
        """The events of the books that no endpoint got and that some case has not seen yet."""
        books, now = await self.engine.control.stripe_books(), await self.engine.now()
        dropped = {d.event_id for d in await self.engine.control.deliveries(state="dropped")}
        wanted: set[str] = set()
        for event in books["events"]:
            made = datetime.fromtimestamp(event["created"], UTC)
            if event["id"] in dropped - self.found and made < now - IN_FLIGHT and _is_news(event):
                wanted |= {event["id"]} if await self._is_wanted(event, made) else set()
        return wanted

    async def _is_wanted(self, event: dict[str, Any], made: datetime) -> bool:
        about = event["data"]["object"]
        by = {"invoice": about["id"]} if event["type"].startswith("invoice.") else {}
        if event["type"].startswith("customer.subscription."):
            by = {"subscription": about["id"]}
        cases = (await self.engine.ledger.cases.find(**(by or {"customer": about["customer"]}))).cases
        if event["type"] in FAILURES:
            return not cases or cases[0].open
        return any(case.open and case.opened_at <= made for case in cases)


def _is_news(event: dict[str, Any]) -> bool:
    own = (event["request"]["idempotency_key"] or "").startswith(OWN_CALLS)
    about = event["data"]["object"]
    ours = (about.get("cancellation_details") or {}).get("comment") or ""
    changed = event["data"].get("previous_attributes") or {}
    matters = event["type"] != "customer.subscription.updated" or bool(changed.keys() & MATTER)
    first = about.get("billing_reason") == "subscription_create"
    wanted = event["type"] in set(REPLAYED) - set(REPORTS)
    return wanted and matters and not (own or first or ours.startswith(OWN_CALLS))


async def test_a_month_of_lost_webhooks(engine: Engine) -> None:
    month = Month(engine)
    await month.begin(customers=9)
    await month.reconcile()
    for day in (7.0, 18.0, 30.0):
        await month.until(day)
        await month.reconcile()
    await month.until(31.0)

    books = await engine.control.stripe_books()
    lost = {event["type"] for event in books["events"] if event["id"] in month.found}
    assert len(month.found) > 3  # it was a bad month
    assert "invoice.payment_failed" in lost
    assert books["doubly_charged"] == []
    status = {invoice["id"]: invoice["status"] for invoice in books["invoices"]}
    for case in month.cases:
        (record,) = (await engine.ledger.cases.find(invoice=case.invoice)).cases  # one, and never a second
        owed = status[case.invoice] == "open" and not case.canceled_by_business
        assert record.open == owed, record
        if status[case.invoice] == "paid":
            assert await case.pause_at_stripe() is None
            assert await engine.ledger.suspensions.active("", case.subscription) is None
