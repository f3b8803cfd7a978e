"""Numbers over the whole ledger, for metrics. They read whole tables: ask every few seconds at most."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, case, func, select, text
from sqlmodel import col

from dunning.values import Outcome
from ledger.database import Database
from ledger.reconciliations import WHOLE
from ledger.records import Counts
from ledger.tables import AttemptRow, CaseRow, DeliveryRow, DispatchRow, FindingRow, ReconciliationRow


async def count(database: Database) -> Counts:
    """Each of the numbers, by the two things that `Counts` names."""
    number = func.count()
    cases = select(col(CaseRow.stage), col(CaseRow.outcome), number)
    attempts = select(col(AttemptRow.decline_class), col(AttemptRow.outcome), number)
    messages = select(col(DispatchRow.channel), col(DispatchRow.fate), number)
    events = select(col(DeliveryRow.endpoint), col(DeliveryRow.state), number)
    money = select(col(CaseRow.currency), col(CaseRow.recovered_via), func.sum(col(CaseRow.amount)))
    last = select(col(ReconciliationRow.run)).where(*WHOLE)
    newest = last.order_by(col(ReconciliationRow.started_at).desc()).limit(1).scalar_subquery()
    state = case((col(FindingRow.fixed_at).is_(None), "open"), else_="fixed").label("state")
    found = select(col(FindingRow.kind), state, number).where(col(FindingRow.run) == newest)
    return Counts(
        cases=await _pairs(database, cases.group_by(col(CaseRow.stage), col(CaseRow.outcome))),
        attempts=await _pairs(
            database, attempts.group_by(col(AttemptRow.decline_class), col(AttemptRow.outcome))
        ),
        recovered=await _pairs(
            database,
            money.where(col(CaseRow.outcome) == Outcome.RECOVERED).group_by(
                col(CaseRow.currency), col(CaseRow.recovered_via)
            ),
        ),
        messages=await _pairs(database, messages.group_by(col(DispatchRow.channel), col(DispatchRow.fate))),
        findings=await _pairs(database, found.group_by(col(FindingRow.kind), text("state"))),
        events=await _pairs(database, events.group_by(col(DeliveryRow.endpoint), col(DeliveryRow.state))),
    )


async def _pairs(database: Database, query: Select[*tuple[Any, ...]]) -> dict[tuple[str, str], int]:
    async with database.read() as session:
        rows = (await session.execute(query)).all()
    return {(str(first or ""), str(second or "")): int(n) for first, second, n in rows}
