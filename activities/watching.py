"""Early warning: reads a customer's past in the ledger, and remembers the risk that it shows."""

from __future__ import annotations

import logging
from datetime import datetime

from temporalio import activity

from activities.context import Deps, business_time
from activities.interface import RiskActivities
from dunning.announcements import risk_raised
from dunning.risk import Assessment, Level, Reviewed, ReviewOrder, assess, rises
from dunning.segments import STANDARD
from ledger.outgoing import Outgoing

log = logging.getLogger("dunning.risk")


class RiskWatch(RiskActivities):
    """Assesses customers by the rules of the standard policy: before a case there is no other."""

    def __init__(self, deps: Deps) -> None:
        self._risks = deps.ledger.risks
        self._policies = deps.policies
        self._endpoints = deps.endpoints
        self._news = deps.news

    async def look(self, account: str, customer: str, at: datetime) -> tuple[Assessment, bool]:
        """A customer's risk now, remembered, and whether the level rose: then the business is told."""
        policy = self._policies.load(STANDARD)
        found = assess(await self._risks.history(account, customer), policy.risk, at)

        def outgoing(before: Level | None) -> list[Outgoing]:
            return self._endpoints.addressed(risk_raised(account, customer, before, found, policy, at))

        before = await self._risks.assessed(account, customer, found, at=at, outgoing=outgoing)
        rose = rises(before, found.level)
        if rose:
            self._news.set()
            flags = ", ".join(flag.name for flag in found.flags)
            fields = {"customer": customer, "account": account, "level": found.level, "flags": flags}
            log.info("risk rose", extra=fields)
        return found, rose

    @activity.defn(name="review_risks")
    async def review_risks(self, order: ReviewOrder) -> Reviewed:
        """Assess the next customers. Repeating it does no harm."""
        at = business_time()
        batch = await self._risks.customers(order.after, order.most)
        raised = 0
        for account, customer in batch:
            activity.heartbeat()
            _, rose = await self.look(account, customer, at)
            raised += rose
        after = batch[-1] if len(batch) == order.most else None
        return Reviewed(looked_at=len(batch), raised=raised, after=after)
