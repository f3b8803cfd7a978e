"""The text of an SMS: kept in the GSM-7 alphabet where it can be, and counted in segments.

One character outside GSM-7 turns a whole message into UCS-2 and halves what fits. Source: 3GPP TS 23.038
(alphabet), TS 23.040 (concatenation); twilio.com/docs/glossary/what-sms-character-limit.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Set as AbstractSet
from functools import lru_cache

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = frozenset("\f^{}\\[~]|€")  # two septets each, which no segment boundary may part
_ALPHABET = _BASIC | _EXTENDED

_LOOKS_LIKE = str.maketrans(
    {
        **dict.fromkeys((0x00A0, *range(0x2000, 0x200B), 0x202F, 0x205F), " "),
        **dict.fromkeys("‘’‚‛′´`", "'"),
        **dict.fromkeys("“”„‟″«»", '"'),
        **dict.fromkeys("‐‑‒–—―−", "-"),
        **dict.fromkeys((0x00AD, *range(0x200B, 0x2010), 0x2060, *range(0x2066, 0x206A), 0xFEFF)),
        "…": "...",
        "•": "-",
    }
)  # fmt: skip
_LETTERS = str.maketrans({"ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ı": "i", "œ": "oe", "Œ": "OE", "þ": "th"})


def is_gsm7(text: str) -> bool:
    """Whether every character is in the GSM-7 alphabet or its extension."""
    return _ALPHABET.issuperset(text)


def normalise(text: str) -> str:
    """The text in GSM-7, if look-alikes and letters without their accents make that possible.

    If not (another script), it stays what it was, with plain spaces, quotes and dashes: accents are dropped
    only where that buys the shorter encoding.
    """
    plain = unicodedata.normalize("NFC", text).translate(_LOOKS_LIKE)
    if is_gsm7(plain):
        return plain
    bare = {ord(char): _without_accents(char) for char in set(plain) - _ALPHABET}
    return plain.translate(bare) if all(map(is_gsm7, bare.values())) else plain


@lru_cache(maxsize=1024)
def _without_accents(char: str) -> str:
    decomposed = unicodedata.normalize("NFD", char.translate(_LETTERS))
    return "".join(part for part in decomposed if not unicodedata.combining(part))


def segments(text: str) -> int:
    """How many segments the text is sent and billed as; 0 for no text."""
    if not text:
        return 0
    if is_gsm7(text):
        return _fill(text, _EXTENDED.intersection(text), single=160, part=153)
    return _fill(text, {char for char in set(text) if char > "\uffff"}, single=70, part=67)


def _fill(text: str, wide: AbstractSet[str], *, single: int, part: int) -> int:
    """Segments needed for a text of which these characters count twice, none parted between two segments."""
    if not wide:
        return 1 if len(text) <= single else -(-len(text) // part)
    sizes = [2 if char in wide else 1 for char in text]
    if sum(sizes) <= single:
        return 1
    count, room = 1, part
    for size in sizes:
        if size > room:
            count, room = count + 1, part
        room -= size
    return count
