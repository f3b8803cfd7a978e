"""What the ledger hands out: small frozen values, never rows. Times are aware UTC, money in minor units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any, Literal, TypeVar

from dunning.budget import Lock, Slot
from dunning.case import CaseState, Extension, Promise
from dunning.deliveries import Delivery
from dunning.reconciliation import Kind, Remedy
from dunning.replies import ReplyKind
from dunning.risk import Flag, Level
from dunning.values import Channel, MessageGroup, Outcome, RecoveredVia, Stage, WaitingOn

ClaimState = Literal["new", "reserved", "done"]
AttemptState = Literal["new", "reserved", "done", "refused"]
DispatchClaimState = Literal["new", "claimed", "done", "refused", "said"]
SuspensionState = Literal["reserved", "active", "lifting", "lifted"]
ConsentState = Literal["granted", "revoked"]
ReplyState = Literal["received", "done", "waiting", "answered"]

Record = TypeVar("Record")


def from_row(record: type[Record], row: Any, **more: Any) -> Record:
    """The record whose fields stand in `row` under the same names; `more` gives the rest."""
    names = [field.name for field in fields(record)]  # type: ignore[arg-type]
    return record(**{name: more[name] if name in more else getattr(row, name) for name in names})


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
class AttemptClaim:
    """The answer to a reservation. `params` are those stored first: a repeat sends exactly them.

    `refused`: nothing was reserved; `refusal` says by which rule and until when.
    """

    state: AttemptState
    params: dict[str, Any]
    reserved_at: datetime
    result: dict[str, Any] | None = None
    refusal: Slot | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """A charge attempt."""

    account: str
    invoice_id: str
    number: int
    case_id: str
    customer: str | None
    params: dict[str, Any]
    amount: int
    currency: str
    scheme: str | None
    fingerprint: str | None
    expiry: str | None
    brand: str | None
    funding: str | None
    country: str | None
    customer_present: bool | None
    reserved_at: datetime
    result: dict[str, Any] | None
    outcome: str | None
    decline_class: str | None
    charge_id: str | None
    charged_at: datetime | None
    reached_network: bool | None
    lock: Lock | None
    completed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeRecord:
    """A charge that Stripe or the customer began, not the engine. `at` by Stripe's clock."""

    account: str
    charge_id: str
    invoice_id: str
    at: datetime
    status: str  # Stripe's: succeeded, pending, failed
    amount: int
    currency: str
    scheme: str
    fingerprint: str | None
    expiry: str | None
    brand: str | None
    funding: str | None
    country: str | None
    decline_class: str | None
    reached_network: bool
    lock: Lock | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchClaim:
    """The answer to a claim of a message. `claimed`: somebody began to send it, and the end is unknown.

    `refused`: nothing was claimed; `refusal` says by which limit and until when. `said`: nothing was claimed,
    for the message `said_by` of another case of the customer spoke of this one.
    """

    dispatch_id: str
    state: DispatchClaimState
    fate: str | None = None
    provider_id: str | None = None
    refusal: Slot | None = None
    said_by: DispatchRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchRecord:
    """A message of one step on one channel."""

    id: str
    case_id: str
    step: str
    channel: Channel
    template: str
    customer: str
    claimed_at: datetime
    counts: bool | None  # as a contact; None: it does
    told: dict[str, str] | None  # the other cases that it spoke of, with the last days that it named
    fate: str | None
    provider_id: str | None
    detail: str
    completed_at: datetime | None
    address: str | None
    delivery: Delivery | None
    delivery_at: datetime | None
    delivery_detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchEventRecord:
    """What a provider told about a message later."""

    provider: str
    event: str
    key: str
    at: datetime
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkRecord:
    """A link to the customer's page, and what it stands for."""

    digest: str
    purpose: str
    case_id: str
    account: str
    customer: str
    channel: Channel
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    uses: int

    def opens(self, at: datetime) -> bool:
        """Whether it leads anywhere at `at`."""
        return self.revoked_at is None and at < self.expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyRecord:
    """What a customer said went wrong."""

    case_id: str
    account: str
    customer: str
    at: datetime
    reason: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentRecord:
    """One statement about a channel: who said what, where, and in which words."""

    account: str
    customer: str
    channel: Channel
    group: MessageGroup | Literal[""]
    state: ConsentState
    source: str
    at: datetime
    by: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyRecord:
    """What a customer wrote back, and who deals with it."""

    id: str
    at: datetime
    channel: Channel
    address: str
    account: str | None
    customer: str | None
    case_id: str | None
    kind: ReplyKind
    text: str
    state: ReplyState
    by: str


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
class ReconciliationRecord:
    """A comparison of Stripe with the engine; `counts` as `dunning.reconciliation.Counts`."""

    run: str
    started_at: datetime
    dry_run: bool
    importing: bool
    counts: dict[str, int]
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingRecord:
    """What a comparison found. `fixed_at`: when its remedy was carried out."""

    run: str
    kind: Kind
    account: str
    subject: str
    invoice_id: str
    case_id: str
    workflow_id: str
    words: str
    remedy: Remedy
    found_at: datetime
    fixed_at: datetime | None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ReversalRecord:
    """A refund or a dispute of a payment, as Stripe last told of it."""

    account: str
    id: str
    kind: str
    invoice_id: str
    charge: str
    amount: int
    currency: str
    status: str
    told_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Numbers for metrics. An open case counts under outcome "", an attempt or message without result too."""

    cases: Mapping[tuple[str, str], int]  # stage, outcome
    attempts: Mapping[tuple[str, str], int]  # decline class, outcome
    recovered: Mapping[tuple[str, str], int]  # currency, via: minor units
    messages: Mapping[tuple[str, str], int]  # channel, fate
    findings: Mapping[tuple[str, str], int]  # kind, whether fixed: of the last reconciliation
    events: Mapping[tuple[str, str], int]  # endpoint, state of the delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskRecord:
    """A customer's risk as last assessed."""

    account: str
    customer: str
    level: Level
    score: int
    flags: tuple[Flag, ...]
    assessed_at: datetime
