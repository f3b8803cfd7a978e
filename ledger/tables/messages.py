"""The tables of words: dispatches and their fates, links, consents, addresses, replies."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    Column,
    Index,
    Integer,
    UniqueConstraint,
)
from sqlmodel import Field

from dunning.values import Channel
from ledger.tables.base import Row, where
from ledger.types import Json, Name, UtcDateTime, Words


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
    case_id: str  # of `cases`, `card_cases` or `reminders`; `Dispatches.claim` refuses any other
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
        Index("ix_replies_waiting", "at", **where("state = 'waiting'")),
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
