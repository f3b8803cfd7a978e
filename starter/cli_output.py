"""How the `dunning` command speaks: tables on a terminal, plain lines in a pipe, JSON when asked."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from dunning.money import Money


def say(text: str) -> None:
    """One line on standard output."""
    typer.echo(text)


def warn(text: str) -> None:
    """One line on standard error, beside the data."""
    typer.echo(text, err=True)


def say_json(data: Any) -> None:
    """JSON on standard output: indented for people, one line for programs."""
    typer.echo(json.dumps(data, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None, default=str))


def say_fields(fields: Mapping[str, Any]) -> None:
    """One `name: value` a line; what is empty is left out."""
    empty = (None, "", False)
    shown = {name.replace("_", " "): value for name, value in fields.items() if value not in empty}
    width = max((len(name) for name in shown), default=0)
    for name, value in shown.items():
        typer.echo(f"{name:<{width}}  {'yes' if value is True else value}")


def say_table(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table on a terminal; elsewhere tab-separated lines with a header, for cut and awk."""
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for line in ([name.lower().replace(" ", "_") for name in headers], *texts):
            typer.echo("\t".join(line))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in headers:
        table.add_column(name, overflow="fold")
    for line in texts:
        table.add_row(*line)
    Console().print(table, markup=False)


def money(amount: int, currency: str) -> str:
    """An amount for a narrow column, exact: 19.99 USD."""
    owed = Money(amount=amount, currency=currency)
    return f"{owed.decimal:,} {owed.currency}"


def moment(iso: str | None) -> str | None:
    """An ISO 8601 moment, to the minute, in UTC."""
    return None if iso is None else iso[:16].replace("T", " ")
