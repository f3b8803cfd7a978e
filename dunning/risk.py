"""Early warning: which customers may be lost to a failed payment, and by which facts one sees it.

A flag is named, has a weight, and leads to the facts behind it. Weights only add up, so one more flag never
lowers the level. Weights and thresholds are policy (`risk` in the standard one); a flag of weight 0 is off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Literal

from pydantic import Field, model_validator

from dunning.durations import Duration
from dunning.values import Section, Value

Level = Literal["none", "elevated", "high"]
LEVELS: tuple[Level, ...] = ("none", "elevated", "high")

#: What is told of a customer and stands nowhere else in the ledger. `backend` is what the business's own
#: systems post, such as a drop in usage.
SignalKind = Literal["paused", "downgraded", "monthly_after_yearly", "disputed", "backend"]

FlagName = Literal[
    "card_expiring", "prepaid_card", "soft_declines", "failed_recently", "hard_to_recover", "broken_promise",
    "monthly_after_yearly", "paused", "downgraded", "disputed", "unreachable", "backend",
]  # fmt: skip


class Weights(Section):
    """What each flag adds to a customer's score."""

    card_expiring: int = Field(1, ge=0)
    prepaid_card: int = Field(1, ge=0)
    soft_declines: int = Field(1, ge=0)
    failed_recently: int = Field(1, ge=0)
    hard_to_recover: int = Field(2, ge=0)
    broken_promise: int = Field(2, ge=0)
    monthly_after_yearly: int = Field(1, ge=0)
    paused: int = Field(1, ge=0)
    downgraded: int = Field(1, ge=0)
    disputed: int = Field(3, ge=0)
    unreachable: int = Field(1, ge=0)
    backend: int = Field(2, ge=0)


class RiskRules(Section):
    """From facts to a level. `memory`: how long something counts after it happened."""

    memory: Duration = timedelta(days=180)
    expires_within: Duration = timedelta(days=45)
    failed_within: Duration = timedelta(days=60)
    soft_declines: int = Field(3, ge=1)  # so many make a flag
    retries: int = Field(3, ge=1)  # a recovery that took so many was a hard one
    weights: Weights = Weights()
    elevated: int = Field(2, ge=1)
    high: int = Field(4, ge=1)

    @model_validator(mode="after")
    def _high_is_above_elevated(self) -> RiskRules:
        if self.high <= self.elevated:
            raise ValueError("risk.high must be above risk.elevated: one point of score may not be both")
        return self


class PastAttempt(Value):
    """An attempt that was made. `fact` leads to its row in the ledger, here and below."""

    fact: str
    case: str
    at: datetime
    outcome: str | None = None
    decline_class: str | None = None
    funding: str | None = None
    expires_at: datetime | None = None  # the first moment after the card's last valid day


class PastCase(Value):
    """A case of the customer's."""

    fact: str
    opened_at: datetime
    recovered: bool = False


class Said(Value):
    """Something that happened: a broken promise, or a dead channel, which `what` names."""

    fact: str
    at: datetime
    what: str = ""


class Signal(Value):
    """Something that was told of the customer."""

    fact: str
    at: datetime
    kind: SignalKind
    text: str = ""
    until: datetime | None = None  # for as long as who told it says; None: the rules' memory


class History(Value):
    """What the ledger knows of a customer's payments, newest first."""

    attempts: tuple[PastAttempt, ...] = ()
    cases: tuple[PastCase, ...] = ()
    broken_promises: tuple[Said, ...] = ()
    dead_channels: tuple[Said, ...] = ()
    signals: tuple[Signal, ...] = ()


class Flag(Value):
    """A reason to worry, in words, with the facts behind it."""

    name: FlagName
    weight: int
    text: str
    facts: tuple[str, ...]

    @property
    def told(self) -> str:
        """The reason as others are told it: what a system of the business wrote stays in the ledger."""
        return _SIGNALS["backend"] if self.name == "backend" else self.text


class Assessment(Value):
    """A customer's risk at a moment."""

    level: Level = "none"
    score: int = 0
    flags: tuple[Flag, ...] = ()


def assess(history: History, rules: RiskRules, now: datetime) -> Assessment:
    """The flags that a history raises, and the level that they add up to."""
    flags = tuple(flag for rule in _RULES for flag in rule(history, rules, now) if flag.weight)
    return Assessment(level=level_of(flags, rules), score=sum(flag.weight for flag in flags), flags=flags)


def level_of(flags: tuple[Flag, ...], rules: RiskRules) -> Level:
    """The level that flags add up to."""
    score = sum(flag.weight for flag in flags)
    return "high" if score >= rules.high else "elevated" if score >= rules.elevated else "none"


