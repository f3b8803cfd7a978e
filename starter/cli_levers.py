"""Commands that pull the levers of a case; the answer is a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any

import typer

from dunning.forecast import Difference, Expected
from starter.cli_bulk import Caller, pull_many
from starter.cli_cases import Account, Invoice, Json
from starter.cli_output import moment, say, say_json, say_table
from starter.cli_session import run, with_case
from starter.client import DunningClient
from starter.errors import InvalidInput
from starter.settings import Settings
from starter.views import difference_json
from workflows.ids import invoice_of

By = Annotated[str | None, typer.Option(help="Who does it; your user name if left out.")]
Reason = Annotated[str, typer.Option(help="Why; it stands in the timeline.")]
RequestId = Annotated[str | None, typer.Option(help="Makes a repeat harmless.")]
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="A day, as 2026-12-24.")]

OptionalInvoice = Annotated[
    str | None, typer.Argument(metavar="INVOICE", help="in_… or invoice-dunning/in_…; or use --where.")
]
Where = Annotated[
    str | None, typer.Option(help='All open cases of this list filter, as DunningPolicy="standard".')
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="With --where: only say which cases.")]

levers_app = typer.Typer()


@dataclass(frozen=True)
class Chosen:
    """The cases that a command is about: one, or all that a filter finds."""

    invoice: str | None
    where: str | None
    dry_run: bool


@levers_app.command()
def extend(
    invoice: Invoice,
    *,
    reason: Reason,
    days: Annotated[int | None, typer.Option(help="Days added to the last day of grace.")] = None,
    until: Day = None,
    by: By = None,
    request_id: RequestId = None,
    account: Account = "",
    as_json: Json = False,
) -> None:
    """Give the customer more time: --days 7, or --until 2026-12-24."""
    _pull(
        invoice,
        "grant_extension",
        {"days": days, "until": _day(until), "reason": reason},
        Caller(account, by, request_id, as_json),
    )


@levers_app.command()
def request(
    invoice: Invoice,
    *,
    days: Annotated[int, typer.Option(help="How many days more.")],
    reason: Annotated[str | None, typer.Option(help="Why, in the customer's words.")] = None,
    by: By = None,
    request_id: RequestId = None,
    account: Account = "",
    as_json: Json = False,
) -> None:
    """Ask for more time in the customer's name."""
    _pull(
        invoice,
        "request_extension",
        {"days": days, "reason": reason},
        Caller(account, by, request_id, as_json),
    )


@levers_app.command()
def deny(
    invoice: Invoice,
    *,
    reason: Reason,
    by: By = None,
    request_id: RequestId = None,
    account: Account = "",
    as_json: Json = False,
) -> None:
    """Say no to the request for more time that waits."""
    _pull(invoice, "deny_extension", {"reason": reason}, Caller(account, by, request_id, as_json))


@levers_app.command()
def promise(
    invoice: Invoice,
    *,
    on: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The day, as 2026-12-24.")],
    by: By = None,
    request_id: RequestId = None,
    account: Account = "",
    as_json: Json = False,
) -> None:
    """The customer promised to pay on a day: nothing is said or suspended before it."""
    _pull(invoice, "promise_to_pay", {"on": _day(on)}, Caller(account, by, request_id, as_json))


@levers_app.command()
def hold(
    invoice: OptionalInvoice = None,
    *,
    where: Where = None,
    dry_run: DryRun = False,
    reason: Reason,
    until: Day = None,
    by: By = None,
    request_id: RequestId = None,
    account: Account = "",
    as_json: Json = False,
) -> None:
    """Stop the clock of a case, or of all that --where finds; the time is given back afterwards."""
    _pull_some(
        Chosen(invoice, where, dry_run),
        "hold",
        {"reason": reason, "until": _day(until)},
        Caller(account, by, request_id, as_json),
    )


@levers_app.command()
def release(
    invoice: OptionalInvoice = None,
    *,
    where: Where = None,
    dry_run: DryRun = False,
    by: By = None,
    request_id: RequestId = None,
    account: Account = "",
    as_json: Json = False,
) -> None:
    """End a hold, or go on with a case that waits for a person; of all cases that --where finds."""
    _pull_some(Chosen(invoice, where, dry_run), "release", {}, Caller(account, by, request_id, as_json))


@levers_app.command()
def pause(
    invoice: Invoice,
    *,
    by: By = None,
    request_id: RequestId = None,
    account: Account = "",
    as_json: Json = False,
) -> None:
    """Pause the subscription as the customer wishes: nothing is billed or said, the invoice stays open."""
    _pull(invoice, "pause", {}, Caller(account, by, request_id, as_json))


@levers_app.command()
def cancel(
    invoice: Invoice,
    *,
    by: By = None,
    request_id: RequestId = None,
    account: Account = "",
    as_json: Json = False,
) -> None:
    """Cancel the subscription as the customer wishes, now or with its period; nothing is credited."""
    _pull(invoice, "cancel", {}, Caller(account, by, request_id, as_json))


