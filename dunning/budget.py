"""Whether a charge may be made: what networks, schemes and this engine's caution allow a payment method.

Pure. The rules are dated data (`data/network_limits.yaml`), each with its public source. The caller brings
every attempt of the payment method that it knows of, whichever invoice it was for and whoever made it
(Stripe's own count too), but not the one that is planned. It must read them and write the new one in a single
transaction: two callers that look at the same past are both granted the same slot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from dunning.durations import Duration
from dunning.values import DeclineClass, Value
from dunning.yaml_text import read_yaml

Lock = Literal["card", "expiry"]

_FOREVER = datetime.max.replace(tzinfo=UTC)


class PastAttempt(Value):
    """A charge that was tried. `amount` in minor units; `expiry` as "2029-04"; `at` when it was sent.

    `lock`: "card" when the answer forbids this card for good (Mastercard advice 03, 21, 41, Visa category 1),
    "expiry" when it declined the card as expired. `pending`: reserved, and the answer is not known yet.
    """

    at: AwareDatetime
    fingerprint: str | None
    expiry: str | None = None
    brand: str | None = None
    amount: int
    currency: str
    succeeded: bool
    reached_network: bool
    cls: DeclineClass | None = None
    lock: Lock | None = None
    invoice_id: str
    pending: bool = False


class Planned(Value):
    """A charge somebody wants to make at `at`. `scheme` is Stripe's type of the payment method.

    `customer_present`: the customer takes part in it. Visa counts such attempts apart (Checkout.com, retry
    notice of March 2026); here they count like the others, and may go one beyond what is only caution.
    """

    at: AwareDatetime
    fingerprint: str | None
    expiry: str | None = None
    brand: str | None = None
    funding: str | None = None
    country: str | None = None
    amount: int
    currency: str
    scheme: str = "card"
    invoice_id: str
    customer_present: bool = False


class Slot(Value):
    """The answer. `until`: the earliest moment at which a slot is free, as far as is known now.

    It is None when this payment method can never be charged (again) for this invoice in this way, and the
    planned moment when the slot is granted. `reason` names rule, count and window in operators' words.
    """

    granted: bool
    until: datetime | None
    reason: str
    rule: str


# --- the rules as data --------------------------------------------------------------------------------


class _Row(BaseModel):
    """A row of the data file. `valid_from` and `valid_to` are its first and last day."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    words: str = Field(min_length=2)
    source: str = Field(min_length=5)
    valid_from: date | None = None
    valid_to: date | None = None

    def holds(self, day: date) -> bool:
        return (self.valid_from is None or self.valid_from <= day) and (
            self.valid_to is None or day <= self.valid_to
        )


class WindowRule(_Row):
    """At most `cap` (and never more than `limit`) failed attempts in a rolling window."""

    name: str
    brands: tuple[str, ...] = ()
    except_brands: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    per: Literal["card", "card_amount"]
    counts: Literal["failures", "judged", "technical"]
    limit: int | None = Field(None, ge=1)
    cap: int = Field(ge=1)
    window: Duration

    @model_validator(mode="after")
    def _cap_within_limit(self) -> Self:
        if self.limit is not None and self.cap > self.limit:
            raise ValueError(f"{self.name}: the cap of {self.cap} is more than the limit of {self.limit}")
        return self

    def concerns(self, planned: Planned) -> bool:
        """Whether the rule binds this payment method."""
        brand = (planned.brand or "").lower()
        if (self.brands and brand not in self.brands) or brand in self.except_brands:
            return False
        return not self.countries or (planned.country or "").upper() in self.countries

    def groups(self, attempt: PastAttempt, planned: Planned) -> bool:
        """Whether the rule counts the two together; they are known to be of one payment method."""
        same_amount = (attempt.amount, attempt.currency.lower()) == (planned.amount, planned.currency.lower())
        return self.per == "card" or same_amount

    def counted(self, attempt: PastAttempt) -> bool:
        """Whether the attempt uses up a slot of the rule. Without a class it counts as refused."""
        if attempt.succeeded or self.counts == "failures":
            return not attempt.succeeded
        return (attempt.cls is DeclineClass.TECHNICAL) == (self.counts == "technical")


class DebitRule(_Row):
    """How often, and until when, a failed bank debit of one invoice may be presented again."""

    scheme: str
    limit: int = Field(ge=0)
    cap: int = Field(ge=0)
    within: Duration


