"""A policy: what a business decided about retries, words, grace, suspension and the end.

A policy is a YAML file that people review. It is validated as a whole, and refused with the line, the
field and what to write instead. A running case keeps the policy it was opened with.
"""

from __future__ import annotations

import hashlib
from datetime import time, timedelta
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import to_json

from dunning.durations import Duration, write_duration
from dunning.messages import TEMPLATES
from dunning.policy_sections import (
    AccessLadder,
    CustomerPage,
    FinalAction,
    Grace,
    Holds,
    Human,
    Name,
    Promises,
    Renewals,
    Suspension,
    WholeDays,
)
from dunning.risk import RiskRules
from dunning.values import Channel, MessageGroup, Section, reason_of
from dunning.yaml_text import read_nodes

_DAY = timedelta(days=1)


class PolicyError(ValueError):
    """A policy that cannot be used; the text names file, line, field and remedy, one problem a line."""


S = TypeVar("S", bound=Section)


def known_zone(name: str) -> str:
    """The name of a time zone of the tz database. Raises ValueError for any other text."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError) as error:
        raise ValueError(f"{name!r} is not a time zone: write a name such as Europe/Berlin or UTC") from error
    return name


def _ascending(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if list(values) != sorted(values):
        raise ValueError(f"{', '.join(write_duration(v) for v in values)}: write the times in rising order")
    return values


Ladder = Annotated[tuple[Duration, ...], AfterValidator(_ascending)]
PolicyName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
TimeZoneName = Annotated[str, AfterValidator(known_zone)]


def _some(channels: tuple[Channel, ...]) -> tuple[Channel, ...]:
    if not channels:
        raise ValueError("name at least one channel: email, sms or whatsapp")
    return channels


Channels = Annotated[tuple[Channel, ...], AfterValidator(_some)]


def _known_template(name: str) -> str:
    if name not in TEMPLATES:
        raise ValueError(f"{name!r} is not a message: write one of {', '.join(sorted(TEMPLATES))}")
    return name


Template = Annotated[str, AfterValidator(_known_template)]


ContentSid = Annotated[str, Field(pattern=r"^HX[0-9a-f]{32}$")]


class Retries(Section):
    """When the engine charges again. Ladders: see the standard policy."""

    owner: Literal["engine", "stripe", "shared"] = "engine"
    paydays: bool = False
    max: int = Field(8, ge=0, le=15)
    min_gap: Duration
    soft: Ladder
    technical: Ladder
    updater: Ladder
    last_morning: time | None = None
    backup_methods: Literal["never", "consented"] = "never"


class BeforeGrace(Section):
    """A message between the first failure and the start of grace; both times since the first failure."""

    step: Name
    template: Template
    retryable: Duration
    customer: Duration
    channels: Channels
    group: MessageGroup = "critical"


class InGrace(Section):
    """A message of the grace period, after its start or before its last day ends."""

    step: Name
    template: Template
    after_start: Duration | None = None
    before_end: Duration | None = None
    channels: Channels
    group: MessageGroup = "critical"

    @model_validator(mode="after")
    def _one_anchor(self) -> InGrace:
        if (self.after_start is None) == (self.before_end is None):
            raise ValueError(f"step {self.step}: write either after_start or before_end")
        return self


class AnswerMessage(Section):
    """A message that answers something that happened."""

    template: Template
    channels: Channels
    group: MessageGroup = "critical"


class Answers(Section):
    """Messages that answer what happened; leave one out and it is not sent."""

    recovered: AnswerMessage | None = None
    restored: AnswerMessage | None = None
    suspended: AnswerMessage | None = None
    written_off: AnswerMessage | None = None
    extension_granted: AnswerMessage | None = None
    extension_requested: AnswerMessage | None = None
    extension_denied: AnswerMessage | None = None
    promise_made: AnswerMessage | None = None
    promise_broken: AnswerMessage | None = None
    new_link: AnswerMessage | None = None
    paused_by_customer: AnswerMessage | None = None
    canceled_by_customer: AnswerMessage | None = None


class QuietHours(Section):
    """The hours of the customer's day in which a channel may be used."""

    channels: tuple[Channel, ...]
    opens: time = Field(alias="from")
    closes: time = Field(alias="until")
    sundays: bool = False
    holidays: bool = True  # public holidays are days like others

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    @model_validator(mode="after")
    def _opens_before_it_closes(self) -> QuietHours:
        if self.opens >= self.closes:
            raise ValueError("quiet_hours: `from` must be earlier in the day than `until`")
        return self


class ContactLimits(Section):
    """How often a customer may be written to, over all of their cases; WhatsApp counts like SMS."""

    sms_per_day: int = Field(ge=1)
    sms_per_7_days: int = Field(ge=1)
    contacts_per_7_days: int = Field(ge=1)


class Messages(Section):
    """Which message, when, on which channels."""

    before_grace: tuple[BeforeGrace, ...] = ()
    grace: tuple[InGrace, ...] = ()
    answers: Answers = Answers()
    quiet_hours: QuietHours
    limits: ContactLimits | None = None  # None: no limit
    merge: bool = False  # one message speaks of all open invoices of a customer
    failover: tuple[Channel, ...] = ()  # tried in this order for a step none of whose channels is alive
    # The approved templates of WhatsApp: by message and locale Twilio's content_sid.
    whatsapp: dict[Template, dict[str, ContentSid]] = {}

    @model_validator(mode="after")
    def _steps_are_unique(self) -> Messages:
        names = [*(m.step for m in self.before_grace), *(m.step for m in self.grace)]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"step {twice[0]} stands twice: every step needs a name of its own")
        return self

    @model_validator(mode="after")
    def _whatsapp_has_templates(self) -> Messages:
        answers = [answer for name in Answers.model_fields if (answer := getattr(self.answers, name))]
        for message in (*self.before_grace, *self.grace, *answers):
            if Channel.WHATSAPP in message.channels and not self.whatsapp.get(message.template):
                raise ValueError(
                    f"{message.template} goes out by WhatsApp, which takes approved templates only: name its "
                    f"content_sid by locale under messages.whatsapp.{message.template}, or leave whatsapp out"
                )
        return self


