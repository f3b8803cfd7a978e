"""Early warning: reads a customer's past in the ledger, and remembers the risk that it shows."""

from __future__ import annotations

import logging
from datetime import datetime

from temporalio import activity

from activities.context import business_time
from activities.interface import RiskActivities
from activities.policy_book import PolicyBook
from dunning.risk import Assessment, Reviewed, ReviewOrder, RiskRules, assess, rises
from dunning.segments import STANDARD
from ledger import Ledger

log = logging.getLogger("dunning.risk")


class RiskWatch(RiskActivities):
    """Assesses customers by the rules of the standard policy: before a case there is no other."""

    def __init__(self, ledger: Ledger, policies: PolicyBook) -> None:
        self._risks = ledger.risks
        self._policies = policies

    @property
    def _rules(self) -> RiskRules:
        return self._policies.load(STANDARD).risk

    async def look(self, account: str, customer: str, at: datetime) -> tuple[Assessment, bool]:
        """A customer's risk now, remembered, and whether the level rose."""
        found = assess(await self._risks.history(account, customer), self._rules, at)
        before = await self._risks.assessed(account, customer, found, at=at)
        rose = rises(before, found.level)
        if rose:
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