class AbsentNever(_Row):
    """A kind of payment method that is charged only when the customer takes part."""

    name: str
    scheme: str
    country: str


class LockRule(_Row):
    """The words for what an earlier answer forbids for good."""


class InFlight(BaseModel):
    """How long an attempt without an answer holds the next one with the same card."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    wait: Duration
    words: str


class Limits(BaseModel):
    """The rules that hold on one day."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    windows: tuple[WindowRule, ...]
    debits: tuple[DebitRule, ...]
    absent_never: tuple[AbsentNever, ...]
    locks: dict[Lock, LockRule]
    in_flight: InFlight


@lru_cache(maxsize=1)
def _all_limits() -> Limits:
    path = files("dunning") / "data" / "network_limits.yaml"
    data: dict[str, Any] = read_yaml(path.read_text(encoding="utf-8"))
    return Limits.model_validate(data)


@lru_cache(maxsize=64)
def limits_at(day: date) -> Limits:
    """The rules that hold on `day` (UTC). Raises ValueError (pydantic's) if the data file is not in order."""
    every = _all_limits()
    return Limits(
        windows=tuple(rule for rule in every.windows if rule.holds(day)),
        debits=tuple(rule for rule in every.debits if rule.holds(day)),
        absent_never=tuple(rule for rule in every.absent_never if rule.holds(day)),
        locks={lock: rule for lock, rule in every.locks.items() if rule.holds(day)},
        in_flight=every.in_flight,
    )


# --- the answer ---------------------------------------------------------------------------------------


def check(planned: Planned, past: Sequence[PastAttempt], limits: Limits) -> Slot:
    """Whether `planned` may be made, given everything that was tried; if not, from when on, and why.

    Attempts with another payment method, and such that never reached a network, count for nothing. A refusal
    for good goes before one that time lifts, and the latest of these before the others.
    """
    mine = [a for a in past if (a.reached_network or a.pending) and _same_method(a, planned)]
    refusals = [
        *_locked(planned, mine, limits),
        *_only_present(planned, limits),
        *_presented(planned, mine, limits),
        *_waiting(planned, mine, limits),
        *_windows(planned, mine, limits),
    ]
    if not refusals:
        return _granted(planned, mine, limits)
    return max(refusals, key=lambda slot: slot.until or _FOREVER)


def _same_method(attempt: PastAttempt, planned: Planned) -> bool:
    """One fingerprint is one card or account. Without any, an invoice's attempts belong together."""
    if attempt.fingerprint is None and planned.fingerprint is None:
        return attempt.invoice_id == planned.invoice_id
    return attempt.fingerprint == planned.fingerprint


def _refused(rule: str, reason: str, until: datetime | None = None) -> Slot:
    free = f"; free again on {_moment(until)}" if until else ""
    return Slot(granted=False, until=until, reason=reason + free, rule=rule)


def _locked(planned: Planned, mine: list[PastAttempt], limits: Limits) -> Iterator[Slot]:
    for lock, rule in limits.locks.items():
        if since := [a.at for a in mine if a.lock == lock and _holds(lock, a, planned)]:
            yield _refused(f"lock_{lock}", f"{rule.words} (since {_moment(min(since))})")


def _holds(lock: Lock, attempt: PastAttempt, planned: Planned) -> bool:
    """An expiry lock opens by an expiry that is known to be another one."""
    if lock == "card" or attempt.expiry is None or planned.expiry is None:
        return True
    return attempt.expiry == planned.expiry


def _only_present(planned: Planned, limits: Limits) -> Iterator[Slot]:
    for rule in limits.absent_never:
        named = (rule.scheme, rule.country) == (planned.scheme, (planned.country or "").upper())
        if named and not planned.customer_present:
            yield _refused(rule.name, rule.words)


def _presented(planned: Planned, mine: list[PastAttempt], limits: Limits) -> Iterator[Slot]:
    """Bank debits: the first entry of the invoice to the account, and how often it was presented again."""
    entries = [a.at for a in mine if a.invoice_id == planned.invoice_id]
    for rule in limits.debits:
        if rule.scheme != planned.scheme or not entries:
            continue
        allowed, again = _allowed(rule.cap, rule.limit, planned), len(entries) - 1
        if again >= allowed:
            counted = f"presented again {again} of {allowed} times in {_span(rule.within)} for this invoice"
            yield _refused(rule.scheme, f"{rule.words}: {counted}; no more with this account")
        elif planned.at > min(entries) + rule.within:
            late = f"more than {_span(rule.within)} after the first debit of this invoice"
            yield _refused(rule.scheme, f"{rule.words}: {late}; no more with this account")