class ExpiryMessage(Section):
    """A message about a card that expires before its charge; the time counts back from the charge."""

    step: Name
    template: Template
    before_charge: Duration
    channels: Channels


class CardExpiry(Section):
    """Cards that will be charged after their last valid day."""

    watch: Duration  # a case is opened so long before the charge
    counts_for: Duration  # if the charge fails, a message this young was its first notice
    messages: tuple[ExpiryMessage, ...]

    @model_validator(mode="after")
    def _in_order_and_in_time(self) -> CardExpiry:
        times = [message.before_charge for message in self.messages]
        if times != sorted(times, reverse=True):
            raise ValueError("card_expiry.messages: write the earliest first, the longest before_charge")
        if times and times[0] > self.watch:
            raise ValueError(
                "card_expiry.watch is shorter than the first message's before_charge: lengthen it"
            )
        names = [message.step for message in self.messages]
        if len(set(names)) < len(names):
            raise ValueError("card_expiry.messages: every step needs a name of its own")
        return self


class SentReminder(Section):
    """A message about an invoice that is sent, before or after its due date."""

    step: Name
    template: Template
    before_due: Duration | None = None
    after_due: Duration | None = None
    channels: Channels

    @model_validator(mode="after")
    def _one_side(self) -> SentReminder:
        if (self.before_due is None) == (self.after_due is None):
            raise ValueError(f"step {self.step}: write either before_due or after_due")
        return self


class SentInvoices(Section):
    """Invoices that are sent instead of charged. Grace starts so long after the due date."""

    reminders: tuple[SentReminder, ...]
    grace_after: Duration


class Imports(Section):
    """Failed invoices that nobody announced: found by a reconciliation, or there before the engine."""

    too_old: WholeDays = timedelta(days=60)  # made longer ago: listed, never opened


class Policy(Section):
    """A whole policy. See `dunning/policies/standard.yaml`, which documents every field."""

    name: PolicyName
    description: str = ""
    shadow: bool = False
    timezone: TimeZoneName = "UTC"
    retries: Retries
    messages: Messages
    grace: Grace
    promises: Promises = Promises()
    page: CustomerPage = CustomerPage()
    holds: Holds
    access: AccessLadder = AccessLadder()
    suspension: Suspension
    final_action: FinalAction
    human: Human
    imports: Imports = Imports()
    sent_invoices: SentInvoices | None = None  # None: they are not dunned
    risk: RiskRules = RiskRules()
    card_expiry: CardExpiry | None = None  # None: nobody is told that a card will expire
    renewals: Renewals | None = None  # None: nobody is reminded before a renewal

    @model_validator(mode="after")
    def _notice_can_be_given(self) -> Policy:
        if self.grace.length < self.suspension.notice:
            raise ValueError(
                "grace.length is shorter than suspension.notice: nobody could be told in time; lengthen grace"
            )
        if not self.messages.grace:
            raise ValueError("messages.grace is empty: no message would name the last day; add a step")
        return self

    @model_validator(mode="after")
    def _steps_have_one_meaning(self) -> Policy:
        known = {m.step for m in self.messages.before_grace} | {m.step for m in self.messages.grace}
        for reminder in self.sent_invoices.reminders if self.sent_invoices else ():
            if reminder.step in known:
                raise ValueError(f"step {reminder.step} stands twice: every step needs a name of its own")
            known.add(reminder.step)
        return self

    @cached_property
    def version(self) -> str:
        """Twelve hex digits that change whenever the policy's meaning changes."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]


@lru_cache(maxsize=256)
def _snapshot(written: bytes) -> Policy:
    return Policy.model_validate_json(written)


def _shared(value: Any) -> Any:
    """A policy that was read before is the same object: thousands of open cases keep one copy of it."""
    return _snapshot(to_json(value)) if isinstance(value, dict) else value


#: A policy as a case carries it.
PolicySnapshot = Annotated[Policy, BeforeValidator(_shared)]


def parse_policy(text: str, where: str) -> Policy:
    """Read a policy from YAML. Raises PolicyError with one line for each problem found."""
    return parse_yaml(Policy, text, where, "name")


def parse_yaml(model: type[S], text: str, where: str, begins: str) -> S:
    """Read a file that starts with the key `begins`. Raises PolicyError with one line for each problem."""
    try:
        data, node = read_nodes(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise PolicyError(f"{where}:{line}: this is not YAML: {getattr(error, 'problem', error)}") from error
    if not isinstance(data, dict):
        raise PolicyError(f"{where}:1: this is a mapping that starts with `{begins}:`")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise PolicyError("\n".join(_explain(e, node, where) for e in error.errors())) from error


def _explain(error: Any, node: yaml.Node | None, where: str) -> str:
    path = [part for part in error["loc"] if isinstance(part, str | int)]
    field = ".".join(str(part) for part in path) or "policy"
    text = reason_of(error)
    if error["type"] == "missing":
        text = "is missing: add it (the standard policy shows how)"
    elif error["type"] == "extra_forbidden":
        text = "is not a field of a policy: remove it or mend its spelling"
    return f"{where}:{_line(node, path)}: {field}: {text}"


def _line(node: yaml.Node | None, path: list[Any]) -> int:
    """The line where the value of `path` starts, or the nearest parent that exists."""
    line = node.start_mark.line + 1 if node is not None else 1
    for part in path:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == part), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line
