"""`dunning templates`: are all messages in order, and what do they look like?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from starter.cli_output import say, say_json
from starter.errors import DunningError
from starter.settings import Settings

templates_app = typer.Typer(name="templates", help="The messages to customers.", no_args_is_help=True)


class TemplatesRefused(DunningError):
    """Messages that cannot be sent; one problem a line."""

    code = "invalid_templates"


@templates_app.command()
def check(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Render every message in every language for every reason, with the longest values there are."""
    from dunning.messages.check import check_templates  # noqa: PLC0415  rendering is slow to import

    problems = check_templates(folder=_own_templates())
    if as_json:
        say_json({"problems": problems})
        raise typer.Exit(1 if problems else 0)
    if problems:
        raise TemplatesRefused("\n".join(problems))
    say("all messages are in order")


@templates_app.command()
def preview(
    folder: Annotated[Path, typer.Argument(help="Where to write it.")] = Path(".dunning/gallery"),
) -> None:
    """Write an HTML gallery of every message in every language for every reason."""
    from dunning.messages.catalogue import TemplatesError  # noqa: PLC0415  rendering is slow to import
    from dunning.messages.preview import preview as write  # noqa: PLC0415

    try:
        say(f"look at {write(folder, templates=_own_templates())}")
    except TemplatesError as error:
        raise TemplatesRefused(str(error)) from error


def _own_templates() -> Path | None:
    folder = Settings.load().dunning_policies
    return folder / "templates" if folder is not None else None
