"""`dunning inbox`: what waits for whom."""

from __future__ import annotations

from typing import Annotated

import typer

from ledger.records import CaseRecord
from starter.cli_cases import Json
from starter.cli_output import moment, money, say_json, say_table, warn
from starter.cli_session import open_ledger, run
from starter.settings import Settings
from starter.views import case_json

inbox_app = typer.Typer()


@inbox_app.command()
def inbox(
    *,
    whom: Annotated[str | None, typer.Option(help="Only what waits for support, or for an operator.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 100,
    as_json: Json = False,
) -> None:
    """What waits for a person, the nearest deadline first; `dunning show` tells more, `release` goes on."""

    async def work() -> tuple[tuple[CaseRecord, ...], str | None]:
        async with open_ledger(Settings.load()) as ledger:
            page = await ledger.cases.find(needs_human=True, open_only=True, limit=limit)
            return page.cases, page.cursor

    found, more = run(work())
    mine = [case for case in found if whom is None or case.asks_whom == whom]
    cases = sorted(mine, key=lambda case: (case.asks_until is None, case.asks_until, case.id))
    if as_json:
        say_json({"cases": [case_json(case) for case in cases]})
        return
    say_table(
        ("Invoice", "Customer", "Owed", "For", "Until (UTC)", "What"),
        [
            (
                case.invoice_id,
                case.customer,
                money(case.amount_remaining, case.currency),
                case.asks_whom,
                moment(case.asks_until.isoformat() if case.asks_until else None),
                case.asks,
            )
            for case in cases
        ],
    )
    if more:
        warn(f"only the newest {limit} were looked at: use --limit")
