"""`dunning consent` and `dunning replies`: what customers want, and what they wrote."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import typer

from dunning.correspondence import hint
from dunning.values import Channel
from ledger import Ledger
from starter.cli_output import moment, say, say_fields, say_json, say_table
from starter.cli_session import open_ledger, run, user
from starter.errors import InvalidInput
from starter.settings import Settings
from starter.temporal import connect
from starter.views import consents_json, reply_json
from starter.webhooks.receiver import Receiver
from starter.wishes import ABOUT, Wishes

consent_app = typer.Typer(name="consent", help="What customers want to be reached by.", no_args_is_help=True)
replies_app = typer.Typer(name="replies", help="What customers wrote back.", no_args_is_help=True)


def _customer(given: str) -> str:
    if not given.startswith("cus_"):
        raise InvalidInput(f"{given!r} is not the id of a customer: write cus_…", "customer")
    return given


Customer = Annotated[str, typer.Argument(metavar="CUSTOMER", help="cus_…", callback=_customer)]
Account = Annotated[str, typer.Option(help="A Stripe Connect account, acct_….")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
By = Annotated[str | None, typer.Option(help="Who does it; your user name if left out.")]


@consent_app.command("show")
def show_consents(customer: Customer, *, account: Account = "", as_json: Json = False) -> None:
    """What a customer agreed to, which addresses are dead, and who said so."""

    async def work() -> dict[str, Any]:
        async with open_ledger(Settings.load()) as ledger:
            return await consents_json(ledger, account, customer)

    found = run(work())
    if as_json:
        say_json(found)
        return
    for channel in Channel:
        said = found["channels"].get(channel.value) or _UNSAID[channel]
        dead = found["dead"].get(channel.value)
        say_fields({channel.value: f"{said}; an address takes nothing: {dead}" if dead else said})
    say_fields({"reminders": "wanted" if found["reminders"] else "revoked"})
    if found["history"]:
        say("")
        names = ("channel", "group", "state", "source", "by", "text")
        rows = [(moment(s["at"]), *(s[name] for name in names)) for s in found["history"]]
        say_table(("At (UTC)", "Channel", "Group", "State", "Source", "By", "Why"), rows)


_UNSAID = {
    Channel.EMAIL: "nothing was said: allowed",
    Channel.SMS: "nothing was said: not allowed",
    Channel.WHATSAPP: "nothing was said: not allowed",
}


@consent_app.command("set")
def set_consent(
    customer: Customer,
    channel: Annotated[
        Literal["email", "sms", "whatsapp", "all", "reminders"],
        typer.Argument(help="Or all of them, or only the optional e-mails."),
    ],
    state: Annotated[Literal["granted", "revoked"], typer.Argument(help="What the customer wants.")],
    *,
    reason: Annotated[str, typer.Option(help="Where the customer said so.")],
    by: By = None,
    account: Account = "",
) -> None:
    """Keep what a customer wants. It counts at once; consent tries addresses again that were found dead."""

    async def work() -> None:
        async with _desk(Settings.load()) as (_, wishes):
            await wishes.state(
                account,
                customer,
                ABOUT[channel].channels,
                state,
                group=ABOUT[channel].group,
                source="support",
                at=datetime.now(UTC),
                by=by or user(),
                text=reason,
            )

    run(work())
    say(f"{customer}: {channel} {state}")


@replies_app.command("list")
def list_replies(*, as_json: Json = False) -> None:
    """The replies that wait for a person, oldest first."""

    async def work() -> list[dict[str, Any]]:
        async with open_ledger(Settings.load()) as ledger:
            return [reply_json(reply) for reply in await ledger.replies.waiting()]

    replies = run(work())
    if as_json:
        say_json({"replies": replies})
        return
    rows = [(r["id"], moment(r["at"]), r["channel"], r["customer"], r["text"]) for r in replies]
    say_table(("Id", "At (UTC)", "Channel", "Customer", "Words"), rows)


@replies_app.command("answered")
def answered(
    reply: Annotated[str, typer.Argument(metavar="REPLY", help="Its id, SM….")], *, by: By = None
) -> None:
    """Say that a person dealt with a reply: its case needs nobody for it any more."""

    async def work() -> None:
        async with _desk(Settings.load()) as (ledger, wishes):
            found = await ledger.replies.get(reply)
            if found is None:
                raise InvalidInput(f"there is no reply {reply}: `dunning replies list` names them", "reply")
            await ledger.replies.settle(reply, "answered", by=by or user())
            if found.customer is not None:
                what = hint("reply.answered", id=reply, why=f"by {by or user()}")
                await wishes.tell(found.account or "", found.customer, what)

    run(work())
    say(f"{reply}: answered")


@asynccontextmanager
async def _desk(settings: Settings) -> AsyncIterator[tuple[Ledger, Wishes]]:
    async with open_ledger(settings) as ledger:
        timeout = timedelta(seconds=settings.dunning_rpc_timeout_seconds)
        yield ledger, Wishes(ledger, Receiver(await connect(settings, lazy=True), ledger, timeout))
