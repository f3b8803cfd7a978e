"""The customer's other invoices, of which one message speaks as well."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date

from activities.stripe_calls import StripeCalls
from activities.stripe_objects import StripeInvoice
from dunning.case import CaseRef
from dunning.decision import Send
from dunning.messages.context import Listed
from dunning.money import Money
from dunning.values import Channel, DeclineClass, Stage, WaitingOn
from ledger import Ledger
from ledger.records import CaseRecord

#: Told once for a subscription, whatever is owed for it.
_OF_THE_SUBSCRIPTION = frozenset({"suspended", "survey"})
_SPEAKS = frozenset({Stage.RECOVERING, Stage.GRACE})


@dataclass(frozen=True)
class Sibling:
    """Another open case of the customer, with its invoice as Stripe tells it now."""

    case: CaseRecord
    told: StripeInvoice


class Siblings:
    """Finds what else a customer owes. The invoices are read at Stripe: what is paid is not listed."""

    def __init__(self, stripe: StripeCalls, ledger: Ledger) -> None:
        self._stripe = stripe
        self._ledger = ledger

    async def of(
        self, ref: CaseRef, send: Send, customer: str, subscription: str | None
    ) -> tuple[Sibling, ...]:
        """The other cases of which this message speaks, the oldest first."""
        if not send.merge or not customer:
            return ()
        page = await self._ledger.cases.find(account=ref.account, customer=customer, open_only=True)
        cases = [case for case in page.cases if case.id != ref.case_id and _listed(case, send, subscription)]
        if not cases:
            return ()
        owed = {told.id: told for told in await self._stripe.owed_by(ref, customer)}
        found = (Sibling(case, owed[case.invoice_id]) for case in cases if case.invoice_id in owed)
        return tuple(sorted(found, key=lambda sibling: (sibling.case.opened_at, sibling.case.id)))


def _listed(case: CaseRecord, send: Send, subscription: str | None) -> bool:
    if send.template in _OF_THE_SUBSCRIPTION:
        return case.subscription is not None and case.subscription == subscription
    frozen = case.needs_human or case.decline_class == DeclineClass.REVIEW
    return case.stage in _SPEAKS and not frozen and case.waiting_on not in (WaitingOn.BANK, WaitingOn.HOLD)


def told(send: Send, siblings: tuple[Sibling, ...]) -> dict[str, str]:
    """The cases that the message speaks of, each with the day that it names for it. An SMS names one day."""
    if not send.names_last_day:
        return dict.fromkeys((sibling.case.id for sibling in siblings), "")
    days = ((sibling.case.id, sibling.case.last_day) for sibling in siblings)
    every = send.channel is Channel.EMAIL
    return {
        case: day.isoformat() for case, day in days if day is not None and (every or day == send.last_day)
    }


def listed(send: Send, own: StripeInvoice, siblings: tuple[Sibling, ...]) -> tuple[Listed, ...]:
    """All invoices that the message speaks of, its own first; each with its day where the days differ."""
    if not siblings:
        return ()
    days = [send.last_day, *(s.case.last_day for s in siblings)]
    tell = send.names_last_day and len(set(days)) > 1
    invoices = (own, *(s.told for s in siblings))
    return tuple(_line(invoice, day if tell else None) for invoice, day in zip(invoices, days, strict=True))


def _line(invoice: StripeInvoice, day: date | None) -> Listed:
    owed = Money(amount=invoice.amount_remaining, currency=invoice.currency)
    return Listed(
        name=invoice.number or invoice.id, amount=owed, url=invoice.hosted_invoice_url, last_day=day
    )


def totals(lines: tuple[Listed, ...]) -> tuple[Money, ...]:
    """What is owed in each currency, never added up over currencies; the first line's currency first."""
    sums: dict[str, int] = defaultdict(int)
    for line in lines:
        sums[line.amount.currency] += line.amount.amount
    return tuple(Money(amount=amount, currency=currency) for currency, amount in sums.items())
