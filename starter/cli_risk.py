"""`dunning risk`: which customers may be lost, and by which facts one sees it."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated, Any

import typer

from dunning.risk import LEVELS, Level
from ledger.records import RiskRecord
from starter.cli_output import say, say_fields, say_json, say_table
from starter.cli_session import open_ledger, run
from starter.errors import CustomerUnknown, InvalidInput
from starter.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Account = Annotated[str, typer.Option(help="A Stripe Connect account.")]

risk_app = typer.Typer()
_risk = typer.Typer(help="Early warning.", no_args_is_help=True)
risk_app.add_typer(_risk, name="risk")


def risk_json(record: RiskRecord) -> dict[str, Any]:
    """A customer's risk with its flags and the ledger rows behind them."""
    return {
        "customer": record.customer,
        "account": record.account,
        "level": record.level,
        "score": record.score,
        "flags": [flag.model_dump(mode="json") for flag in record.flags],
        "assessed_at": record.assessed_at.isoformat(),
    }


@_risk.command("list")
def list_(
    level: Annotated[str, typer.Option(help="This level and those above it.")] = "elevated",
    as_json: Json = False,
) -> None:
    """The customers at risk, the highest score first."""
    if level not in LEVELS:
        raise InvalidInput(f"level: {level!r} is none: write one of {', '.join(LEVELS)}", "level")
    wanted: Level = level
    found = run(_at_least(Settings.load(), wanted))
    if as_json:
        say_json({"customers": [risk_json(record) for record in found]})
        return
    say_table(
        ("Customer", "Account", "Level", "Score", "Why"),
        [
            (r.customer, r.account, r.level, r.score, "; ".join(flag.text for flag in r.flags))
            for r in found
        ],
    )


@_risk.command()
def show(
    customer: Annotated[str, typer.Argument(help="Stripe's id, cus_…")],
    account: Account = "",
    as_json: Json = False,
) -> None:
    """A customer's risk as last assessed, with the ledger's rows behind each flag."""
    found = run(_get(Settings.load(), account, customer))
    if found is None:
        raise CustomerUnknown(f"{customer} was never assessed: the daily review looks at all who had a case")
    if as_json:
        say_json(risk_json(found))
        return
    say_fields({"customer": found.customer, "level": found.level, "score": found.score})
    for flag in found.flags:
        say(f"+{flag.weight}  {flag.name}: {flag.text} ({', '.join(flag.facts)})")
    say(f"assessed {found.assessed_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC")


async def _at_least(settings: Settings, level: Level) -> tuple[RiskRecord, ...]:
    async with open_ledger(settings) as ledger:
        return await ledger.risks.at_least(level)


async def _get(settings: Settings, account: str, customer: str) -> RiskRecord | None:
    async with open_ledger(settings) as ledger:
        return await ledger.risks.get(account, customer)
