"""`python -m bench`: measure, print a table, write `.dunning/bench.json`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bench import core, demo, memory, scan, scenarios, throughput, webhooks
from bench.report import Report
from starter.processes import run_to_the_end

PARTS = ("scenarios", "throughput", "webhooks", "decide", "memory", "scan", "demo")


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    rounds: int = 7
    cases: int = 60  # a round of the throughput
    real_cases: int = 60
    webhooks: int = 1_000  # a round
    seconds: float = 2.0  # of deciding
    open_cases: int = 1_000
    subscriptions: int = 10_000  # of the scan


QUICK = Sizes(
    rounds=3, cases=20, real_cases=20, webhooks=200, seconds=0.5, open_cases=150, subscriptions=1_000
)


async def measure(part: str, sizes: Sizes, report: Report) -> None:
    """Measure one part. Raises DunningError when the stack does not run."""
    match part:
        case "scenarios":
            report.scenarios = await scenarios.measure()
        case "throughput":
            report.throughput = await throughput.against_bare(sizes.rounds, sizes.cases)
            report.real_cases_per_second = await throughput.everything_real(sizes.real_cases)
        case "webhooks":
            report.webhooks = await webhooks.measure(sizes.rounds, sizes.webhooks)
        case "decide":
            report.speed = core.measure(sizes.seconds)
        case "memory":
            report.worker_kb_per_case = await memory.measure(sizes.open_cases)
        case "scan":
            report.scan = await scan.measure(sizes.subscriptions)
        case "demo":
            report.demo_seconds = await demo.measure()


async def bench(parts: Sequence[str], *, quick: bool, file: Path) -> int:
    """Measure and report; 1 if a bar is missed, which a quick run does not judge."""
    console = Console()
    report = Report(quick)
    for part in [part for part in PARTS if part in parts]:
        console.print(f"measuring {part} …", style="dim")
        await measure(part, QUICK if quick else Sizes(), report)
        report.save(file)  # so it stays if a later part cannot be measured
    report.show(console)
    console.print(f"written to {file}", style="dim", highlight=False)
    if report.missed and not quick:
        console.print(f"[red]missed:[/] {', '.join(report.missed)}", highlight=False)
        return 1
    return 0


def main() -> None:
    """Parse the arguments and run; never returns."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, and no bar is judged")
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument("--file", type=Path, default=Path(".dunning/bench.json"))
    given = parser.parse_args()
    parts = [part.strip() for part in given.only.split(",") if part.strip()]
    strange = sorted(set(parts) - set(PARTS))
    if strange:
        parser.error(f"--only: {strange[0]} is none of {', '.join(PARTS)}")
    run_to_the_end(bench(parts, quick=given.quick, file=given.file))


if __name__ == "__main__":
    main()
