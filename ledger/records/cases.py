"""Cases and what belongs to them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

from dunning.case import CaseState, Extension, Promise
from dunning.values import Outcome, RecoveredVia, Stage, WaitingOn

ClaimState = Literal["new", "reserved", "done"]
SuspensionState = Literal["reserved", "active", "lifting", "lifted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRecord:
    """A case as it stood when it was last remembered."""

    id: str
    account: str
    invoice_id: str
    episode: int
    workflow_id: str
    run_id: str
    customer: str
    subscription: str | None
    currency: str
    amount: int
    amount_remaining: int
    policy_name: str
    policy_version: str
    opened_at: datetime
    stage: Stage
    waiting_on: WaitingOn | None
    outcome: Outcome | None
    recovered_via: RecoveredVia | None
    closed_at: datetime | None
    closed_reason: str
    next_at: datetime | None
    next_what: str
    next_action: str | None
    decline_code: str | None
    decline_class: str | None
    needs_human: bool
    asks: str = ""  # what a person should decide, and what happens otherwise
    asks_whom: str | None = None
    asks_until: datetime | None = None
    access: str | None = None
    halted: bool
    grace_starts_at: datetime | None
    last_day: date | None
    zone: str | None
    run_state: str
    remembered_at: datetime

    @property
    def open(self) -> bool:
        """Whether the case still goes on."""
        return self.closed_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseClaim:
    """The answer to a claim of a case. With `held_by` set nothing was claimed, and `case` is the holder's."""

    case: CaseRecord
    fresh: bool  # this run opened the case; False: it goes on with what another run began
    next_number: int  # for the next charge attempt, over all episodes
    next_seq: int  # for the next entry of the timeline: a run that takes a case over continues here
    held_by: str | None = None  # the workflow id that holds the open case

    @property
    def case_id(self) -> str:
        """The id of the claimed case."""
        return self.case.id

    @property
    def episode(self) -> int:
        """1 for the first case of the invoice, 2 for the one after that closed, and so on."""
        return self.case.episode

    @property
    def policy_name(self) -> str:
        """The name of the policy that the case was opened with."""
        return self.case.policy_name

    @property
    def policy_version(self) -> str:
        """The version of the policy that the case was opened with."""
        return self.case.policy_version


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseSummary:
    """Where a case stands at `at`, the moment of the decision that says so."""

    at: datetime
    stage: Stage
    amount_remaining: int
    waiting_on: WaitingOn | None = None
    outcome: Outcome | None = None
    recovered_via: RecoveredVia | None = None
    closed_at: datetime | None = None
    closed_reason: str = ""
    next_at: datetime | None = None
    next_what: str = ""
    next_action: str | None = None  # the effect that is carried out now
    decline_code: str | None = None
    decline_class: str | None = None
    needs_human: bool = False
    asks: str = ""
    asks_whom: str | None = None
    asks_until: datetime | None = None
    access: str | None = None
    halted: bool = False
    grace_starts_at: datetime | None = None
    last_day: date | None = None
    zone: str | None = None
    run_state: str = "running"
    policy_name: str | None = None  # None: unchanged
    policy_version: str | None = None
    extensions: tuple[Extension, ...] = ()
    promises: tuple[Promise, ...] = ()

    @classmethod
    def of(
        cls,
        state: CaseState,
        *,
        at: datetime,
        waiting_on: WaitingOn | None = None,
        next_at: datetime | None = None,
        next_what: str = "",
        next_action: str | None = None,
    ) -> CaseSummary:
        """What the ledger keeps of a state; the decision taken on it adds what the case waits for."""
        closed = state.closed_at is not None
        return cls(
            at=at,
            stage=state.stage,
            amount_remaining=state.invoice.amount_remaining,
            waiting_on=waiting_on,
            outcome=state.outcome,
            recovered_via=state.recovered_via,
            closed_at=state.closed_at,
            closed_reason=state.closed_reason,
            next_at=next_at,
            next_what=next_what,
            next_action=next_action,
            decline_code=state.verdict.code if state.verdict else None,
            decline_class=state.verdict.cls.value if state.verdict else None,
            needs_human=state.human is not None and not closed,
            halted=state.halted_until is not None and not closed,
            grace_starts_at=state.plan.grace_starts_at,
            last_day=state.plan.last_day,
            zone=state.plan.zone,
            run_state="completed" if closed else "running",
            extensions=state.extensions,
            promises=state.promises,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CasePage:
    """Some cases, newest first. `cursor` continues after them; None: there are no more."""

    cases: tuple[CaseRecord, ...]
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRecord:
    """A line of a case's timeline."""

    seq: int
    at: datetime
    what: str
    text: str
    by: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspensionRecord:
    """A suspended subscription. `previous` is what Stripe held before it, as first stored."""

    account: str
    subscription: str
    state: SuspensionState
    how: str
    invoices: tuple[str, ...]
    previous: dict[str, Any]
    begun_at: datetime
    changed_at: datetime
    first: bool = False  # the invoice that asked began the suspension

    @property
    def unconfirmed(self) -> bool:
        """Whether the provider's yes is missing: make the call (again), then tell `completed`."""
        return self.state in ("reserved", "lifting")


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectClaim:
    """The answer to a claim of an effect that has no table of its own."""

    key: str
    state: ClaimState
    params: dict[str, Any]
    claimed_at: datetime
    result: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Halt:
    """Every effect is held since `at`."""

    by: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseRecord:
    """A day on which a customer promised to pay."""

    case_id: str
    promised_on: date
    at: datetime
    by: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtensionRecord:
    """More time that was granted."""

    case_id: str
    days: int
    at: datetime
    by: str
    reason: str
    by_customer: bool
