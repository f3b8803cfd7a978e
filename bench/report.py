"""What was measured, what it is measured against, and how both are shown."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.core import Speed
from bench.history import Cost
from bench.scan import LIMIT, Scan
from bench.scenarios import SCENARIOS
from bench.throughput import Throughput
from bench.webhooks import Acceptance

LEAST_THROUGHPUT_RATIO = 0.70
LEAST_WEBHOOK_RATIO = 0.80
MOST_KB_PER_CASE = 150.0
MOST_DEMO_SECONDS = 60.0
#: What Stripe takes of a live account (docs.stripe.com/rate-limits).
MOST_REQUESTS_PER_SECOND = 100.0


@dataclass
class Report:
    """The figures; None is what was not measured."""

    quick: bool = False
    scenarios: dict[str, Cost] = field(default_factory=dict)
    throughput: Throughput | None = None
    real_cases_per_second: float | None = None
    webhooks: Acceptance | None = None
    speed: Speed | None = None
    worker_kb_per_case: float | None = None
    scan: Scan | None = None
    demo_seconds: float | None = None

    def as_json(self) -> dict[str, Any]:
        """What `bench.json` holds: only what was measured; ratios first, absolute figures beside them."""
        figures: dict[str, float | None] = {
            "throughput_ratio": self.throughput.ratio if self.throughput else None,
            "engine_cases_per_second": self.throughput.engine if self.throughput else None,
            "bare_cases_per_second": self.throughput.bare if self.throughput else None,
            "real_cases_per_second": self.real_cases_per_second,
            "webhook_ratio": self.webhooks.ratio if self.webhooks else None,
            "webhooks_per_second": self.webhooks.app if self.webhooks else None,
            "bare_signals_per_second": self.webhooks.bare if self.webhooks else None,
            "decide_per_second": self.speed.decide if self.speed else None,
            "steps_per_second": self.speed.step if self.speed else None,
            "worker_kb_per_case": self.worker_kb_per_case,
            "scan_subscriptions_per_second": self.scan.per_second if self.scan else None,
            "scan_requests_in_busiest_second": self.scan.busiest if self.scan else None,
            "scan_of_100000_minutes": self.scan.large_minutes if self.scan else None,
            "demo_seconds": self.demo_seconds,
        }
        scenarios = {
            name: {"actions": cost.actions, "events": cost.events, "bytes": cost.bytes, **_kinds(cost)}
            for name, cost in self.scenarios.items()
        }
        measured = {name: round(value, 3) for name, value in figures.items() if value is not None}
        return ({"scenarios": scenarios} if scenarios else {}) | measured | {"made": _made(self.quick)}

    def save(self, path: Path) -> None:
        """Write `bench.json`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.as_json(), indent=2) + "\n", encoding="utf-8")

    def lines(self) -> Iterator[Line]:
        """Every figure with its bar, in the order of the table."""
        bars = {scenario.name: scenario.most_actions for scenario in SCENARIOS}
        words = {scenario.name: scenario.words for scenario in SCENARIOS}
        for name, cost in self.scenarios.items():
            size = f"{cost.events} events, {cost.bytes / 1000:.1f} kB: {words[name]}"
            yield Line(f"{name}: billable actions", cost.actions, size, most=bars[name], digits=0)
        if self.throughput is not None:
            rates = f"{self.throughput.engine:.1f} cases a second, bare {self.throughput.bare:.1f}"
            yield Line("cases: ratio to bare", self.throughput.ratio, rates, least=LEAST_THROUGHPUT_RATIO)
        if self.real_cases_per_second is not None:
            yield Line(
                "cases a second", self.real_cases_per_second, "everything real: sandbox, SQLite, webhooks"
            )
        if self.webhooks is not None:
            rates = f"{self.webhooks.app:.0f} a second, bare signal-with-start {self.webhooks.bare:.0f}"
            yield Line("webhooks: ratio to bare", self.webhooks.ratio, rates, least=LEAST_WEBHOOK_RATIO)
        if self.speed is not None:
            steps = f"whole recorded steps: {self.speed.step:,.0f}"
            yield Line("decide, calls a second", self.speed.decide, steps, digits=0)
        if self.worker_kb_per_case is not None:
            yield Line(
                "worker, KB a case",
                self.worker_kb_per_case,
                "resident memory",
                most=MOST_KB_PER_CASE,
                digits=0,
            )
        if self.scan is not None:
            yield from _scanned(self.scan)
        if self.demo_seconds is not None:
            yield Line(
                "demo, seconds", self.demo_seconds, "make demo ARGS=--exit", most=MOST_DEMO_SECONDS, digits=1
            )

    @property
    def missed(self) -> list[str]:
        """The figures that miss their bar."""
        return [line.name for line in self.lines() if not line.good]

    def show(self, console: Console) -> None:
        """Print the table."""
        table = Table("figure", "measured", "bar", "", "beside it", title="quick run" if self.quick else None)
        table.columns[1].justify = table.columns[2].justify = "right"
        for line in self.lines():
            verdict = "" if line.bar == "" else "[green]good[/]" if line.good else "[red]missed[/]"
            table.add_row(line.name, line.shown, line.bar, verdict, line.note)
        console.print(table)


@dataclass(frozen=True)
class Line:
    """A row of the table."""

    name: str
    value: float
    note: str
    least: float | None = None
    most: float | None = None
    digits: int = 2

    @property
    def good(self) -> bool:
        """Whether the bar, if there is one, is kept."""
        return (self.least is None or self.value >= self.least) and (
            self.most is None or self.value <= self.most
        )

    @property
    def shown(self) -> str:
        """The value as text."""
        return f"{self.value:,.{self.digits}f}"

    @property
    def bar(self) -> str:
        """The bar as text."""
        if self.least is not None:
            return f"≥ {self.least:,.{self.digits}f}"
        return f"≤ {self.most:,.{self.digits}f}" if self.most is not None else ""


def _scanned(scan: Scan) -> Iterator[Line]:
    size = f"{scan.subscriptions:,}: {scan.pages} pages, {scan.cases} cases, {scan.requests} requests"
    at = f"in {scan.seconds:.1f} s, {LIMIT:g} activities a second"
    yield Line("scan, subscriptions a second", scan.per_second, f"{size} {at}", digits=0)
    most = f"at most {scan.busiest_endpoint} of one endpoint"
    yield Line(
        "scan, requests in its busiest second", scan.busiest, most, most=MOST_REQUESTS_PER_SECOND, digits=0
    )
    yield Line("scan of 100,000, minutes", scan.large_minutes, scan.large_words, digits=1)


def _kinds(cost: Cost) -> dict[str, Any]:
    return {"by_kind": cost.by_kind}


def _made(quick: bool) -> dict[str, Any]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "temporalio": version("temporalio"),
    }
