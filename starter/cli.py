"""The `dunning` command.

Exit status: 0 done, 1 refused, not found or not reachable, 2 wrong usage. An error is one sentence on
standard error.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

import typer
from sqlalchemy.exc import SQLAlchemyError

from ledger import LedgerError
from starter.cli_cases import cases_app
from starter.cli_check import check_app
from starter.cli_correspondence import consent_app, replies_app
from starter.cli_customer import customer_app
from starter.cli_declines import declines_app
from starter.cli_events import events_app
from starter.cli_inbox import inbox_app
from starter.cli_levers import levers_app
from starter.cli_reconcile import reconcile_app
from starter.cli_report import report_app
from starter.cli_risk import risk_app
from starter.cli_run import run_app
from starter.cli_schedules import schedules_app
from starter.cli_templates import templates_app
from starter.errors import DunningError, InvalidInput, SettingsError

app = typer.Typer(
    name="dunning",
    help="Wins back failed subscription payments.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(cases_app)
app.add_typer(events_app, name="events")
app.add_typer(levers_app)
app.add_typer(inbox_app)
app.add_typer(run_app)
app.add_typer(check_app)
app.add_typer(consent_app)
app.add_typer(replies_app)
app.add_typer(declines_app)
app.add_typer(reconcile_app)
app.add_typer(risk_app)
app.add_typer(report_app)
app.add_typer(customer_app)
app.add_typer(schedules_app)
app.add_typer(templates_app)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    try:
        given = list(sys.argv[1:] if args is None else args)
        status = _command()(given, prog_name="dunning", standalone_mode=False)
    except typer.TyperException as error:
        text = error.format_message()
        return _failed(text, error.exit_code) if text else error.exit_code  # no text: the help was shown
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except InvalidInput as error:
        return _failed(error.message, 2)
    except SettingsError as error:
        return _failed("\ndunning: ".join(error.problems), 1)
    except (DunningError, LedgerError) as error:
        return _failed(str(error), 1)
    except SQLAlchemyError as error:
        return _failed(f"the ledger does not answer: {_first_line(error)}", 1)
    except OSError as error:
        return _failed(error.strerror or str(error), 1)
    return status if isinstance(status, int) else 0


@cache  # from the signatures of all commands, which takes longer than most of what they do
def _command() -> Any:
    return typer.main.get_command(app)


def _failed(text: str, status: int) -> int:
    typer.echo(f"dunning: {text}", err=True)
    return status


def _first_line(error: Exception) -> str:
    lines = str(getattr(error, "orig", None) or error).splitlines()
    return lines[0] if lines else type(error).__name__
