"""What the HTTP API takes and gives: the schemas of its OpenAPI document, with examples."""

from __future__ import annotations

from datetime import date, datetime
from functools import cache
from typing import Annotated, Any, Literal

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field

from dunning.levers import LEVERS
from dunning.values import Channel, Outcome, RecoveredVia, Stage, WaitingOn

_ID = r"^[A-Za-z0-9_-]+$"
InvoiceId = Annotated[
    str,
    Path(pattern=r"^in_[A-Za-z0-9_]+$", max_length=255, description="Stripe's id", examples=["in_1PgafmB7"]),
]
PolicyName = Annotated[str, Path(pattern=_ID, max_length=40, description="A policy", examples=["standard"])]
Id = Annotated[str, Field(pattern=_ID, max_length=255)]
Account = Annotated[
    str,
    Query(pattern=r"^(acct_[A-Za-z0-9_]+)?$", max_length=255, description="A Stripe Connect account"),
]


class StartBody(BaseModel):
    """An invoice to open a case for; its id is enough."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"invoice_id": "in_1PgafmB7", "policy": "standard"}]}
    )

    invoice_id: str = Field(pattern=r"^in_[A-Za-z0-9_]+$", max_length=255)
    policy: str | None = Field(default=None, pattern=_ID, max_length=40)
    account: str | None = Field(default=None, pattern=r"^acct_[A-Za-z0-9_]+$", max_length=255)
    reopen: bool = False


class Filters(BaseModel):
    """What the list of cases is filtered by; `cursor` continues a list."""

    model_config = ConfigDict(extra="forbid")

    account: Id | None = None
    customer: Id | None = None
    subscription: Id | None = None
    stage: Stage | None = None
    needs_human: bool | None = None
    policy: Id | None = None
    open: bool = False
    limit: Annotated[int, Query(ge=1, le=200)] = 50
    cursor: Annotated[str | None, Query(max_length=1000)] = None


class Started(BaseModel):
    """The case that was opened or found."""

    invoice_id: str
    workflow_id: str
    run_id: str | None


class CaseView(BaseModel):
    """A case as the ledger shows it. Amounts in minor units of `currency`, times in UTC."""

    model_config = ConfigDict(from_attributes=True)

    invoice_id: str
    account: str
    episode: int
    workflow_id: str
    stage: Stage
    waiting_on: WaitingOn | None
    outcome: Outcome | None
    recovered_via: RecoveredVia | None
    customer: str
    subscription: str | None
    amount: int
    amount_remaining: int
    currency: str
    policy_name: str
    policy_version: str
    decline_code: str | None
    decline_class: str | None
    access: str | None
    needs_human: bool
    asks: str
    asks_whom: str | None
    asks_until: datetime | None
    halted: bool
    opened_at: datetime
    next_at: datetime | None
    next_what: str
    grace_starts_at: datetime | None
    last_day: date | None
    zone: str | None
    closed_at: datetime | None
    closed_reason: str


class MessageView(BaseModel):
    """A message with its fate: the furthest that the provider told, else what the sender recorded."""

    step: str
    channel: Channel
    at: datetime
    fate: str
    heard_at: datetime | None
    detail: str


class CaseWithMessages(CaseView):
    """A case, and what became of its messages."""

    messages: list[MessageView]


class CaseList(BaseModel):
    """A page of cases, newest first. `cursor` is that of the next page, if there is one."""

    cases: list[CaseView]
    cursor: str | None


class EntryView(BaseModel):
    """A line of a timeline: what happened, when, by whom, and why."""

    at: datetime
    what: str
    text: str
    by: str
    data: dict[str, Any]


class TimelineView(BaseModel):
    """A case's timeline, oldest first."""

    case_id: str
    entries: list[EntryView]


class StepView(BaseModel):
    """A step to come."""

    at: datetime
    what: str
    reason: str


class ForecastView(BaseModel):
    """What will happen if nothing changes; empty for a closed case."""

    case_id: str
    steps: list[StepView]


class DifferenceView(BaseModel):
    """What another policy would change: steps that would not come any more, and those that would instead."""

    policy: str
    gone: list[StepView]
    new: list[StepView]


