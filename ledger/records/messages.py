"""Messages, their fates, and the people they went to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from dunning.budget import Slot
from dunning.deliveries import Delivery
from dunning.replies import ReplyKind
from dunning.values import Channel, MessageGroup

DispatchClaimState = Literal["new", "claimed", "done", "unwelcome", "refused", "said"]
ConsentState = Literal["granted", "revoked"]
ReplyState = Literal["received", "done", "waiting", "answered"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchClaim:
    """The answer to a claim of a message. `claimed`: somebody began to send it, and the end is unknown.

    `unwelcome`: nothing was claimed, for the customer or the address takes no such message; `why` says it.
    `refused`: nothing was claimed; `refusal` says by which limit and until when. `said`: nothing was claimed,
    for the message `said_by` of another case of the customer spoke of this one.
    """

    dispatch_id: str
    state: DispatchClaimState
    fate: str | None = None
    provider_id: str | None = None
    why: str = ""
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
