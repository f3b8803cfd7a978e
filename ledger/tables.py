"""The tables. Rows never leave this package: see `ledger.records` for what callers get."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    MetaData,
    Table,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel

from dunning.expiry.card import CardOutcome
from dunning.reconciliation import Kind, Remedy
from dunning.values import Channel, Outcome, RecoveredVia, Stage, WaitingOn
from ledger.types import Json, Name, UtcDateTime, Words

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=NAMES)


class Row(SQLModel):
    """The base of all tables; it keeps them apart from other users of SQLModel in the process."""

    metadata: ClassVar[MetaData] = metadata


def table(row: type[Row]) -> Table:
    """The table behind a class of rows, for statements that touch no object."""
    return metadata.tables[str(row.__tablename__)]


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


def _open_only(column: str) -> dict[str, Any]:
    return {"unique": True, **_where(f"{column} IS NULL")}


class CaseRow(Row, table=True):
    """A case: one episode of dunning for one invoice."""

    __tablename__ = "cases"
    __table_args__ = (
        UniqueConstraint("account", "invoice_id", "episode"),
        Index("uq_cases_one_open", "account", "invoice_id", **_open_only("closed_at")),
        Index("ix_cases_customer", "account", "customer"),
        Index("ix_cases_subscription", "account", "subscription"),
        Index("ix_cases_opened_at", "opened_at", "id"),
        Index("ix_cases_next_at", "next_at"),
    )

    id: str = Field(primary_key=True)
    account: str
    invoice_id: str
    episode: int
    workflow_id: str
    run_id: str
    customer: str
    subscription: str | None = None
    currency: str
    amount: int = Field(sa_type=BigInteger)
    amount_remaining: int = Field(sa_type=BigInteger)
    policy_name: str
    policy_version: str
    opened_at: datetime = Field(sa_type=UtcDateTime)
    stage: Stage = Field(sa_column=Column(Name(Stage), nullable=False))
    waiting_on: WaitingOn | None = Field(default=None, sa_column=Column(Name(WaitingOn)))
    outcome: Outcome | None = Field(default=None, sa_column=Column(Name(Outcome)))
    recovered_via: RecoveredVia | None = Field(default=None, sa_column=Column(Name(RecoveredVia)))
    closed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    closed_reason: str = Field(default="", sa_type=Words)
    next_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    next_what: str = Field(default="", sa_type=Words)
    next_action: str | None = None  # the effect that is being carried out
    decline_code: str | None = None
    decline_class: str | None = None
    needs_human: bool = False
    asks: str = Field(default="", sa_type=Words)  # what a person should decide, and what happens otherwise
    asks_whom: str | None = None  # support, operator
    asks_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    access: str | None = None  # full, limited, none
    halted: bool = False
    grace_starts_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_day: date | None = None
    zone: str | None = None
    run_state: str = "running"
    seq: int = 0  # where the newest accepted step began
    seq_base: int = 0  # where the entries of the current run begin
    past_runs: list[str] = Field(default_factory=list, sa_column=Column(Json, nullable=False))
    remembered_at: datetime = Field(sa_type=UtcDateTime)
    owed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # Stripe last listed it as open


class CardCaseRow(Row, table=True):
    """A card that expires before its next charge: one conversation with its customer."""

    __tablename__ = "card_cases"
    __table_args__ = (
        UniqueConstraint("account", "method", "expiry", "episode"),
        Index("uq_card_cases_one_open", "account", "method", "expiry", **_open_only("closed_at")),
        Index("ix_card_cases_customer", "account", "customer"),
        Index("ix_card_cases_next_at", "next_at"),
    )

    id: str = Field(primary_key=True)
    account: str
    method: str  # Stripe's payment method
    expiry: str  # "2031-09"
    episode: int
    workflow_id: str
    run_id: str
    customer: str
    policy_name: str
    policy_version: str
    opened_at: datetime = Field(sa_type=UtcDateTime)
    charge_at: datetime = Field(sa_type=UtcDateTime)
    outcome: CardOutcome | None = Field(default=None, sa_column=Column(Name(CardOutcome)))
    closed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    closed_reason: str = Field(default="", sa_type=Words)
    stopped: bool = False  # a person ended it
    next_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    next_what: str = Field(default="", sa_type=Words)
    seq_base: int = 0  # where the entries of the current run begin
    remembered_at: datetime = Field(sa_type=UtcDateTime)


class EntryRow(Row, table=True):
    """A line of a case's timeline: what happened, when, by whom, and why."""

    __tablename__ = "entries"

    case_id: str = Field(primary_key=True)  # of `cases` or of `card_cases`
    seq: int = Field(primary_key=True)
    at: datetime = Field(sa_type=UtcDateTime)
    what: str = Field(sa_type=Words)
    text: str = Field(sa_type=Words)
    by: str = Field(sa_type=Words)
    data: dict[str, Any] = Field(sa_column=Column(Json, nullable=False))