CustomerId = Annotated[
    str,
    Path(pattern=r"^cus_[A-Za-z0-9_]+$", max_length=255, description="Stripe's id", examples=["cus_9s6XKz"]),
]


class StatementBody(BaseModel):
    """What a customer wants, as somebody heard it. The key says who it is: `by` may be left out."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"channel": "sms", "state": "revoked", "reason": "on the phone", "by": "maria"}]
        },
    )

    channel: Literal["email", "sms", "whatsapp", "all", "reminders"] = Field(
        description="`reminders` are the optional e-mails alone"
    )
    state: Literal["granted", "revoked"]
    reason: str = Field(min_length=1, max_length=500)
    by: str | None = Field(default=None, max_length=100)


class StatementView(BaseModel):
    """One statement about a channel: where it was made, by whom, and in which words."""

    channel: Channel
    group: str
    state: str
    source: str
    at: datetime
    by: str
    text: str


class ConsentsView(BaseModel):
    """What counts now, by channel, where something was said. `dead`: why an address takes nothing."""

    customer: str
    account: str
    channels: dict[Channel, str]
    reminders: bool
    dead: dict[Channel, str]
    history: list[StatementView]


class LeverAnswer(BaseModel):
    """What the case answered."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"accepted": True, "text": "granted: the last day is Thu 24 Dec"}]}
    )

    accepted: bool
    text: str


class ErrorBody(BaseModel):
    """What went wrong: a code for programs, a sentence for people, the field at fault."""

    code: str
    message: str
    param: str | None


class ErrorAnswer(BaseModel):
    """Every error of the API."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"error": {"code": "case_not_found", "message": "there is no case of in_1", "param": None}}
            ]
        }
    )

    error: ErrorBody


_MEANINGS = {
    400: "the request cannot be read",
    401: "no usable API key",
    403: "the key's scope, or the place of the caller, does not allow it",
    404: "there is no such case",
    409: "the case is closed, or refuses, or the idempotency key was used for another request",
    413: "the body is too large",
    422: "a field cannot be used; `param` names it",
    429: "too many requests; see Retry-After",
    503: "Temporal, a worker or the ledger does not answer; see Retry-After",
}


_ERROR = {"$ref": f"#/components/schemas/{ErrorAnswer.__name__}"}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The documented errors of a route: those of every route, and these."""
    common = (400, 401, 403, 413, 422, 429, 503)
    found: dict[int | str, dict[str, Any]] = {
        status: {"content": {"application/json": {"schema": _ERROR}}, "description": _MEANINGS[status]}
        for status in sorted({*common, *statuses})
    }
    # One names the model, so that it is among the schemas; to build it for each of them takes half the start.
    found[400] = {"model": ErrorAnswer, "description": _MEANINGS[400]}
    return found


#: One payload for each lever, as the documentation shows it.
EXAMPLES: dict[str, dict[str, Any]] = {
    "grant_extension": {"days": 7, "reason": "salary comes on Friday", "by": "maria"},
    "request_extension": {"days": 7, "reason": "on the phone", "by": "customer"},
    "deny_extension": {"reason": "third request", "by": "maria"},
    "promise_to_pay": {"on": "2026-12-24", "by": "customer"},
    "hold": {"reason": "outage", "until": "2026-12-24", "by": "maria"},
    "release": {"by": "maria"},
    "pause": {"by": "customer"},
    "cancel": {"by": "customer"},
    "send_link": {"by": "maria"},
    "retry_now": {"by": "maria"},
    "suspend_now": {"reason": "asked for by the customer", "by": "maria"},
    "restore_now": {"reason": "our mistake", "by": "maria"},
    "set_policy": {"name": "standard", "by": "maria"},
    "add_note": {"text": "calls back on Friday", "by": "maria"},
    "stop": {"outcome": "stopped", "reason": "paid in cash", "by": "maria"},
}


@cache
def lever_body(lever: str) -> dict[str, Any]:
    """The OpenAPI description of a lever's payload. The key says who it is: `by` may be left out."""
    schema = LEVERS[lever][0].model_json_schema()
    schema["required"] = [name for name in schema.get("required", []) if name != "by"]
    content = {"schema": schema, "example": EXAMPLES[lever]}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}