def _waiting(planned: Planned, mine: list[PastAttempt], limits: Limits) -> Iterator[Slot]:
    rule = limits.in_flight
    if waits := [a.at + rule.wait for a in mine if _in_flight(a, planned, limits)]:
        yield _refused("in_flight", rule.words, max(waits))


def _in_flight(attempt: PastAttempt, planned: Planned, limits: Limits) -> bool:
    return attempt.pending and planned.at < attempt.at + limits.in_flight.wait


def _windows(planned: Planned, mine: list[PastAttempt], limits: Limits) -> Iterator[Slot]:
    for rule in limits.windows:
        if not rule.concerns(planned):
            continue
        failed, since_success = _counted(rule, planned, mine, limits)
        allowed = _allowed(rule.cap, rule.limit, planned)
        until = _free_at(since_success, allowed, rule.window)
        if until > planned.at:
            counted = _within(since_success, planned.at, rule.window)
            yield _refused(rule.name, _tally(rule, counted, allowed), until)
        if rule.limit is not None and (until := _free_at(failed, rule.limit, rule.window)) > planned.at:
            counted = _within(failed, planned.at, rule.window)
            yield _refused(rule.name, _tally(rule, counted, rule.limit), until)


def _counted(
    rule: WindowRule, planned: Planned, mine: list[PastAttempt], limits: Limits
) -> tuple[list[datetime], list[datetime]]:
    """When the attempts failed that use up the rule's slots: all of them, and those since the last success.

    What is in flight takes a slot of every network rule, but does not pass for a refusal of the bank yet; nor
    does a refusal of the old expiry keep the new one waiting.
    """
    group = [a for a in mine if rule.groups(a, planned)]
    success = max((a.at for a in group if a.succeeded), default=None)
    failed = [
        a.at
        for a in group
        if rule.counted(a) and (rule.counts == "failures" or not _is_moot(a, planned, limits))
    ]
    return failed, [at for at in failed if success is None or at >= success]


def _is_moot(attempt: PastAttempt, planned: Planned, limits: Limits) -> bool:
    renewed = attempt.lock == "expiry" and not _holds("expiry", attempt, planned)
    return renewed or _in_flight(attempt, planned, limits)


def _allowed(cap: int, limit: int | None, planned: Planned) -> int:
    allowed = cap + 1 if planned.customer_present else cap
    return allowed if limit is None else min(allowed, limit)


def _free_at(moments: list[datetime], allowed: int, window: timedelta) -> datetime:
    """From when on fewer than `allowed` of the moments lie within the window that ends there."""
    if len(moments) < allowed:
        return datetime.min.replace(tzinfo=UTC)
    return sorted(moments)[-allowed] + window


def _within(moments: list[datetime], at: datetime, window: timedelta) -> int:
    return sum(1 for moment in moments if moment > at - window)


def _granted(planned: Planned, mine: list[PastAttempt], limits: Limits) -> Slot:
    """The slot, with the count of the rule that has the most to count."""
    tallies = [
        (_within(_counted(rule, planned, mine, limits)[1], planned.at, rule.window), rule)
        for rule in limits.windows
        if rule.concerns(planned)
    ]
    if not tallies:
        words = "no rule counts attempts with this payment method"
        return Slot(granted=True, until=planned.at, reason=words, rule="none")
    counted, rule = max(tallies, key=lambda tally: tally[0])  # the first of equals: the network's own
    words = _tally(rule, counted, _allowed(rule.cap, rule.limit, planned))
    return Slot(granted=True, until=planned.at, reason=words, rule=rule.name)


# --- words --------------------------------------------------------------------------------------------


def _tally(rule: WindowRule, counted: int, allowed: int) -> str:
    network = "" if rule.limit in (None, allowed) else f" (the network allows {rule.limit})"
    return f"{rule.words}: {counted} of {allowed} in {_span(rule.window)}{network}"


def _span(window: timedelta) -> str:
    hours = int(window.total_seconds() // 3600)
    return f"{hours // 24} days" if hours > 24 else f"{hours} hours"


def _moment(at: datetime) -> str:
    local = at.astimezone(UTC)
    return f"{local:%a} {local.day} {local:%b %Y %H:%M} UTC"
