"""The benchmark's report, measured with tiny sizes. No figure is judged here: machines differ."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from bench import core, throughput
from bench.history import Cost
from bench.report import Line, Report
from bench.scan import Scan
from bench.scenarios import SCENARIOS
from bench.webhooks import Acceptance


def a_scan(busiest: int = 40) -> Scan:
    """A scan within the limit of twenty activities a second."""
    return Scan(
        subscriptions=10_000,
        pages=102,
        cases=300,
        seconds=24.0,
        requests=702,
        busiest=busiest,
        busiest_endpoint=21,
    )


def full() -> Report:
    """A report in which everything was measured."""
    return Report(
        scenarios={
            s.name: Cost(events=60, bytes=20_000, by_kind={"starts": 1, "timers": 17}) for s in SCENARIOS
        },
        throughput=throughput.Throughput(ratio=0.8, engine=8.0, bare=10.0, steps="altlal"),
        real_cases_per_second=2.0,
        webhooks=Acceptance(ratio=0.9, app=90.0, bare=100.0),
        speed=core.Speed(decide=10_000.0, step=4_000.0),
        worker_kb_per_case=80.0,
        scan=a_scan(),
        demo_seconds=30.0,
    )


def test_the_file_holds_every_promised_key(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "bench.json"
    full().save(path)
    written = json.loads(path.read_text())
    for key in (
        "throughput_ratio", "webhook_ratio", "decide_per_second", "worker_kb_per_case", "demo_seconds",
    ):  # fmt: skip
        assert isinstance(written[key], float)
    assert set(written["scenarios"]) >= {"second_retry", "full_path"}
    assert len(written["scenarios"]) == 5
    for scenario in written["scenarios"].values():
        assert (scenario["actions"], scenario["events"], scenario["bytes"]) == (18, 60, 20_000)


def test_what_was_not_measured_is_not_in_the_file() -> None:
    assert set(Report().as_json()) == {"made"}


def test_figures_within_their_bars_are_good_and_the_table_says_so() -> None:
    screen = io.StringIO()
    full().show(Console(file=screen, width=160))
    assert full().missed == []
    assert screen.getvalue().count("good") == 7


@pytest.mark.parametrize(
    ("report", "name"),
    [
        (Report(scenarios={"full_path": Cost(by_kind={"timers": 73})}), "full_path: billable actions"),
        (Report(scenarios={"second_retry": Cost(by_kind={"timers": 29})}), "second_retry: billable actions"),
        (Report(throughput=throughput.Throughput(0.69, 1, 1, "")), "cases: ratio to bare"),
        (Report(webhooks=Acceptance(0.79, 1, 1)), "webhooks: ratio to bare"),
        (Report(scan=a_scan(busiest=101)), "scan, requests in its busiest second"),
        (Report(worker_kb_per_case=151), "worker, KB a case"),
    ],
)
def test_a_figure_beyond_its_bar_is_named(report: Report, name: str) -> None:
    assert report.missed == [name]


def test_a_figure_without_a_bar_is_never_missed() -> None:
    assert Line("decide", 1.0, "").good


def test_what_a_large_business_would_take_follows_by_arithmetic() -> None:
    scan = a_scan()
    assert scan.large_minutes == 4.0
    assert scan.large_words == "10 times as long; 1,020 pages + 3,000 openings, 20 a second: ≥ 3.4"


async def test_the_bare_workflow_takes_the_steps_of_a_case() -> None:
    found = await throughput.against_bare(rounds=1, cases=2)
    assert found.ratio > 0
    assert found.steps.startswith("al")  # opened, decided
    assert found.steps.count("t") >= 2  # at least one wait before each retry
    assert set(found.steps) == set("aelt")


def test_the_core_decides() -> None:
    speed = core.measure(seconds=0.01)
    assert speed.decide > 0
    assert speed.step > 0
