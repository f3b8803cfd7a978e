"""What dunning brought, by three stated definitions. Pure: `ledger.reporting` asks for the facts.

Amounts are minor units of one currency; those of different currencies are never added. A failed invoice
counts once, in the month in which its first case was opened, however many episodes its case had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from math import ceil
from statistics import median
from typing import Literal, get_args

from dunning.values import Outcome, RecoveredVia, Value

Dimension = Literal["decline", "step", "channel", "policy", "currency", "month"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)

#: What the columns mean; printed with every report.
DEFINITIONS: Mapping[str, str] = {
    "cohort": "invoices whose first case was opened in the period, in UTC; each counts once, over all its "
    "episodes. Amounts in minor units in JSON and CSV",
    "failed": "what was owed when the first case was opened",
    "recovered": "what of that was paid since, by whomever; an invoice that is paid in part counts in part",
    "net": "recovered, less refunds of those payments, and less their disputes unless they were won",
    "of all": "net / failed of the whole cohort; what is still in progress is in the denominator",
    "of attempted": "net / failed, of the invoices on which the engine acted: a charge reached the network "
    "or a provider accepted a message",
    "of closed": "net / failed, of the invoices whose case is closed; what is in progress is left out",
    "days": "from the first case's opening to the end of the case, of recovered invoices: the median, and "
    "the 90th percentile by nearest rank",
    "lost": "customers with a case that ended in the final action (written_off)",
    "unpaid days": "days of service from the failure until it was paid, suspended or closed, or until now: "
    "the cost of grace",
    "by decline": "the last decline of the invoice's latest case",
    "by step, by channel": "the last message that a provider accepted before the end, or until now",
}
_NONE = "none"


class FailedInvoice(Value):
    """A failed invoice of the cohort, over all episodes of its case."""

    account: str = ""
    invoice_id: str
    customer: str
    currency: str
    failed: int
    recovered: int = 0
    refunded: int = 0
    disputed: int = 0  # of disputes that were not won
    failed_at: datetime
    closed_at: datetime | None = None
    outcome: Outcome | None = None
    via: RecoveredVia | None = None
    suspended_at: datetime | None = None
    decline: str = _NONE
    step: str = _NONE
    channel: str = _NONE
    policy: str = ""
    attempts: int = 0
    messages: int = 0
    granted_days: int = 0

    @property
    def net(self) -> int:
        """What was recovered and kept."""
        return max(self.recovered - self.refunded - self.disputed, 0)

    @property
    def acted_on(self) -> bool:
        """Whether the engine did anything that reached somebody."""
        return self.attempts > 0 or self.messages > 0

    def served_unpaid(self, now: datetime) -> timedelta:
        """How long the service went on without being paid."""
        ends = [moment for moment in (self.closed_at, self.suspended_at) if moment is not None]
        return max(min(ends, default=now) - self.failed_at, timedelta())


class Line(Value):
    """The figures of one group in one currency."""

    group: str
    currency: str
    invoices: int
    in_progress: int
    failed: int
    recovered: int
    refunded: int
    disputed: int
    net: int
    of_all: float | None
    of_attempted: float | None
    of_closed: float | None
    via: dict[str, int] = {}
    days_median: float | None = None
    days_p90: float | None = None
    customers_lost: int = 0
    unpaid_days: float = 0.0
    granted_days: int = 0
    attempts: int = 0
    messages: int = 0


def report(failures: Iterable[FailedInvoice], by: Dimension | None, now: datetime) -> tuple[Line, ...]:
    """A line for each group and currency, sorted. Without a dimension there is one group, `all`."""
    groups: dict[tuple[str, str], list[FailedInvoice]] = {}
    for failure in failures:
        groups.setdefault((_GROUPS[by](failure), failure.currency), []).append(failure)
    return tuple(_line(group, currency, groups[group, currency], now) for group, currency in sorted(groups))


def _line(group: str, currency: str, failures: Sequence[FailedInvoice], now: datetime) -> Line:
    closed = [failure for failure in failures if failure.closed_at is not None]
    days = sorted(
        (failure.closed_at - failure.failed_at) / timedelta(days=1)
        for failure in closed
        if failure.closed_at is not None and failure.outcome is Outcome.RECOVERED
    )
    return Line(
        group=group,
        currency=currency,
        invoices=len(failures),
        in_progress=len(failures) - len(closed),
        failed=_sum(failures, "failed"),
        recovered=_sum(failures, "recovered"),
        refunded=_sum(failures, "refunded"),
        disputed=_sum(failures, "disputed"),
        net=_sum(failures, "net"),
        of_all=_share(failures),
        of_attempted=_share([failure for failure in failures if failure.acted_on]),
        of_closed=_share(closed),
        via={
            via.value: amount
            for via in RecoveredVia
            if (amount := _sum([failure for failure in failures if failure.via is via], "recovered"))
        },
        days_median=round(median(days), 2) if days else None,
        days_p90=round(days[ceil(0.9 * len(days)) - 1], 2) if days else None,
        customers_lost=len({f.customer for f in closed if f.outcome is Outcome.WRITTEN_OFF}),
        unpaid_days=round(sum((f.served_unpaid(now) for f in failures), timedelta()) / timedelta(days=1), 1),
        granted_days=_sum(failures, "granted_days"),
        attempts=_sum(failures, "attempts"),
        messages=_sum(failures, "messages"),
    )


def _share(failures: Sequence[FailedInvoice]) -> float | None:
    owed = _sum(failures, "failed")
    return round(_sum(failures, "net") / owed, 4) if owed else None


def _sum(failures: Sequence[FailedInvoice], what: str) -> int:
    return sum(int(getattr(failure, what)) for failure in failures)


_GROUPS: Mapping[Dimension | None, Callable[[FailedInvoice], str]] = {
    None: lambda failure: "all",
    "decline": lambda failure: failure.decline,
    "step": lambda failure: failure.step,
    "channel": lambda failure: failure.channel,
    "policy": lambda failure: failure.policy,
    "currency": lambda failure: failure.currency,
    "month": lambda failure: f"{failure.failed_at:%Y-%m}",
}
