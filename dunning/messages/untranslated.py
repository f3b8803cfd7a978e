"""Finds words that were left in English in the templates of another language."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from dunning.messages.catalogue import Words
from dunning.messages.locales import DEFAULT
from dunning.money import parse_locale

_TAG = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)

#: What is compared. Names of card brands are the same everywhere, and the lists of words are no texts.
_TEXTS = {"phrases", "counts", "footer", "reasons", "messages"}


def untranslated(words: Words, english: Words) -> Iterator[str]:
    """The texts of `words`, with their places, that are as in English or hold a piece of it."""
    if parse_locale(words.language).language == DEFAULT:
        return
    known = dict(_texts(english))
    pieces = {piece for text in known.values() for piece in _pieces(text) if " " in piece}
    for place, text in _texts(words):
        said = _pieces(text)
        if said and text == known.get(place):
            yield f"{place} is as in English: translate it"
        elif left := next((piece for piece in said if piece in pieces), None):
            yield f"{place} says {left!r} as in English: translate it"


def _texts(words: Words) -> Iterator[tuple[str, str]]:
    return _leaves(words.model_dump(include=_TEXTS), "")


def _leaves(node: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, str):
        yield place, node
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(value, f"{place}.{key}" if place else str(key))
    else:
        for number, value in enumerate(node, start=1):
            yield from _leaves(value, f"{place}[{number}]")


def _pieces(text: str) -> list[str]:
    """The literal text between Jinja's tags, without what stands around its words."""
    pieces = (piece.strip(" \n\t.,:;!?-–()'\"") for piece in _TAG.split(text))
    return [piece for piece in pieces if any(char.isalpha() for char in piece)]
