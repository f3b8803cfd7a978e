"""The tables. Rows never leave this package: see `ledger.records` for what callers get."""

from __future__ import annotations

from ledger.tables.base import NAMES, Row, metadata, open_only, table, where
from ledger.tables.cases import (
    CardCaseRow,
    CaseRow,
    EffectRow,
    EntryRow,
    ExtensionRow,
    PromiseRow,
    ReminderRow,
    SuspensionRow,
    SwitchRow,
)
from ledger.tables.charging import AttemptRow, ChargeRow, ReversalRow
from ledger.tables.messages import (
    AddressRow,
    ConsentRow,
    DispatchEventRow,
    DispatchRow,
    LinkRow,
    ReplyRow,
    SurveyRow,
)
from ledger.tables.outbox import DeliveryAttemptRow, DeliveryRow, DisabledEndpointRow, EventRow
from ledger.tables.watching import FindingRow, ReconciliationRow, RiskRow, SignalRow

__all__ = [
    "NAMES",
    "AddressRow",
    "AttemptRow",
    "CardCaseRow",
    "CaseRow",
    "ChargeRow",
    "ConsentRow",
    "DeliveryAttemptRow",
    "DeliveryRow",
    "DisabledEndpointRow",
    "DispatchEventRow",
    "DispatchRow",
    "EffectRow",
    "EntryRow",
    "EventRow",
    "ExtensionRow",
    "FindingRow",
    "LinkRow",
    "PromiseRow",
    "ReconciliationRow",
    "ReminderRow",
    "ReplyRow",
    "ReversalRow",
    "RiskRow",
    "Row",
    "SignalRow",
    "SurveyRow",
    "SuspensionRow",
    "SwitchRow",
    "metadata",
    "open_only",
    "table",
    "where",
]
