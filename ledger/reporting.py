"""The facts of a report: the failed invoices of a period, what became of them, and what was spent on them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Select, Subquery, and_, func, select
from sqlmodel import col

from dunning.report import FailedInvoice
from dunning.reports import Reversal
from dunning.values import Outcome
from ledger.database import Database
from ledger.tables import AttemptRow, CaseRow, DispatchRow, EntryRow, ExtensionRow, ReversalRow

Key = tuple[str, str]  # account and invoice
#: An invoice that was not for dunning is no failure, unless another of its cases was one.
_REAL = col(CaseRow.outcome).is_(None) | (col(CaseRow.outcome) != Outcome.NOT_APPLICABLE)
#: After these, what is not owed any more was paid in part; a void invoice tells nothing of that.
_PART_PAID = frozenset({None, Outcome.WRITTEN_OFF, Outcome.STOPPED})


@dataclass
class _Facts:
    """What is known of one invoice, gathered query by query."""

    cases: list[CaseRow] = field(default_factory=list)  # by episode
    suspended_at: datetime | None = None
    attempts: int = 0
    messages: int = 0
    last: DispatchRow | None = None  # the message that a provider accepted last
    granted_days: int = 0
    refunded: int = 0
    disputed: int = 0


class Reporting:
    """Asks for the facts of a report, in a handful of queries however many invoices there are."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def failures(self, since: datetime | None, until: datetime | None) -> tuple[FailedInvoice, ...]:
        """The invoices whose first case was opened in [since, until). Cases that were none are left out."""
        facts: dict[Key, _Facts] = {}
        cohort = _cohort(since, until)
        cases = select(CaseRow).join(cohort, _belongs(CaseRow, cohort)).where(_REAL)
        suspended = select(col(CaseRow.account), col(CaseRow.invoice_id), func.min(col(EntryRow.at))).where(
            col(EntryRow.what) == "suspend.done"
        )
        tried = select(col(CaseRow.account), col(CaseRow.invoice_id), func.count()).where(
            col(AttemptRow.completed_at).isnot(None), col(AttemptRow.reached_network).is_(True)
        )
        granted = select(col(CaseRow.account), col(CaseRow.invoice_id), func.sum(col(ExtensionRow.days)))
        sent = select(col(CaseRow.account), col(CaseRow.invoice_id), DispatchRow).where(
            col(DispatchRow.fate) == "accepted"
        )
        went_back = select(ReversalRow).join(cohort, _belongs(ReversalRow, cohort))
        async with self._database.read() as session:
            for case in await session.scalars(cases.order_by(col(CaseRow.episode))):
                facts.setdefault((case.account, case.invoice_id), _Facts()).cases.append(case)
            for account, invoice, at in await session.execute(_by_invoice(suspended, EntryRow, cohort)):
                facts[account, invoice].suspended_at = at
            for account, invoice, number in await session.execute(_by_invoice(tried, AttemptRow, cohort)):
                facts[account, invoice].attempts = number
            for account, invoice, days in await session.execute(_by_invoice(granted, ExtensionRow, cohort)):
                facts[account, invoice].granted_days = days
            messages = _of_cohort(sent, DispatchRow, cohort).order_by(col(DispatchRow.claimed_at))
            for account, invoice, message in await session.execute(messages):
                known = facts[account, invoice]
                known.messages, known.last = known.messages + 1, _before_the_end(known, message)
            for row in await session.scalars(went_back):
                _take_back(facts[row.account, row.invoice_id], row)
        return tuple(_failure(known) for known in facts.values())


def _cohort(since: datetime | None, until: datetime | None) -> Subquery:
    """The invoices whose first real case was opened in the period."""
    first = func.min(col(CaseRow.opened_at))
    query = select(col(CaseRow.account), col(CaseRow.invoice_id)).where(_REAL)
    query = query.group_by(col(CaseRow.account), col(CaseRow.invoice_id))
    if since is not None:
        query = query.having(first >= since)
    if until is not None:
        query = query.having(first < until)
    return query.subquery("cohort")


def _belongs(row: Any, cohort: Subquery) -> Any:
    return and_(col(row.account) == cohort.c.account, col(row.invoice_id) == cohort.c.invoice_id)


def _of_cohort(query: Select[*tuple[Any, ...]], row: Any, cohort: Subquery) -> Select[*tuple[Any, ...]]:
    """The rows of `row` that belong to real cases of the cohort."""
    of_case = query.where(col(row.case_id) == col(CaseRow.id), _REAL)
    return of_case.join_from(CaseRow, cohort, _belongs(CaseRow, cohort))


def _by_invoice(query: Select[*tuple[Any, ...]], row: Any, cohort: Subquery) -> Select[*tuple[Any, ...]]:
    return _of_cohort(query, row, cohort).group_by(col(CaseRow.account), col(CaseRow.invoice_id))


def _before_the_end(known: _Facts, message: DispatchRow) -> DispatchRow | None:
    """Thanks for the payment did not bring it."""
    closed_at = known.cases[-1].closed_at
    answers_it = message.step.split(":")[0] in ("recovered", "restored", "written_off")
    late = closed_at is not None and message.claimed_at > closed_at
    return known.last if late or answers_it else message


def _take_back(known: _Facts, row: ReversalRow) -> None:
    reversal = Reversal.model_validate(row, from_attributes=True)
    if not reversal.counts or row.currency != known.cases[0].currency:
        return
    if reversal.kind == "refund":
        known.refunded += row.amount
    else:
        known.disputed += row.amount


def _failure(known: _Facts) -> FailedInvoice:
    first, latest = known.cases[0], known.cases[-1]
    if latest.outcome is Outcome.RECOVERED:
        recovered = first.amount
    elif latest.outcome in _PART_PAID:
        recovered = max(first.amount - latest.amount_remaining, 0)
    else:
        recovered = 0
    last = known.last
    return FailedInvoice(
        account=first.account,
        invoice_id=first.invoice_id,
        customer=first.customer,
        currency=first.currency,
        failed=first.amount,
        recovered=recovered,
        refunded=known.refunded,
        disputed=known.disputed,
        failed_at=first.opened_at,
        closed_at=latest.closed_at,
        outcome=latest.outcome,
        via=latest.recovered_via,
        suspended_at=known.suspended_at,
        decline=latest.decline_code or first.decline_code or "none",
        step=last.step.split(":")[0] if last else "none",
        channel=last.channel.value if last else "none",
        policy=latest.policy_name,
        attempts=known.attempts,
        messages=known.messages,
        granted_days=known.granted_days,
    )
