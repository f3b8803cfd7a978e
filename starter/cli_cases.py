"""Commands about cases: start them and look at them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import typer

from dunning.case import Entry
from dunning.values import Stage
from dunning.view import Status
from ledger import LedgerError
from ledger.records import CaseRecord, DispatchRecord, EntryRecord, ReplyRecord
from starter.cli_output import moment, money, say, say_fields, say_json, say_table, warn
from starter.cli_session import open_ledger, run, with_case
from starter.client import DunningClient
from starter.errors import CaseNotFound, EngineUnavailable
from starter.finding import known_case
from starter.settings import Settings
from starter.views import case_json, expected_json, message_json, plain, reply_json, with_deliveries
from workflows.ids import invoice_of

Invoice = Annotated[str, typer.Argument(metavar="INVOICE", help="in_… or invoice-dunning/in_…")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Account = Annotated[str, typer.Option(help="A Stripe Connect account, acct_….")]

cases_app = typer.Typer()


@cases_app.command()
def start(
    invoice: Invoice,
    *,
    policy: Annotated[str | None, typer.Option(help="The policy's name; standard if left out.")] = None,
    account: Account = "",
    reopen: Annotated[bool, typer.Option(help="Begin again after stopped or written_off.")] = False,
    as_json: Json = False,
) -> None:
    """Open the case of an invoice; harmless if it is open already."""

    async def work() -> dict[str, Any]:
        client = await DunningClient.connect(Settings.load())
        case = await client.start(invoice, policy=policy, account=account or None, reopen=reopen)
        return {"invoice_id": case.invoice_id, "workflow_id": case.workflow_id, "run_id": case.run_id}

    started = run(work())
    if as_json:
        say_json(started)
    else:
        say(f"started {started['workflow_id']}; look at it with `dunning show {started['invoice_id']}`")


@cases_app.command()
def show(invoice: Invoice, *, account: Account = "", as_json: Json = False) -> None:
    """Where a case stands, and what happened so far."""
    look = run(_look(Settings.load(), invoice_of(invoice) or invoice, account))
    lines = with_deliveries(look.entries, look.messages)
    messages = [message_json(message) for message in look.messages]
    replies = [reply_json(reply) for reply in look.replies]
    if as_json:
        whole = {"source": look.source, "status": look.status, "timeline": lines}
        say_json(whole | {"messages": messages, "replies": replies})
        return
    status = look.status
    shown = dict(status)
    shown["amount_remaining"] = money(shown["amount_remaining"], shown.pop("currency"))
    shown["next_at"] = moment(shown["next_at"])
    shown["grace_ends_at"] = moment(shown["grace_ends_at"])
    say_fields(shown)
    say("")
    say_table(("At (UTC)", "What", "By"), [(moment(e["at"]), e["text"], e["by"]) for e in lines])
    if messages:
        say("")
        rows = [(moment(m["at"]), m["step"], m["channel"], m["fate"], m["detail"]) for m in messages]
        say_table(("Sent (UTC)", "Message", "Channel", "Fate", "Why"), rows)
    if replies:
        say("")
        rows = [(moment(r["at"]), r["channel"], r["state"], r["text"], r["id"]) for r in replies]
        say_table(("Written (UTC)", "Channel", "State", "Words", "Id"), rows)


@cases_app.command("cases")
def list_cases(
    *,
    open_only: Annotated[bool, typer.Option("--open", help="Only open cases.")] = False,
    stage: Annotated[Stage | None, typer.Option(help="Only of this stage.")] = None,
    needs_human: Annotated[
        bool, typer.Option("--needs-human", help="Only those that need a person.")
    ] = False,
    customer: Annotated[str | None, typer.Option(help="Only of this customer, cus_….")] = None,
    policy: Annotated[str | None, typer.Option(help="Only of this policy.")] = None,
    account: Annotated[str | None, typer.Option(help="Only of this Stripe Connect account.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Go on after a list that ended with this.")] = None,
    as_json: Json = False,
) -> None:
    """The cases in the ledger, newest first."""

    async def work() -> tuple[Sequence[CaseRecord], str | None]:
        async with open_ledger(Settings.load()) as ledger:
            page = await ledger.cases.find(
                account=account,
                customer=customer,
                policy=policy,
                stage=stage,
                needs_human=needs_human or None,
                open_only=open_only,
                limit=limit,
                cursor=cursor,
            )
            return page.cases, page.cursor

    found, more = run(work())
    cases = [case_json(case) for case in found]
    if as_json:
        say_json({"cases": cases, "cursor": more})
        return
    say_table(
        ("Invoice", "Stage", "Waits on", "Outcome", "Remaining", "Currency", "Last day", "Next", "What"),
        [
            (c["invoice_id"], c["stage"], c["waiting_on"], c["outcome"], c["amount_remaining"], c["currency"],
             c["last_day"], moment(c["next_at"]), c["next_what"] or c["closed_reason"])
            for c in cases
        ],
    )  # fmt: skip
    if more:
        warn(f"there are more: --cursor {more}")


@cases_app.command()
def forecast(invoice: Invoice, *, account: Account = "", as_json: Json = False) -> None:
    """What will happen, and when, if nothing changes."""
    ask = with_case(Settings.load(), invoice_of(invoice) or invoice, account, DunningClient.forecast)
    steps = [expected_json(step) for step in run(ask)]
    if as_json:
        say_json({"steps": steps})
    else:
        say_table(("At (UTC)", "What", "Why"), [(moment(s["at"]), s["what"], s["reason"]) for s in steps])


class _Look(NamedTuple):
    """A case as it was found: by its own answer, or in the ledger."""

    source: str
    status: dict[str, Any]
    entries: Sequence[Entry | EntryRecord]
    messages: Sequence[DispatchRecord]
    replies: Sequence[ReplyRecord]


async def _look(settings: Settings, invoice: str, account: str) -> _Look:
    """The case's own answer; when no worker runs, or the history is gone, what the ledger remembers.

    What became of its messages stands in the ledger alone.
    """

    async def ask(client: DunningClient, case: str) -> tuple[Status, list[Entry]]:
        return await client.status(case), await client.timeline(case)

    try:
        status, entries = await with_case(settings, invoice, account, ask)
    except (EngineUnavailable, CaseNotFound) as error:
        try:
            async with open_ledger(settings) as ledger:
                record = await known_case(ledger, invoice, account)
                remembered = await ledger.cases.entries(record.id)
                messages = await ledger.dispatches.of_case(record.id)
                replies = await ledger.replies.of_case(record.id)
        except (CaseNotFound, EngineUnavailable, LedgerError):
            raise error from None
        warn(f"from the ledger, because the case did not answer: {error.message}")
        return _Look("ledger", _remembered(record), remembered, messages, replies)
    try:
        async with open_ledger(settings) as ledger:
            messages = await ledger.dispatches.of_case(status.case_id)
            replies = await ledger.replies.of_case(status.case_id)
    except (EngineUnavailable, LedgerError) as error:
        warn(f"without what became of its messages: {error}")
        messages, replies = (), ()
    shown = {name: plain(getattr(status, name)) for name in Status.model_fields}
    return _Look("case", shown, entries, messages, replies)


def _remembered(case: CaseRecord) -> dict[str, Any]:
    """A ledger record under the names of a status; what only the case knows is None."""
    known = {
        "case_id": case.id,
        "reason": case.next_what or case.closed_reason,
        "policy": f"{case.policy_name} {case.policy_version}",
    }
    return {name: known.get(name) or plain(getattr(case, name, None)) for name in Status.model_fields}
