"""The base of records, and the counts of the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

Record = TypeVar("Record")


def from_row(record: type[Record], row: Any, **more: Any) -> Record:
    """The record whose fields stand in `row` under the same names; `more` gives the rest."""
    names = [field.name for field in fields(record)]  # type: ignore[arg-type]
    return record(**{name: more[name] if name in more else getattr(row, name) for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Numbers for metrics. An open case counts under outcome "", an attempt or message without result too."""

    cases: Mapping[tuple[str, str], int]  # stage, outcome
    attempts: Mapping[tuple[str, str], int]  # decline class, outcome
    recovered: Mapping[tuple[str, str], int]  # currency, via: minor units
    messages: Mapping[tuple[str, str], int]  # channel, fate
    findings: Mapping[tuple[str, str], int]  # kind, whether fixed: of the last reconciliation
    events: Mapping[tuple[str, str], int]  # endpoint, state of the delivery
