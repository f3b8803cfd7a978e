"""The tables of cases: what happened and was promised, what was suspended, and the switch that halts."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    UniqueConstraint,
)
from sqlmodel import Field

from dunning.expiry.card import CardOutcome
from dunning.renewals.reminder import ReminderOutcome
from dunning.values import Outcome, RecoveredVia, Stage, WaitingOn
from ledger.tables.base import Row, open_only
from ledger.types import Json, Name, UtcDateTime, Words


class CaseRow(Row, table=True):
    """A case: one episode of dunning for one invoice."""

    __tablename__ = "cases"
    __table_args__ = (
        UniqueConstraint("account", "invoice_id", "episode"),
        Index("uq_cases_one_open", "account", "invoice_id", **open_only("closed_at")),
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
    woken_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # has not decided since


class CardCaseRow(Row, table=True):
    """A card that expires before its next charge: one conversation with its customer."""

    __tablename__ = "card_cases"
    __table_args__ = (
        UniqueConstraint("account", "method", "expiry", "episode"),
        Index("uq_card_cases_one_open", "account", "method", "expiry", **open_only("closed_at")),
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


class ReminderRow(Row, table=True):
    """The reminder of one renewal: a subscription's charge on one day."""

    __tablename__ = "reminders"
    __table_args__ = (
        UniqueConstraint("account", "subscription", "charge_at"),
        Index("ix_reminders_customer", "account", "customer"),
    )

    id: str = Field(primary_key=True)
    account: str
    subscription: str
    charge_at: datetime = Field(sa_type=UtcDateTime)
    workflow_id: str
    run_id: str
    customer: str
    policy_name: str
    policy_version: str
    opened_at: datetime = Field(sa_type=UtcDateTime)
    outcome: ReminderOutcome | None = Field(default=None, sa_column=Column(Name(ReminderOutcome)))
    closed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    closed_reason: str = Field(default="", sa_type=Words)


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
    __table_args__ = (Index("uq_switches_one_in_force", "name", **open_only("lifted_at")),)

    id: int | None = Field(default=None, sa_column=Column(Integer, primary_key=True, autoincrement=True))
    name: str
    by: str = Field(sa_type=Words)
    reason: str = Field(default="", sa_type=Words)
    at: datetime = Field(sa_type=UtcDateTime)
    lifted_by: str | None = Field(default=None, sa_type=Words)
    lifted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
