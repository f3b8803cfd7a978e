"""What the ledger hands out: small frozen values, never rows. Times are aware UTC, money in minor units."""

from __future__ import annotations

from ledger.records.base import Counts, Record, from_row
from ledger.records.cases import (
    CaseClaim,
    CasePage,
    CaseRecord,
    CaseSummary,
    ClaimState,
    EffectClaim,
    EntryRecord,
    ExtensionRecord,
    Halt,
    PromiseRecord,
    SuspensionRecord,
    SuspensionState,
)
from ledger.records.charging import AttemptClaim, AttemptRecord, AttemptState, ChargeRecord, ReversalRecord
from ledger.records.messages import (
    ConsentRecord,
    ConsentState,
    DispatchClaim,
    DispatchClaimState,
    DispatchEventRecord,
    DispatchRecord,
    LinkRecord,
    ReplyRecord,
    ReplyState,
    SurveyRecord,
)
from ledger.records.watching import FindingRecord, ReconciliationRecord, RiskRecord

__all__ = [
    "AttemptClaim",
    "AttemptRecord",
    "AttemptState",
    "CaseClaim",
    "CasePage",
    "CaseRecord",
    "CaseSummary",
    "ChargeRecord",
    "ClaimState",
    "ConsentRecord",
    "ConsentState",
    "Counts",
    "DispatchClaim",
    "DispatchClaimState",
    "DispatchEventRecord",
    "DispatchRecord",
    "EffectClaim",
    "EntryRecord",
    "ExtensionRecord",
    "FindingRecord",
    "Halt",
    "LinkRecord",
    "PromiseRecord",
    "ReconciliationRecord",
    "Record",
    "ReplyRecord",
    "ReplyState",
    "ReversalRecord",
    "RiskRecord",
    "SurveyRecord",
    "SuspensionRecord",
    "SuspensionState",
    "from_row",
]
