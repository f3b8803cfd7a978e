"""What a failed payment asks for: every source that speaks about it votes, the strictest wins.

The rules are data (`data/declines.yaml`), with the public source of each section. A failure is described
by up to seven fields of Stripe, which often contradict each other: the bank's decline code, the network's
codes, Stripe's advice. None of them may soften another: an attempt that one of them forbids is not made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from dunning.case import Verdict
from dunning.durations import Duration
from dunning.facts import Failure
from dunning.values import RETRYABLE, DeclineClass
from dunning.yaml_text import read_yaml

#: From soft to strict. A vote moves a verdict to the right only.
STRICTNESS = (
    DeclineClass.TECHNICAL,
    DeclineClass.SOFT,
    DeclineClass.UPDATER,
    DeclineClass.FIX_DATA,
    DeclineClass.AUTHENTICATE,
    DeclineClass.NEW_METHOD,
    DeclineClass.REVOKED,
    DeclineClass.REVIEW,
)

#: The moment of a verdict about an attempt that never was, when the caller names none: before every failure.
NEVER = datetime(1970, 1, 1, tzinfo=UTC)

_TEXT_SECTIONS = ("card_declines", "other_methods", "outcome_reasons", "errors", "bank_debits")
_GENERIC_VISA_CATEGORY = "4"


class Rule(BaseModel):
    """What one code asks for. Without a class it says "not now" and leaves the class to other sources."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cls: DeclineClass | None = Field(None, alias="class")
    unless: tuple[DeclineClass, ...] = ()
    wait: Duration = timedelta()
    max_retries: int | None = Field(None, ge=0, le=8)
    locked: bool = False
    hide_reason: bool = False
    words: str = Field(min_length=3)


class Combination(Rule):
    """What a Mastercard advice and a decline code ask for together."""

    mastercard_advice: str
    code: str


class Rules(NamedTuple):
    """The whole data file. `texts`: every code that Stripe writes as a word, in whichever field."""

    texts: Mapping[str, Rule]
    outcome_reasons: frozenset[str]
    outcome_types: Mapping[str, Rule]
    advice: Mapping[str, Rule]
    mastercard_advice: Mapping[str, Rule]
    together: tuple[Combination, ...]
    visa: Mapping[str, Rule]
    visa_generic: Rule
    nothing_tells: Rule
    unknown: Rule
    never_attempted: Rule
    never_attempted_code: str


class _Vote(NamedTuple):
    """What one field of a failure says. `is_text`: its code is a word that operators know."""

    code: str
    words: str
    rule: Rule
    is_text: bool = False
    is_known: bool = True


@cache
def rules() -> Rules:
    """The rules, read once. Raises ValueError (pydantic's) when the data file is not in order."""
    path = files("dunning") / "data" / "declines.yaml"
    data: dict[str, Any] = read_yaml(path.read_text(encoding="utf-8"))
    never = dict(data["never_attempted"])
    categories = data["visa_categories"]["codes"]
    return Rules(
        texts=_texts(data),
        outcome_reasons=frozenset(data["outcome_reasons"]["codes"]),
        outcome_types=_section(data, "outcome_types"),
        advice=_section(data, "advice"),
        mastercard_advice=_section(data, "mastercard_advice"),
        together=tuple(Combination.model_validate(row) for row in data["together"]),
        visa=_table({code: _visa_row(row, categories) for code, row in data["visa"]["codes"].items()}),
        visa_generic=Rule.model_validate(categories[_GENERIC_VISA_CATEGORY]),
        nothing_tells=Rule.model_validate(data["nothing_tells"]),
        unknown=Rule.model_validate(data["unknown"]),
        never_attempted_code=never.pop("code"),
        never_attempted=Rule.model_validate(never),
    )


def _texts(data: dict[str, Any]) -> Mapping[str, Rule]:
    texts: dict[str, Rule] = {}
    for name in _TEXT_SECTIONS:
        section = _section(data, name)
        if twice := sorted(texts.keys() & section.keys()):
            raise ValueError(f"declines.yaml: {twice[0]} in section {name} stands in an earlier section too")
        texts.update(section)
    return MappingProxyType(texts)


def _section(data: dict[str, Any], name: str) -> Mapping[str, Rule]:
    return _table(data[name]["codes"])


def _table(rows: Mapping[str, Any]) -> Mapping[str, Rule]:
    return MappingProxyType({code: Rule.model_validate(row) for code, row in rows.items()})


