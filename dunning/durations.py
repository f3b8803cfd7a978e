"""Durations as policies write them: `7d`, `36h`, `15m`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

_UNITS = {"d": "days", "h": "hours", "m": "minutes"}
_PATTERN = re.compile(r"(\d{1,5})([dhm])")


def parse_duration(text: Any) -> timedelta:
    """Read `7d`, `36h` or `15m`. Raises ValueError with a sentence that says what is right."""
    if isinstance(text, timedelta):
        return text
    found = _PATTERN.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"{text!r} is not a duration: write a whole number and d, h or m, such as 7d or 36h")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def write_duration(value: timedelta) -> str:
    """The shortest exact form: 168 h become `7d`. Durations are whole minutes."""
    minutes = int(value.total_seconds() // 60)
    if minutes % 1440 == 0:
        return f"{minutes // 1440}d"
    if minutes % 60 == 0:
        return f"{minutes // 60}h"
    return f"{minutes}m"


Duration = Annotated[
    timedelta, BeforeValidator(parse_duration), PlainSerializer(write_duration, return_type=str)
]