@levers_app.command()
def link(
    invoice: Invoice,
    *,
    by: By = None,
    request_id: RequestId = None,
    account: Account = "",
    as_json: Json = False,
) -> None:
    """Send the customer a new link to the page, to the address on file, once a day at most."""
    _pull(invoice, "send_link", {}, Caller(account, by, request_id, as_json))


@levers_app.command()
def retry(
    invoice: Invoice,
    *,
    by: By = None,
    request_id: RequestId = None,
    account: Account = "",
    as_json: Json = False,
) -> None:
    """Charge as soon as the card networks allow."""
    _pull(invoice, "retry_now", {}, Caller(account, by, request_id, as_json))


@levers_app.command()
def suspend(
    invoice: Invoice,
    *,
    reason: Reason,
    by: By = None,
    request_id: RequestId = None,
    account: Account = "",
    as_json: Json = False,
) -> None:
    """Suspend now, if what was promised to the customer is over."""
    _pull(invoice, "suspend_now", {"reason": reason}, Caller(account, by, request_id, as_json))


@levers_app.command()
def restore(
    invoice: Invoice,
    *,
    reason: Reason,
    by: By = None,
    request_id: RequestId = None,
    account: Account = "",
    as_json: Json = False,
) -> None:
    """Give access back before the money came."""
    _pull(invoice, "restore_now", {"reason": reason}, Caller(account, by, request_id, as_json))


@levers_app.command()
def stop(
    invoice: Invoice,
    *,
    reason: Reason,
    outcome: Annotated[str, typer.Option(help="stopped, written_off, canceled or voided.")] = "stopped",
    give_back: Annotated[
        bool, typer.Option("--give-back", help="Let Stripe go on with the invoice as it was found.")
    ] = False,
    by: By = None,
    request_id: RequestId = None,
    account: Account = "",
    as_json: Json = False,
) -> None:
    """Close a case."""
    _pull(
        invoice,
        "stop",
        {"outcome": outcome, "reason": reason, "give_back": give_back},
        Caller(account, by, request_id, as_json),
    )


@levers_app.command()
def note(
    invoice: Invoice,
    *,
    text: Annotated[str, typer.Option(help="The remark.")],
    by: By = None,
    request_id: RequestId = None,
    account: Account = "",
    as_json: Json = False,
) -> None:
    """Leave a remark in the timeline; keep personal data out of it."""
    _pull(invoice, "add_note", {"text": text}, Caller(account, by, request_id, as_json))


def set_policy(
    invoice: Invoice,
    name: Annotated[str, typer.Argument(help="The policy's name.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    by: By = None,
    request_id: RequestId = None,
    account: Account = "",
    as_json: Json = False,
) -> None:
    """Let a case go on by another policy, or by the newest version of its own."""
    if not dry_run:
        _pull(invoice, "set_policy", {"name": name}, Caller(account, by, request_id, as_json))
        return

    async def ask(client: DunningClient, case: str) -> Difference:
        return await client.preview_policy(case, name)

    found = run(with_case(Settings.load(), invoice_of(invoice) or invoice, account, ask))
    if as_json:
        say_json(difference_json(found))
        return
    say(f"{found.policy} would change {len(found.gone)} steps; nothing was changed now")
    lines = [(sign, step) for sign, steps in (("-", found.gone), ("+", found.new)) for step in steps]
    say_table(
        ("", "At (UTC)", "What", "Why"),
        [(sign, moment(s.at.isoformat()), s.what, s.reason) for sign, s in sorted(lines, key=_by_moment)],
    )


def _by_moment(line: tuple[str, Expected]) -> tuple[datetime, str]:
    return line[1].at, line[0]


def _pull_some(chosen: Chosen, lever: str, payload: dict[str, Any], caller: Caller) -> None:
    if (chosen.invoice is None) == (chosen.where is None):
        raise InvalidInput("name either an invoice or --where with a list filter")
    if chosen.where is None:
        if chosen.dry_run:
            raise InvalidInput("--dry-run goes with --where")
        _pull(chosen.invoice or "", lever, payload, caller)
        return
    pull_many(chosen.where, lever, payload, caller, dry_run=chosen.dry_run)


def _pull(invoice: str, lever: str, payload: dict[str, Any], caller: Caller) -> None:
    whole = caller.signed(payload)

    async def ask(client: DunningClient, case: str) -> str:
        return await client.pull(case, lever, whole)

    text = run(with_case(Settings.load(), invoice_of(invoice) or invoice, caller.account, ask))
    if caller.as_json:
        say_json({"accepted": True, "text": text})
    else:
        say(text)


def _day(given: datetime | None) -> date | None:
    return given.date() if given else None
