"""The daily scan for cards that expire, within a limit of calls to Stripe; and what follows for 100,000."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from activities.interface import TASK_QUEUE
from bench.world import World, world
from dunning.expiry.scan import Scanned
from sandbox.control_client import ArrivedRequest
from starter.processes import StackError
from starter.settings import Settings
from workflows.ids import card_expiry_id

#: What STRIPE_ACTIVITIES_PER_SECOND is unless it is set.
LIMIT: float = Settings.model_fields["stripe_activities_per_second"].default
#: How large the business is that the figures are carried over to.
LARGE = 100_000
_EXPIRING = 3  # in a hundred
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Scan:
    """A scan from its first request to the last one of its cases. A page is an activity, so is an opening."""

    subscriptions: int
    pages: int
    cases: int
    seconds: float
    requests: int
    busiest: int  # requests in the fullest second
    busiest_endpoint: int  # the same, of one endpoint

    @property
    def per_second(self) -> float:
        """Subscriptions a second."""
        return self.subscriptions / self.seconds

    @property
    def large_minutes(self) -> float:
        """What a large business would take: as many times longer as it is larger."""
        return self.seconds * LARGE / self.subscriptions / 60

    @property
    def large_words(self) -> str:
        """How that comes about."""
        times = LARGE / self.subscriptions
        pages, cases = round(self.pages * times), round(self.cases * times)
        least = (pages + cases) / LIMIT / 60
        work = f"{pages:,} pages + {cases:,} openings, {LIMIT:g} a second"
        return f"{times:g} times as long; {work}: ≥ {least:.1f}"


async def measure(subscriptions: int) -> Scan:
    """Scan so many subscriptions, three in a hundred with a card that will be dead by its next charge.

    Raises StackError when the scan opens other cases than those.
    """
    async with world({"STRIPE_ACTIVITIES_PER_SECOND": str(LIMIT)}) as stage:
        expiring = subscriptions * _EXPIRING // 100
        expiry = f"{await stage.clock.now():%Y-%m}"
        await _subscribers(stage, subscriptions - expiring, f"2040-{expiry[5:]}")
        dying = await _subscribers(stage, expiring, expiry)
        await stage.control.drain()
        before = (await stage.control.requests(service="stripe"))[-1].number
        scanned = await stage.stack.client.execute_workflow(
            "ExpiringCardScan", id="bench-scan", task_queue=TASK_QUEUE, result_type=Scanned
        )
        await stage.clock.settle([card_expiry_id(method, expiry) for method in dying])
        requests = await stage.control.requests(service="stripe", after=before)
    if (scanned.looked_at, scanned.started) != (subscriptions, expiring):
        raise StackError(f"the scan of {subscriptions} opened {scanned.started} cases, not {expiring}")
    endpoints = Counter(_endpoint(request) for request in requests)
    return Scan(
        subscriptions=subscriptions,
        pages=sum(1 for request in requests if "status" in request.query),
        cases=expiring,
        seconds=(requests[-1].at - requests[0].at).total_seconds(),
        requests=len(requests),
        busiest=_most_in_a_second([request.at for request in requests]),
        busiest_endpoint=max(
            _most_in_a_second([r.at for r in requests if _endpoint(r) == name]) for name in endpoints
        ),
    )


async def _subscribers(stage: World, count: int, expiry: str) -> list[str]:
    """So many monthly subscribers whose card is valid through a month; their payment methods."""
    year, month = expiry.split("-")
    card: Any = {"token": "tok_visa", "exp_year": int(year), "exp_month": int(month)}
    method = await stage.stripe.payment_methods.create_async({"type": "card", "card": card})
    customer = await stage.stripe.customers.create_async(
        {
            "email": "ada@customer.example",
            "payment_method": method.id,
            "invoice_settings": {"default_payment_method": method.id},
        }
    )
    monthly: Any = {"unit_amount": 1_900, "currency": "usd", "recurring": {"interval": "month"}}
    price = await stage.stripe.prices.create_async(monthly | {"product_data": {"name": "Cloud plan"}})
    template = await stage.stripe.subscriptions.create_async(
        {"customer": customer.id, "items": [{"price": price.id}]}
    )
    made = await stage.control.multiply(template.id, count - 1)
    return [method.id, *(copy["payment_method"] for copy in made)]


def _endpoint(request: ArrivedRequest) -> str:
    return f"{request.method} {re.sub(r'/[a-z]+_[0-9A-Za-z]+', '/…', request.path)}"


def _most_in_a_second(moments: Sequence[datetime]) -> int:
    most = first = 0
    ordered = sorted(moments)
    for last, at in enumerate(ordered):
        while ordered[first] <= at - _SECOND:
            first += 1
        most = max(most, last - first + 1)
    return most
