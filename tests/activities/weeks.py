"""Runs cases for weeks through the real activities on the sandbox's clock, without Temporal between them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx

from activities.records import LedgerRecords
from dunning.case import BillingEvent, CaseState, Event
from dunning.decision import Action, Order, Question, Send
from dunning.step import applied
from dunning.values import Channel
from tests.activities.shop import Shop


@dataclass
class Running:
    """A case that runs: what the workflow would hold."""

    state: CaseState
    inbox: tuple[Event, ...] = ()
    seq: int = 0
    next_at: datetime | None = None


Act = Callable[[], Awaitable[Any]]


class Weeks:
    """Decide, do, take in; and people who act at their moments."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.cases: dict[str, Running] = {}
        self.acts: list[tuple[datetime, Act]] = []
        self._records = LedgerRecords(shop.ledger, shop.deps.policies)
        self._policy = shop.deps.policies.load("standard")

    async def open(self, invoice: str) -> None:
        """Open the case of an invoice, and let it do what is due."""
        self.cases[invoice] = Running(await self.shop.open(invoice))
        await self._settle(self.cases[invoice])

    async def tell(self, invoice: str) -> None:
        """A webhook wakes the case."""
        case = self.cases[invoice]
        now = await self.shop.control.now()
        case.inbox += (BillingEvent(type="invoice.updated", created=now, at=now),)
        await self._settle(case)

    async def until(self, moment: datetime) -> None:
        """Let time pass; everything is done at its own moment."""
        while True:
            due = [case.next_at for case in self.cases.values() if case.next_at is not None]
            nearest = min([*due, *(at for at, _ in self.acts), moment])
            now = await self.shop.control.set_clock(nearest)
            if nearest >= moment:
                return
            for case in self.cases.values():
                if case.next_at is not None and case.next_at <= now:
                    await self._settle(case)
            for act in [act for act in self.acts if act[0] <= now]:
                self.acts.remove(act)
                await act[1]()

    async def pay(self, invoice: str) -> None:
        """The customer pays on the hosted page."""
        page = (await self.shop.stripe.invoices.retrieve_async(invoice)).hosted_invoice_url
        assert page is not None
        async with httpx.AsyncClient(trust_env=False) as http:
            (await http.post(page, data={"card": "4242424242424242"})).raise_for_status()

    async def _settle(self, case: Running) -> None:
        for _ in range(60):
            now = await self.shop.control.now() + timedelta(seconds=1)
            question = Question(
                state=case.state, inbox=case.inbox, policy=self._policy, now=now, seq=case.seq
            )
            step = await self.shop.run(self._records.decide, question)
            case.state, case.inbox, case.seq = applied(case.state, step), (), case.seq + len(step.entries)
            action = step.decision.action
            if action is None:
                case.next_at = step.decision.until
                return
            order = Order(
                ref=case.state.ref,
                action=action,
                policy=self._policy.name,
                not_after=step.decision.not_after,
            )
            case.inbox = (await self.shop.run(self._activity(action), order),)
        raise AssertionError("the case does not come to rest")

    def _activity(self, action: Action) -> Callable[[Order], Awaitable[Event]]:
        if isinstance(action, Send):
            return self.shop.email.send_email if action.channel is Channel.EMAIL else self.shop.sms.send_sms
        found: Callable[[Order], Awaitable[Event]] = getattr(self.shop.billing, action.kind)
        return found
