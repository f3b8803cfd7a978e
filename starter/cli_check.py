"""`dunning check`: whether the Stripe account's settings fit the policies."""

from __future__ import annotations

import importlib
from typing import Annotated, Any

import typer

from dunning.account import CHECKLIST, Finding
from starter.cli_output import say, say_json
from starter.cli_session import open_ledger, run
from starter.errors import DunningError, EngineUnavailable, SettingsError
from starter.settings import Settings

check_app = typer.Typer()


class AccountContradicts(DunningError):
    """The account's settings and the policies do not fit; one warning a line."""

    code = "account_contradicts_policy"
    http_status = 409


@check_app.command()
def check(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look at the Stripe account for settings that contradict the policies. Status 1 if there are any."""
    settings = Settings.load()
    if settings.stripe_api_key is None:
        raise SettingsError(["STRIPE_API_KEY is missing: set it to a secret or restricted key: sk_… or rk_…"])
    found: tuple[Finding, ...] = run(_look(settings))
    warnings = [finding for finding in found if finding.severity == "warning"]
    if as_json:
        shown = [finding.model_dump(mode="json") for finding in found]
        say_json({"findings": shown, "checklist": list(CHECKLIST)})
        raise typer.Exit(1 if warnings else 0)
    for finding in found:
        examples = f" ({', '.join(finding.examples)})" if finding.examples else ""
        say(f"{finding.severity}: {finding.text}{examples}")
    if not found:
        say("the account's settings fit the policies, as far as a sample shows")
    for line in CHECKLIST:
        say(f"look yourself: {line}")
    if warnings:
        many = "setting of the Stripe account contradicts" if len(warnings) == 1 else "settings contradict"
        raise AccountContradicts(f"{len(warnings)} {many} the policies")


async def _look(settings: Settings) -> tuple[Finding, ...]:
    # Imported late: the providers' SDKs take longer to load than most commands to run.
    module: Any = importlib.import_module("starter.account_check")
    stripe_error: type[Exception] = module.stripe.StripeError
    async with open_ledger(settings) as ledger:
        try:
            found: tuple[Finding, ...] = await module.look(settings, ledger)
        except stripe_error as error:
            said = module.said_in_short(error)
            raise EngineUnavailable(f"Stripe did not answer: {said}; look at STRIPE_API_KEY") from error
        except TimeoutError as error:
            raise EngineUnavailable("Stripe did not answer in time: try again") from error
    return found