class AttemptRow(Row, table=True):
    """A charge that the engine asked for: reserved before the provider is called, completed after."""

    __tablename__ = "attempts"
    __table_args__ = (
        Index("ix_attempts_fingerprint", "account", "fingerprint", "reserved_at"),
        Index("ix_attempts_case_id", "case_id"),
        Index("ix_attempts_charge_id", "account", "charge_id"),
        Index("ix_attempts_pending", "account", "customer", **_where("completed_at IS NULL")),
    )

    account: str = Field(primary_key=True)
    invoice_id: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    case_id: str = Field(foreign_key="cases.id")
    customer: str | None = None
    params: dict[str, Any] = Field(sa_column=Column(Json, nullable=False))
    amount: int = Field(sa_type=BigInteger)
    currency: str
    scheme: str | None = None  # Stripe's type of the payment method
    fingerprint: str | None = None
    expiry: str | None = None  # "2029-04"
    brand: str | None = None
    funding: str | None = None
    country: str | None = None
    customer_present: bool | None = None
    reserved_at: datetime = Field(sa_type=UtcDateTime)
    result: dict[str, Any] | None = Field(default=None, sa_column=Column(Json))
    outcome: str | None = None
    decline_class: str | None = None
    charge_id: str | None = None
    charged_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # by Stripe's clock
    reached_network: bool | None = None  # None: not known yet, counts as reached
    lock: str | None = None  # dunning.budget.Lock
    completed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class ChargeRow(Row, table=True):
    """A charge that somebody else asked for: Stripe itself, or the customer on the hosted invoice page."""

    __tablename__ = "charges"
    __table_args__ = (
        Index("ix_charges_fingerprint", "account", "fingerprint", "at"),
        Index("ix_charges_invoice", "account", "invoice_id"),
    )

    account: str = Field(primary_key=True)
    charge_id: str = Field(primary_key=True)
    invoice_id: str
    at: datetime = Field(sa_type=UtcDateTime)
    status: str  # Stripe's: succeeded, pending, failed
    amount: int = Field(sa_type=BigInteger)
    currency: str
    scheme: str
    fingerprint: str | None = None
    expiry: str | None = None
    brand: str | None = None
    funding: str | None = None
    country: str | None = None
    decline_class: str | None = None
    reached_network: bool
    lock: str | None = None


class DispatchRow(Row, table=True):
    """A message of one step on one channel: claimed before the provider is called."""

    __tablename__ = "dispatches"
    __table_args__ = (
        UniqueConstraint("case_id", "step", "channel"),
        Index("ix_dispatches_customer", "customer", "claimed_at"),
        Index("ix_dispatches_provider_id", "provider_id"),
        Index("ix_dispatches_address", "address"),
    )

    id: str = Field(primary_key=True)
    case_id: str  # of `cases` or of `card_cases`; `Dispatches.claim` refuses any other
    step: str
    channel: Channel = Field(sa_column=Column(Name(Channel), nullable=False))
    template: str
    customer: str
    claimed_at: datetime = Field(sa_type=UtcDateTime)
    counts: bool | None = None  # as a contact; None: it does
    # The other cases that it spoke of, by id, each with the last day of grace that it named, or "".
    told: dict[str, str] | None = Field(default=None, sa_column=Column(Json))
    fate: str | None = None
    provider_id: str | None = None
    detail: str = Field(default="", sa_type=Words)
    completed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    address: str | None = None  # dunning.addresses.fingerprint of where it goes
    delivery: str | None = None  # dunning.deliveries.Delivery: the furthest that the provider told
    delivery_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    delivery_detail: str = Field(default="", sa_type=Words)


