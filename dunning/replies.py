"""What a customer wrote back: understood by rule where it is plain, else left to a person."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from dunning.yaml_text import read_yaml

ReplyKind = Literal["stop", "start", "help", "paid", "more_time", "wrong_person", "other"]

#: Days that are asked for when the customer names none.
DAYS = 7
#: A longer text says more than one thing, and a person reads it.
MOST_CHARACTERS = 100
#: What gives consent back when it stands alone. Twilio takes YES, too; here that may answer anything.
_START = frozenset({"start", "unstop"})
#: Words that Twilio answers itself on a plain number (twilio.com/docs/messaging/tutorials/advanced-opt-out).
_HELP = frozenset({"help", "info"})
_OPT_OUT_TYPES: dict[str, ReplyKind] = {"STOP": "stop", "START": "start", "HELP": "help"}
_UNDERSTOOD: tuple[Literal["paid", "more_time", "wrong_person"], ...] = ("paid", "more_time", "wrong_person")
_SPACES = re.compile(r"\s+")
_APOSTROPHES = re.compile("['\N{RIGHT SINGLE QUOTATION MARK}]")


class Phrases(BaseModel):
    """The rules of one language (`data/replies.yaml`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    spaced: bool = True
    stop: tuple[str, ...] = Field(min_length=3)
    paid: tuple[str, ...] = Field(min_length=3)
    more_time: tuple[str, ...] = Field(min_length=3)
    wrong_person: tuple[str, ...] = Field(min_length=3)
    no: tuple[str, ...] = Field(min_length=3, alias="not")


@cache
def languages() -> dict[str, Phrases]:
    """The rules of every language, their phrases folded."""
    text = (files("dunning") / "data" / "replies.yaml").read_text(encoding="utf-8")
    known = TypeAdapter(dict[str, Phrases]).validate_python(read_yaml(text))
    kinds = (*_UNDERSTOOD, "stop", "no")
    return {
        name: rules.model_copy(
            update={kind: tuple(sorted(map(fold, getattr(rules, kind)), key=len)) for kind in kinds}
        )
        for name, rules in known.items()
    }


def classify(
    text: str, *, opt_out_type: str | None = None, opt_out: frozenset[str] = frozenset()
) -> ReplyKind:
    """What a reply asks for. `opt_out_type` is Twilio's own reading of it and counts first.

    `opt_out` are the words that mean stop when they stand alone (`dunning.messages.catalogue`). A wish to
    hear no more counts in every language at once, and also when something else is said with it.
    """
    if opt_out_type in _OPT_OUT_TYPES:
        return _OPT_OUT_TYPES[opt_out_type]
    said = fold(text)
    if said in {fold(word) for word in opt_out}:
        return "stop"
    if said in _START:
        return "start"
    if said in _HELP:
        return "help"
    if any(_found(phrase, said, rules.spaced) for rules in languages().values() for phrase in rules.stop):
        return "stop"
    if len(text) > MOST_CHARACTERS:
        return "other"
    meant = set(_meant(said))
    return meant.pop() if len(meant) == 1 else "other"


def everywhere(text: str) -> bool:
    """Whether a stop is meant for every channel that texts, not only the one that it came on."""
    return fold(text) == "stopall"


def _meant(said: str) -> Iterator[ReplyKind]:
    """What each language finds in it; `other` where a negation turns it round."""
    for rules in languages().values():
        for kind in _UNDERSTOOD:
            found = [phrase for phrase in getattr(rules, kind) if _found(phrase, said, rules.spaced)]
            if found:
                rest = _without(found[-1], said, rules.spaced)
                negated = any(_found(word, rest, rules.spaced) for word in rules.no)
                yield "other" if negated else kind


def _found(phrase: str, said: str, spaced: bool) -> bool:
    return f" {phrase} " in f" {said} " if spaced else phrase in said


def _without(phrase: str, said: str, spaced: bool) -> str:
    return f" {said} ".replace(f" {phrase} ", " ") if spaced else said.replace(phrase, "")


@cache
def fold(text: str) -> str:
    """The text without case, accents, punctuation and surplus spaces, as rules are written and compared."""
    plain = unicodedata.normalize("NFKD", _APOSTROPHES.sub("", text))
    kept = (" " if _separates(char) else char for char in plain if not unicodedata.combining(char))
    return _SPACES.sub(" ", "".join(kept)).strip().casefold()


def _separates(char: str) -> bool:
    """Punctuation, symbols and controls; the vowel signs of Thai and Arabic are marks and stay."""
    return unicodedata.category(char)[0] in "PSCZ"
