"""The activity of the scan for cards that expire: one page of subscriptions, reduced to cards in danger."""

from __future__ import annotations

from temporalio import activity

from activities.cards import CardReader
from activities.context import Deps, business_time
from activities.interface import ScanActivities
from activities.renewals import RenewalCalls, RenewingSubscription, draft_of, renewal_of
from activities.stripe_reading import zone_of
from dunning.expiry.scan import Found, ScanOrder, ScanPage, needs_case
from dunning.expiry.timing import in_danger


class CardScan(ScanActivities):
    """Finds cards that need a case. One page is one call to Stripe."""

    def __init__(self, deps: Deps) -> None:
        self._ledger = deps.ledger
        self._reader = CardReader(deps)
        self._calls = RenewalCalls(deps.stripe)

    @activity.defn(name="scan_page")
    async def scan_page(self, order: ScanOrder) -> ScanPage:
        """Look at a page of subscriptions; name the cards that need a case and have none. Changes nothing."""
        page = await self._calls.page(order.account, order.status, order.after)
        activity.heartbeat()
        found = [await self._needed(order.account, subscription) for subscription in page.data]
        cards = {card.method: card for card in found if card is not None}
        known = await self._ledger.cards.of(order.account, [(c.method, c.expiry) for c in cards.values()])
        held = {method for method, case in known.items() if case.closed_at is None or case.settled}
        return ScanPage(
            looked_at=len(page.data),
            found=tuple(card for method, card in cards.items() if method not in held),
            known=len(held),
            after=page.data[-1].id if page.has_more and page.data else None,
        )

    async def _needed(self, account: str, subscription: RenewingSubscription) -> Found | None:
        renewal, told, at = renewal_of(subscription), draft_of(subscription), business_time()
        if renewal is None or told is None or not in_danger(renewal):
            return None
        policy = await self._reader.policy(account, told, at)
        return needs_case(renewal, zone_of(told), policy, at)
