"""`dunning report`: what dunning brought, with the definitions of its figures."""

from __future__ import annotations

import csv
import sys
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

import typer

from dunning.report import DEFINITIONS, DIMENSIONS, Dimension, Line, report
from dunning.values import RecoveredVia
from starter.cli_output import money, say, say_json, say_table
from starter.cli_session import open_ledger, run
from starter.errors import InvalidInput
from starter.settings import Settings

report_app = typer.Typer()

_COLUMNS = (
    *("group", "currency", "invoices", "in_progress", "failed", "recovered", "refunded", "disputed", "net"),
    *("of_all", "of_attempted", "of_closed", "days_median", "days_p90", "customers_lost", "unpaid_days"),
    *("granted_days", "attempts", "messages"),
)


@report_app.command("report")
def report_(
    since: Annotated[str | None, typer.Option("--from", help="The first day, such as 2026-07-01.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="The last day, in UTC.")] = None,
    by: Annotated[str | None, typer.Option(help=f"One of {', '.join(DIMENSIONS)}.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """What was recovered, by whom, how fast and at what cost, of the invoices that failed in a period."""
    if by is not None and by not in DIMENSIONS:
        raise InvalidInput(f"by: {by!r} is not known: write one of {', '.join(DIMENSIONS)}", "by")
    if as_json and as_csv:
        raise InvalidInput("csv: choose either --json or --csv", "csv")
    dimension: Dimension | None = by
    start, end = _day(since, "from"), _day(until, "to")
    lines: tuple[Line, ...] = run(_lines(start, end and end + timedelta(days=1), dimension))
    if as_json:
        figures = [{name: getattr(line, name) for name in Line.model_fields} for line in lines]
        say_json({"from": since, "to": until, "by": by, "definitions": DEFINITIONS, "lines": figures})
    elif as_csv:
        _write_csv(lines)
    else:
        _show(lines)


async def _lines(since: datetime | None, until: datetime | None, by: Dimension | None) -> tuple[Line, ...]:
    async with open_ledger(Settings.load()) as ledger:
        return report(await ledger.reporting.failures(since, until), by, datetime.now(UTC))


def _day(text: str | None, option: str) -> datetime | None:
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"{option}: {text!r} is no day: write one such as 2026-07-01", option) from error
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _write_csv(lines: tuple[Line, ...]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow((*_COLUMNS, *(f"via_{via}" for via in RecoveredVia)))
    for line in lines:
        via = (line.via.get(via, 0) for via in RecoveredVia)
        writer.writerow((*(getattr(line, name) for name in _COLUMNS), *via))


def _show(lines: tuple[Line, ...]) -> None:
    if not lines:
        say("no invoice failed in this period")
        return
    headers = ("Group", "Invoices", "Open", "Failed", "Recovered", "Refunds", "Disputes", "Net")
    shares = ("Of all", "Of attempted", "Of closed")
    say_table((*headers, *shares), [_money_row(line) for line in lines])
    spent = ("Median days", "90 %", "Lost", "Unpaid days", "Granted days", "Attempts", "Messages")
    say("")
    say_table(("Group", "Currency", *spent, "Recovered via"), [_spent_row(line) for line in lines])
    say("")
    for name, meaning in DEFINITIONS.items():
        say(f"{name}: {meaning}")


def _money_row(line: Line) -> tuple[Any, ...]:
    amounts = (line.failed, line.recovered, line.refunded, line.disputed, line.net)
    shares = (line.of_all, line.of_attempted, line.of_closed)
    return (
        line.group,
        line.invoices,
        line.in_progress,
        *(money(amount, line.currency) for amount in amounts),
        *("–" if share is None else f"{share:.1%}" for share in shares),
    )


def _spent_row(line: Line) -> tuple[Any, ...]:
    via = ", ".join(f"{name} {money(amount, line.currency)}" for name, amount in line.via.items())
    times = (line.days_median, line.days_p90)
    return (
        line.group,
        line.currency.upper(),
        *("–" if days is None else f"{days:.1f}" for days in times),
        line.customers_lost,
        f"{line.unpaid_days:.0f}",
        line.granted_days,
        line.attempts,
        line.messages,
        via or "–",
    )