def _visa_row(row: dict[str, Any], categories: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A Visa code says what its category says, and what its own row adds or changes."""
    own = dict(row)
    return {**categories[str(own.pop("category"))], **own}


def is_known(code: str) -> bool:
    """Whether the rules know this code: a decline code, outcome reason, advice or error code."""
    known = rules()
    return code in known.texts or code in known.advice or code == known.never_attempted_code


def classify(failure: Failure | None, at: datetime | None = None) -> Verdict:
    """What the failure asks for; pure. `None` means that nothing was attempted: there is no method to charge.

    `at` is the moment (UTC) of a verdict without a failure, else `failure.at` is. A class counts when any
    source names it, the strictest wins (`STRICTNESS`); every ban, wait and bound on retries counts.
    """
    if failure is None:
        return _never_attempted(at or NEVER)
    votes = tuple(_votes(failure))
    cls, decider = _strictest(votes)
    hidden = cls is DeclineClass.REVIEW or any(vote.rule.hide_reason for vote in votes)
    waits = [vote.rule.wait for vote in votes if vote.rule.wait]
    return Verdict(
        cls=cls,
        code=_code(votes, decider),
        at=failure.at,
        not_before=failure.at + max(waits) if waits else None,
        max_retries=_max_retries(votes, cls, decider),
        locked=any(vote.rule.locked for vote in votes),
        hide_reason=hidden,
        identity=failure.method.identity if failure.method else None,
        unknown=not all(vote.is_known for vote in votes),
        words=_words(votes, decider) + (" (never tell the customer)" if hidden else ""),
    )


def _never_attempted(at: datetime) -> Verdict:
    rule = rules().never_attempted
    assert rule.cls is not None
    return Verdict(cls=rule.cls, code=rules().never_attempted_code, at=at, max_retries=0, words=rule.words)


# --- who votes ----------------------------------------------------------------------------------------


def _votes(failure: Failure) -> Iterator[_Vote]:
    """All that is said about the failure, the most telling first."""
    texts = _text_codes(failure)
    for code in texts:
        yield _text_vote(code)
    yield from _outcome_vote(failure, texts)
    if failure.advice_code:
        yield _advice_vote(failure.advice_code)
    yield from _network_votes(failure, texts)


def _text_codes(failure: Failure) -> tuple[str, ...]:
    """Decline code, outcome reason and error code, each once: a refusal by the bank repeats them."""
    given = (failure.decline_code, failure.outcome_reason, failure.code)
    return tuple(dict.fromkeys(code for code in given if code))


def _text_vote(code: str) -> _Vote:
    rule = rules().texts.get(code)
    if rule is None:
        return _unknown(code, f"code {code}", is_text=True)
    return _Vote(code, rule.words, rule, is_text=True)


def _unknown(code: str, name: str, *, is_text: bool = False) -> _Vote:
    rule = rules().unknown
    return _Vote(code, f"unknown {name}: {rule.words}", rule, is_text=is_text, is_known=False)


def _outcome_vote(failure: Failure, texts: tuple[str, ...]) -> Iterator[_Vote]:
    """The outcome's type. That Stripe blocked it says nothing new when a known reason says why."""
    known = rules()
    kind = failure.outcome_type
    if kind == "blocked" and known.outcome_reasons.intersection(texts):
        return
    if kind and (rule := known.outcome_types.get(kind)):
        yield _Vote(kind, rule.words, rule)


def _advice_vote(advice: str) -> _Vote:
    rule = rules().advice.get(advice)
    return _Vote(advice, rule.words, rule) if rule else _unknown(advice, f"advice {advice}")


def _network_votes(failure: Failure, texts: tuple[str, ...]) -> Iterator[_Vote]:
    """The network's own codes. The same digits mean another thing elsewhere, so the brand is needed."""
    known = rules()
    brand = (failure.method.brand or "").lower() if failure.method else ""
    advice, decline = failure.network_advice_code, failure.network_decline_code
    if brand == "mastercard" and advice:
        name = f"Mastercard advice {advice}"
        rule = known.mastercard_advice.get(advice)
        yield _named(f"mastercard_{advice}", name, rule) if rule else _unknown(f"mastercard_{advice}", name)
        for both in known.together:
            if both.mastercard_advice == advice and both.code in texts:
                yield _named(f"mastercard_{advice}", name, both)
    if brand == "visa" and decline:
        rule = known.visa.get(decline.upper(), known.visa_generic)
        yield _named(f"visa_{decline}", f"Visa {decline}", rule)


def _named(code: str, name: str, rule: Rule) -> _Vote:
    return _Vote(code, f"{name}: {rule.words}", rule)


# --- how votes are counted ----------------------------------------------------------------------------


def _strictest(votes: tuple[_Vote, ...]) -> tuple[DeclineClass, _Vote | None]:
    """The class, and the most telling vote for it; none when nobody named a class."""
    named = {vote.rule.cls for vote in votes}
    best: tuple[DeclineClass, _Vote] | None = None
    for vote in votes:
        cls = vote.rule.cls
        if cls is None or named.intersection(vote.rule.unless):
            continue
        if best is None or STRICTNESS.index(cls) > STRICTNESS.index(best[0]):
            best = (cls, vote)
    return best or (rules().nothing_tells.cls or DeclineClass.SOFT, None)


def _max_retries(votes: tuple[_Vote, ...], cls: DeclineClass, decider: _Vote | None) -> int | None:
    if cls not in RETRYABLE:
        return 0
    bounds = [vote.rule.max_retries for vote in votes]
    if decider is None:
        bounds.append(rules().nothing_tells.max_retries)
    if not votes:
        bounds.append(rules().unknown.max_retries)
    return min((bound for bound in bounds if bound is not None), default=None)


def _code(votes: tuple[_Vote, ...], decider: _Vote | None) -> str:
    """The code that decided; a word that operators know goes before a number of the network."""
    if decider is not None and decider.is_text:
        return decider.code
    spoken = next((vote for vote in votes if vote.is_text), decider or next(iter(votes), None))
    return spoken.code if spoken else "unknown"


def _words(votes: tuple[_Vote, ...], decider: _Vote | None) -> str:
    """The reason for an operator: what decided, what the bank called it, and what nobody knows yet."""
    unknown = [vote.words for vote in votes if not vote.is_known]
    first = decider or next((vote for vote in votes if vote.is_known), None)
    if first is None:
        return "; ".join(unknown) or f"failed without any code: {rules().unknown.words}"
    called = next((vote.code for vote in votes if vote.is_text and vote.is_known), None)
    said = first.words if first.is_text or called is None else f"{first.words} (declined as {called})"
    return "; ".join([said, *unknown])
