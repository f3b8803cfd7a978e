"""Lists of cases, the newest first: a page, and the cursor that goes on behind its last case."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Select, and_, bindparam, or_

from ledger.database import rows_where
from ledger.errors import LedgerError
from ledger.records import CaseRecord
from ledger.tables import CaseRow, table


def cursor_at(case: CaseRecord) -> str:
    """Where the page goes on that begins behind this case."""
    return base64.urlsafe_b64encode(f"{case.opened_at.isoformat()} {case.id}".encode()).decode()


def place_of(cursor: str) -> dict[str, Any]:
    """The parameters of `newest_first` that a cursor stands for. Raises LedgerError for a foreign one."""
    try:
        moment, _, case_id = base64.urlsafe_b64decode(cursor.encode()).decode().partition(" ")
        return {"last_opened_at": datetime.fromisoformat(moment), "last_id": case_id}
    except (binascii.Error, UnicodeError, ValueError) as error:
        raise LedgerError(f"{cursor!r} is no cursor of a list of cases: start at the first page") from error


@cache  # building a statement costs more than executing it
def newest_first(wanted: tuple[str, ...], *, open_only: bool, onward: bool) -> Select[*tuple[Any, ...]]:
    """Cases whose columns `wanted` have the values of the parameters of these names, `most` of them."""
    cases = table(CaseRow).c
    query = rows_where(CaseRow, wanted)
    if open_only:
        query = query.where(cases.closed_at.is_(None))
    if onward:
        same_moment = cases.opened_at == bindparam("last_opened_at")
        later = and_(same_moment, cases.id < bindparam("last_id"))
        query = query.where(or_(cases.opened_at < bindparam("last_opened_at"), later))
    return query.order_by(cases.opened_at.desc(), cases.id.desc()).limit(bindparam("most"))
