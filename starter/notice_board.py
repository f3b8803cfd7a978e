"""Notices of the cases of a customer: what the business's front end shows who owes something."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Literal

from pydantic import BaseModel

from activities.context import load_business
from activities.policy_book import PolicyBook
from dunning import links, notices
from dunning.messages.context import MessageContext
from dunning.money import Money
from dunning.policy import PolicyError
from dunning.values import Channel, Stage
from ledger import Ledger
from ledger.records import CaseRecord
from starter.settings import Settings


class NoticeView(BaseModel):
    """One notice. `blocking`: the customer cannot go on without it; else a banner that can be dismissed."""

    kind: Literal["payment_failed", "grace", "suspended"]
    blocking: bool
    invoice_id: str
    stage: Stage
    access: str | None
    amount_remaining: int
    currency: str
    last_day: date | None
    title: str
    text: str
    link: str | None


class NoticeBoard:
    """Makes notices of cases."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self._settings, self._ledger = settings, ledger
        self._business = load_business(settings.dunning_policies)
        self._policies = PolicyBook(settings.dunning_policies)

    async def notice(self, case: CaseRecord, locale: str) -> NoticeView | None:
        """The notice of a case, if it asks for one."""
        fates = [message.fate for message in await self._ledger.dispatches.of_case(case.id)]
        kind = notices.kind_of(case.stage, case.decline_class, fates, case.amount_remaining)
        if kind is None or self._in_shadow(case):
            return None
        link = await self._link(case)
        context = MessageContext(
            business=self._business,
            amount=Money(amount=case.amount_remaining, currency=case.currency),
            pay_url=link,
            last_day=case.last_day,
            locale=locale,
        )
        title, text = notices.words(kind, context, folder=self._settings.templates)
        return NoticeView(
            kind=kind,
            blocking=notices.is_blocking(case.access),
            invoice_id=case.invoice_id,
            stage=case.stage,
            access=case.access,
            amount_remaining=case.amount_remaining,
            currency=case.currency,
            last_day=case.last_day,
            title=title,
            text=text,
            link=link,
        )

    def _in_shadow(self, case: CaseRecord) -> bool:
        try:
            return self._policies.load(case.policy_name).shadow
        except PolicyError:  # it was removed meanwhile: the case goes on by its own copy
            return False

    async def _link(self, case: CaseRecord) -> str | None:
        """The customer's page; a new link each week, so that the one shown always lives long enough."""
        base, key = self._settings.public_base_url, self._settings.dunning_secret_key
        if base is None or key is None:
            return None
        now = datetime.now(UTC)
        token = links.token(key.get_secret_value(), case.id, f"notice {now:%G-W%V}", Channel.EMAIL)
        await self._ledger.links.make(
            links.digest(token),
            purpose=links.PAGE,
            case_id=case.id,
            account=case.account,
            customer=case.customer,
            channel=Channel.EMAIL,
            at=now,
            expires_at=now + links.LIFE,
        )
        return links.address(base, token)