def rises(before: Level | None, after: Level) -> bool:
    """Whether somebody should hear of it."""
    return LEVELS.index(after) > LEVELS.index(before or "none")


def _recent(at: datetime, rules: RiskRules, now: datetime) -> bool:
    return at >= now - rules.memory  # Stripe's clock may be a little ahead of ours


def _card(history: History, rules: RiskRules, now: datetime) -> Iterator[Flag]:
    last = next(iter(history.attempts), None)
    if last is None:
        return
    if last.expires_at is not None and last.expires_at <= now + rules.expires_within:
        ends = "has expired" if last.expires_at <= now else f"expires before {last.expires_at:%d %b %Y}"
        yield Flag(
            name="card_expiring",
            weight=rules.weights.card_expiring,
            text=f"the card {ends}",
            facts=(last.fact,),
        )
    if last.funding == "prepaid":
        weight = rules.weights.prepaid_card
        yield Flag(name="prepaid_card", weight=weight, text="the card is prepaid", facts=(last.fact,))


def _declines(history: History, rules: RiskRules, now: datetime) -> Iterator[Flag]:
    soft = [a for a in history.attempts if a.decline_class == "soft" and _recent(a.at, rules, now)]
    if len(soft) >= rules.soft_declines:
        yield Flag(
            name="soft_declines",
            weight=rules.weights.soft_declines,
            text=f"{len(soft)} soft declines since {soft[-1].at:%d %b %Y}",
            facts=tuple(a.fact for a in soft),
        )


def _failures(history: History, rules: RiskRules, now: datetime) -> Iterator[Flag]:
    last = next(iter(history.cases), None)
    if last is not None and last.opened_at >= now - rules.failed_within:
        yield Flag(
            name="failed_recently",
            weight=rules.weights.failed_recently,
            text=f"the last payment failed on {last.opened_at:%d %b %Y}",
            facts=(last.fact,),
        )
    recovered = next((case for case in history.cases if case.recovered), None)
    if recovered is None or not _recent(recovered.opened_at, rules, now):
        return
    needed = [a for a in history.attempts if a.case == recovered.fact]
    if len(needed) >= rules.retries:
        yield Flag(
            name="hard_to_recover",
            weight=rules.weights.hard_to_recover,
            text=f"the last recovery took {len(needed)} attempts",
            facts=(recovered.fact, *(a.fact for a in needed)),
        )


def _promises(history: History, rules: RiskRules, now: datetime) -> Iterator[Flag]:
    broken = [said for said in history.broken_promises if _recent(said.at, rules, now)]
    if broken:
        yield Flag(
            name="broken_promise",
            weight=rules.weights.broken_promise,
            text=f"{len(broken)} promise{'' if len(broken) == 1 else 's'} to pay not kept",
            facts=tuple(said.fact for said in broken),
        )


def _channels(history: History, rules: RiskRules, now: datetime) -> Iterator[Flag]:
    if history.dead_channels:
        names = ", ".join(sorted({said.what for said in history.dead_channels}))
        yield Flag(
            name="unreachable",
            weight=rules.weights.unreachable,
            text=f"cannot be reached by {names}",
            facts=tuple(said.fact for said in history.dead_channels),
        )


_SIGNALS: dict[SignalKind, str] = {
    "paused": "the subscription was paused",
    "downgraded": "moved to a smaller plan",
    "monthly_after_yearly": "moved from yearly to monthly billing",
    "disputed": "disputed a payment",
    "backend": "a flag of the business's own",
}


def _signals(history: History, rules: RiskRules, now: datetime) -> Iterator[Flag]:
    for told in history.signals:
        if now <= told.until if told.until is not None else _recent(told.at, rules, now):
            yield Flag(
                name=told.kind,
                weight=getattr(rules.weights, told.kind),
                text=told.text or _SIGNALS[told.kind],
                facts=(told.fact,),
            )


Rule = Callable[[History, RiskRules, datetime], Iterator[Flag]]
_RULES: tuple[Rule, ...] = (_card, _declines, _failures, _promises, _channels, _signals)


# --- the review of all customers ----------------------------------------------------------------------


class ReviewOrder(Value):
    """Assess the customers behind this account and customer, so many at once."""

    after: tuple[str, str] = ("", "")
    most: int = 500


class Reviewed(Value):
    """How many were looked at and whose level rose; `after` goes on, None when all were looked at."""

    looked_at: int = 0
    raised: int = 0
    after: tuple[str, str] | None = None
