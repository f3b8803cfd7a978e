"""What is found behind a link: the customer's open cases, what Stripe says is owed, what may be done."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

import structlog

from dunning import links
from dunning.money import Money
from dunning.page import Offers
from dunning.values import Channel
from ledger import Ledger
from ledger.records import CaseRecord, ConsentState, LinkRecord
from starter.client import DunningClient
from starter.errors import CaseClosed, CaseNotFound, EngineUnavailable
from starter.page.hosted import HostedPages, OpenInvoice, Owed, Plan, StripeAway
from starter.page.sheet import Standing

log = structlog.get_logger(__name__)
_MOST_CASES = 20


@dataclass(frozen=True)
class Found:
    """How things stand with a customer."""

    cases: tuple[CaseRecord, ...]  # those that are open; the one whose last day comes first leads
    standing: Standing
    locale: str
    now: datetime


@dataclass(frozen=True)
class Visit(Found):
    """Somebody with a link that opens, and what was found behind it."""

    token: str
    link: LinkRecord


class Visits:
    """Looks up what the page shows. While Stripe or the worker is away it is less, not an error."""

    def __init__(self, client: DunningClient, ledger: Ledger, hosted: HostedPages) -> None:
        self._client, self._ledger, self._hosted = client, ledger, hosted

    async def by_token(self, token: str) -> Visit | None:
        """What a link of a message leads to; None if it is unknown or expired."""
        link = await self._ledger.links.find(links.digest(token))
        if link is None or link.purpose != links.PAGE:
            return None
        own = await self._ledger.cases.get(link.case_id)
        if own is None or not link.opens(now := _now(own)):
            return None
        found = await self.of(own, link.account, link.customer)
        return Visit(found.cases, found.standing, found.locale, now, token, link)

    async def of(self, own: CaseRecord, account: str, customer: str) -> Found:
        """How things stand with the customer of a case."""
        now = _now(own)
        page = await self._ledger.cases.find(
            account=account, customer=customer, open_only=True, limit=_MOST_CASES
        )
        cases = tuple(sorted(page.cases, key=lambda case: (case.last_day or date.max, case.opened_at)))
        owed, offers, known = await asyncio.gather(
            self._owed(account, customer, own, cases),
            self.offers(cases, now),
            self._ledger.consents.state(account, customer),
        )
        channels = _channels(known, owed) if cases else {}
        plans = await self._plans(account, offers)
        return Found(cases, Standing(owed, offers, own.outcome, channels, plans), owed.locale, now)

    async def offers(self, cases: tuple[CaseRecord, ...], now: datetime) -> Offers | None:
        """What the leading case offers; without a worker only where it stands."""
        if not cases:
            return None
        first = cases[0]
        try:
            return await self._client.offers(first.workflow_id, now)
        except (CaseClosed, CaseNotFound):
            return None
        except EngineUnavailable as error:
            log.warning("the page is shown without the case", message=error.message)
        assert first.last_day is not None
        return Offers(stage=first.stage, last_day=first.last_day, zone=first.zone or "UTC")

    async def _owed(
        self, account: str, customer: str, own: CaseRecord, cases: tuple[CaseRecord, ...]
    ) -> Owed:
        """What Stripe says is owed; while Stripe is away, what the ledger knew last."""
        try:
            owed = await self._hosted.owed(account, customer)
            if owed.invoices:
                return owed
            return Owed((), await self._hosted.locale(account, customer))
        except StripeAway as error:
            log.warning("the page is shown without Stripe", message=error.message)
        known = cases or ((own,) if own.open else ())
        return Owed(tuple(_as_known(case) for case in known))

    async def _plans(self, account: str, offers: Offers | None) -> tuple[Plan, ...]:
        """The plans that the policy offers, as Stripe names them; none while Stripe is away."""
        try:
            return await self._hosted.plans(account, offers.switch_to if offers else ())
        except StripeAway as error:
            log.warning("the page is shown without plans", message=error.message)
            return ()


def _now(case: CaseRecord) -> datetime:
    """The time of the case. A demo's case lives weeks ahead of the clock on the wall."""
    return max(datetime.now(UTC), case.remembered_at)


def _channels(known: Mapping[Channel, ConsentState], owed: Owed) -> dict[Channel, bool]:
    """By which channels we may write: e-mail unless it was revoked, SMS only where it was granted."""
    channels = {Channel.EMAIL: known.get(Channel.EMAIL) != "revoked"}
    if owed.has_phone:
        channels[Channel.SMS] = known.get(Channel.SMS) == "granted"
    return channels


def _as_known(case: CaseRecord) -> OpenInvoice:
    owed = Money(amount=case.amount_remaining, currency=case.currency)
    return OpenInvoice(case.invoice_id, None, owed, None, None)