class DispatchEventRow(Row, table=True):
    """What a provider told about a message later (delivered, bounced, …)."""

    __tablename__ = "dispatch_events"
    __table_args__ = (UniqueConstraint("dispatch_id", "provider", "key"),)

    id: int | None = Field(default=None, sa_column=Column(Integer, primary_key=True, autoincrement=True))
    dispatch_id: str = Field(foreign_key="dispatches.id")
    provider: str
    event: str
    key: str  # the same for the same news, however often it is delivered
    at: datetime = Field(sa_type=UtcDateTime)
    detail: str = Field(default="", sa_type=Words)


class LinkRow(Row, table=True):
    """A link to the customer's page. Of its token only the SHA-256 is known here."""

    __tablename__ = "links"
    __table_args__ = (Index("ix_links_case_id", "case_id"),)

    digest: str = Field(primary_key=True)
    purpose: str
    case_id: str = Field(foreign_key="cases.id")
    account: str
    customer: str
    channel: Channel = Field(sa_column=Column(Name(Channel), nullable=False))
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    uses: int = 0  # what was done through it; that it was opened is nobody's business


class SurveyRow(Row, table=True):
    """What a customer said went wrong, on the page. `id` makes a repeated form harmless."""

    __tablename__ = "surveys"
    __table_args__ = (Index("ix_surveys_at", "at"),)

    id: str = Field(primary_key=True)
    case_id: str = Field(foreign_key="cases.id")
    account: str
    customer: str
    at: datetime = Field(sa_type=UtcDateTime)
    reason: str
    text: str = Field(default="", sa_type=Words)


class ConsentRow(Row, table=True):
    """One statement about a channel. Nothing is overwritten: the newest counts."""

    __tablename__ = "consents"
    __table_args__ = (UniqueConstraint("account", "customer", "channel", "group", "at", "state", "source"),)

    id: int | None = Field(default=None, sa_column=Column(Integer, primary_key=True, autoincrement=True))
    account: str
    customer: str
    channel: Channel = Field(sa_column=Column(Name(Channel), nullable=False))
    group: str = ""  # dunning.values.MessageGroup; empty: the whole channel
    state: str
    source: str
    at: datetime = Field(sa_type=UtcDateTime)
    by: str = Field(sa_type=Words)
    text: str = Field(default="", sa_type=Words)


class AddressRow(Row, table=True):
    """An address that messages of a channel did not reach; the customer's others are not concerned."""

    __tablename__ = "addresses"

    address: str = Field(primary_key=True)  # dunning.addresses.fingerprint
    channel: Channel = Field(sa_column=Column(Name(Channel), primary_key=True))
    failures: int
    dead: bool
    failed_by: str  # the message that failed last
    at: datetime = Field(sa_type=UtcDateTime)
    reason: str = Field(default="", sa_type=Words)


class ReplyRow(Row, table=True):
    """What a customer wrote back. The words stay here: histories and logs hold nothing of them."""

    __tablename__ = "replies"
    __table_args__ = (
        Index("ix_replies_case_id", "case_id"),
        Index("ix_replies_waiting", "at", **_where("state = 'waiting'")),
    )

    id: str = Field(primary_key=True)  # the provider's
    at: datetime = Field(sa_type=UtcDateTime)
    channel: Channel = Field(sa_column=Column(Name(Channel), nullable=False))
    address: str
    account: str | None = None
    customer: str | None = None
    case_id: str | None = Field(default=None, foreign_key="cases.id")
    kind: str  # dunning.replies.ReplyKind
    text: str = Field(sa_type=Words)
    state: str  # received, done, waiting (for a person), answered
    by: str = Field(default="", sa_type=Words)  # who answered


class ExtensionRow(Row, table=True):
    """More time that was granted in a case, in the order of granting."""

    __tablename__ = "extensions"

    case_id: str = Field(primary_key=True, foreign_key="cases.id")
    index: int = Field(primary_key=True)
    days: int
    at: datetime = Field(sa_type=UtcDateTime)
    by: str = Field(sa_type=Words)
    reason: str = Field(default="", sa_type=Words)
    by_customer: bool = False


class PromiseRow(Row, table=True):
    """A day on which a customer promised to pay, in the order of promising."""

    __tablename__ = "promises"

    case_id: str = Field(primary_key=True, foreign_key="cases.id")
    index: int = Field(primary_key=True)
    promised_on: date
    at: datetime = Field(sa_type=UtcDateTime)
    by: str = Field(sa_type=Words)
    state: str = "open"  # open, kept, broken, ended


