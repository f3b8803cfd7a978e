"""`dunning declines`: what the engine makes of a decline, and why."""

from __future__ import annotations

from typing import Annotated

import typer

from dunning.explain import explain
from starter.cli_output import say_fields, say_json
from starter.errors import InvalidInput

declines_app = typer.Typer(
    name="declines", help="What a decline asks for, and who says so.", no_args_is_help=True
)
_BRANDS = ("visa", "mastercard", "amex", "discover", "diners", "jcb", "unionpay")


@declines_app.callback()
def _declines() -> None:
    """What a decline asks for, and who says so."""


@declines_app.command("explain")
def explain_code(
    code: Annotated[str, typer.Argument(help="Stripe's decline code, such as insufficient_funds")],
    advice: Annotated[str | None, typer.Option(help="Stripe's advice code")] = None,
    network_advice: Annotated[
        str | None, typer.Option(help="the network's advice code (Mastercard: MAC)")
    ] = None,
    network_decline: Annotated[str | None, typer.Option(help="the network's decline code")] = None,
    brand: Annotated[str | None, typer.Option(help=f"the card's brand: {', '.join(_BRANDS)}")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Print class, action, wait, what the customer may be told, and the source."""
    if brand is not None and brand not in _BRANDS:
        raise InvalidInput(f"{brand!r} is not a brand: write one of {', '.join(_BRANDS)}", "brand")
    if (network_advice or network_decline) and brand is None:
        raise InvalidInput("a network's code means something for its own brand only: add --brand", "brand")
    answer = explain(code, advice, network_advice, network_decline, brand)
    if as_json:
        say_json(dict(answer))  # whole: a program should not have to know the defaults
        return
    shown = answer.model_dump(mode="json")
    shown["sources"] = "; ".join(answer.sources)
    if not answer.known:
        shown["note"] = "this code is not in the table: treated with caution, a person should look"
    say_fields(shown)
