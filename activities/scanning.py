"""The activity of the daily scan: one page of subscriptions, reduced to what somebody should hear of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from temporalio import activity

from activities.ahead import Ahead
from activities.context import Deps, business_time
from activities.interface import ScanActivities
from activities.renewals import RenewalCalls, RenewingSubscription, draft_of, renewal_of
from activities.stripe_reading import zone_of
from dunning.expiry.scan import Found, ScanOrder, ScanPage, needs_case
from dunning.expiry.timing import in_danger
from dunning.renewals.decide import needs_reminder, soon


class CardScan(ScanActivities):
    """Finds cards that need a case, and renewals that need a reminder. One page is one call to Stripe."""

    def __init__(self, deps: Deps) -> None:
        self._ledger = deps.ledger
        self._ahead = Ahead(deps)
        self._calls = RenewalCalls(deps.stripe)

    @activity.defn(name="scan_page")
    async def scan_page(self, order: ScanOrder) -> ScanPage:
        """Look at a page of subscriptions; name what needs a case or a reminder and has none."""
        page = await self._calls.page(order.account, order.status, order.after)
        activity.heartbeat()
        cards, renewals = await self._due(order.account, page.data)
        known = await self._ledger.cards.of(order.account, [(c.method, c.expiry) for c in cards.values()])
        held = {method for method, case in known.items() if case.closed_at is None or case.settled}
        reminded = await self._ledger.reminders.known(order.account, renewals.items())
        return ScanPage(
            looked_at=len(page.data),
            found=tuple(card for method, card in cards.items() if method not in held),
            known=len(held),
            accounts=await self._accounts() if order.is_first else (),
            renewals=tuple(subscription for subscription in renewals if subscription not in reminded),
            after=page.data[-1].id if page.has_more and page.data else None,
        )

    async def _accounts(self) -> tuple[str, ...]:
        return tuple(account for account in await self._ledger.reconciliations.accounts() if account)

    async def _due(
        self, account: str, subscriptions: Sequence[RenewingSubscription]
    ) -> tuple[dict[str, Found], dict[str, datetime]]:
        """Cards in danger, and renewals to be reminded of: what a case or a reminder is due for now."""
        at, policies = business_time(), self._ahead.policies()
        cards: dict[str, Found] = {}
        renewals: dict[str, datetime] = {}
        for subscription in subscriptions:
            renewal, told = renewal_of(subscription), draft_of(subscription)
            if renewal is None or told is None or not (in_danger(renewal) or soon(renewal, policies, at)):
                continue
            policy, risk = await self._ahead.policy(account, told, at)
            card = needs_case(renewal, zone_of(told), policy, at)
            if card is not None:
                cards[card.method] = card
            elif needs_reminder(renewal, risk, policy, at):
                renewals[subscription.id] = renewal.at
        return cards, renewals