class SignalRow(Row, table=True):
    """What was told of a customer and stands nowhere else: a pause, a downgrade, a flag of the backend's."""

    __tablename__ = "signals"

    account: str = Field(primary_key=True)
    customer: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)  # dunning.risk.SignalKind
    key: str = Field(primary_key=True)  # Stripe's event, or the backend's own name
    at: datetime = Field(sa_type=UtcDateTime)
    until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    by: str = Field(sa_type=Words)
    text: str = Field(default="", sa_type=Words)


class RiskRow(Row, table=True):
    """A customer's risk as last assessed."""

    __tablename__ = "risks"
    __table_args__ = (Index("ix_risks_level", "level", "score"),)

    account: str = Field(primary_key=True)
    customer: str = Field(primary_key=True)
    level: str  # dunning.risk.Level
    score: int
    flags: list[dict[str, Any]] = Field(sa_column=Column(Json, nullable=False))
    assessed_at: datetime = Field(sa_type=UtcDateTime)


class SuspensionRow(Row, table=True):
    """A suspended subscription: the invoices that caused it and what to put back."""

    __tablename__ = "suspensions"

    account: str = Field(primary_key=True)
    subscription: str = Field(primary_key=True)
    state: str  # reserved, active, lifting, lifted
    how: str
    begun_by: str  # the invoice that came first
    invoices: list[str] = Field(sa_column=Column(Json, nullable=False))
    previous: dict[str, Any] = Field(sa_column=Column(Json, nullable=False))
    begun_at: datetime = Field(sa_type=UtcDateTime)
    changed_at: datetime = Field(sa_type=UtcDateTime)


class EffectRow(Row, table=True):
    """An effect that has no table of its own, claimed by a key that names it."""

    __tablename__ = "effects"

    key: str = Field(primary_key=True)
    params: dict[str, Any] = Field(sa_column=Column(Json, nullable=False))
    claimed_at: datetime = Field(sa_type=UtcDateTime)
    result: dict[str, Any] | None = Field(default=None, sa_column=Column(Json))
    completed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class SwitchRow(Row, table=True):
    """A time during which a switch was thrown, such as the halt of all effects. At most one is in force."""

    __tablename__ = "switches"
    __table_args__ = (Index("uq_switches_one_in_force", "name", **_open_only("lifted_at")),)

    id: int | None = Field(default=None, sa_column=Column(Integer, primary_key=True, autoincrement=True))
    name: str
    by: str = Field(sa_type=Words)
    reason: str = Field(default="", sa_type=Words)
    at: datetime = Field(sa_type=UtcDateTime)
    lifted_by: str | None = Field(default=None, sa_type=Words)
    lifted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class ReconciliationRow(Row, table=True):
    """A comparison of Stripe with the engine."""

    __tablename__ = "reconciliations"
    __table_args__ = (Index("ix_reconciliations_started_at", "started_at"),)

    run: str = Field(primary_key=True)
    started_at: datetime = Field(sa_type=UtcDateTime)
    dry_run: bool
    importing: bool
    counts: dict[str, Any] = Field(sa_column=Column(Json, nullable=False))
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class FindingRow(Row, table=True):
    """What a comparison found, and what was done about it."""

    __tablename__ = "findings"
    __table_args__ = (Index("ix_findings_subject", "kind", "subject"),)

    run: str = Field(primary_key=True, foreign_key="reconciliations.run")
    kind: Kind = Field(sa_column=Column(Name(Kind), primary_key=True))
    account: str = Field(primary_key=True)
    subject: str = Field(primary_key=True)
    invoice_id: str
    case_id: str
    workflow_id: str
    words: str = Field(sa_type=Words)
    remedy: Remedy = Field(sa_column=Column(Name(Remedy), nullable=False))
    found_at: datetime = Field(sa_type=UtcDateTime)
    fixed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class ReversalRow(Row, table=True):
    """A refund or a dispute of a payment of an invoice that has a case, as Stripe last told of it."""

    __tablename__ = "reversals"
    __table_args__ = (Index("ix_reversals_invoice", "account", "invoice_id"),)

    account: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    kind: str  # refund, dispute
    invoice_id: str
    charge: str
    amount: int = Field(sa_type=BigInteger)
    currency: str
    status: str  # Stripe's
    told_at: datetime = Field(sa_type=UtcDateTime)
