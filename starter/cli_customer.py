"""`dunning customer`: all that is known of one customer, in one view; given away, and erased."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from ledger import Ledger
from ledger.cards import CardCaseRecord
from ledger.records import CaseRecord
from ledger.reminders import ReminderRecord
from starter import temporal
from starter.cli_correspondence import Account, Customer, Json
from starter.cli_output import moment, money, say, say_json, say_table
from starter.cli_session import open_ledger, run
from starter.errors import CaseNotFound, EngineUnavailable, InvalidInput
from starter.profile import profile
from starter.settings import Settings

customer_app = typer.Typer(name="customer", help="One customer, over all cases.", no_args_is_help=True)
_ALL = 1000
_Case = CaseRecord | CardCaseRecord | ReminderRecord


@customer_app.command("show")
def show(customer: Customer, *, account: Account = "", as_json: Json = False) -> None:
    """Cases, cards, reminders, attempts, messages, promises, consents and replies of a customer."""
    found = run(_with_ledger(lambda ledger: profile(ledger, account, customer)))
    if as_json:
        say_json(found)
        return
    if found["risk"] is not None:
        say(f"risk {found['risk']['level']}: `dunning risk show` tells why")
        say("")
    _table(("Invoice", "Opened", "Stage", "Outcome", "Owed", "Next"), found["cases"], _case_row)
    _table(("Card", "Expires", "Opened", "Charged", "Outcome"), found["cards"], _card_row)
    _table(("Renewal", "Opened", "Charged", "Reminder"), found["reminders"], _reminder_row)
    _table(("Tried", "Invoice", "Amount", "Outcome", "Why"), found["attempts"], _attempt_row)
    _table(("Sent", "Step", "Channel", "Fate"), found["messages"], _message_row)
    _table(("Granted", "Days", "By", "Reason"), found["extensions"], _extension_row)
    _table(("Promised", "For", "State", "By"), found["promises"], _promise_row)
    _table(("Said", "Channel", "State", "Source"), found["consents"], _consent_row)
    _table(("Answered", "Reason", "Words"), found["surveys"], _survey_row)
    _table(("Wrote", "Channel", "State", "Words"), found["replies"], _reply_row)


@customer_app.command("export")
def export(customer: Customer, *, account: Account = "") -> None:
    """Everything the ledger holds of a customer, timelines included, as JSON: for a request of access."""
    say_json(run(_with_ledger(lambda ledger: profile(ledger, account, customer, timelines=True))))


@customer_app.command("erase")
def erase(
    customer: Customer,
    *,
    account: Account = "",
    yes: Annotated[bool, typer.Option("--yes", help="It cannot be undone: say that you mean it.")] = False,
    as_json: Json = False,
) -> None:
    """Erase what people wrote about and from a customer. Financial facts stay, and running cases go on."""
    if not yes:
        raise InvalidInput("yes: what is erased cannot be brought back; repeat it with --yes", "yes")
    done = run(_erase(Settings.load(), account, customer))
    if as_json:
        say_json(done)
        return
    say(f"{done['rows']} rows of the ledger lost their words; {done['histories']} histories were deleted")
    if done["running"]:
        say(
            f"{done['running']} cases run on: they forget the words now, but Temporal keeps the history of a "
            "case while it runs; erase again when they have ended"
        )
    say("at Stripe, SendGrid and Twilio erase the customer with their own means")


async def _with_ledger(ask: Callable[[Ledger], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    async with open_ledger(Settings.load()) as ledger:
        return await ask(ledger)


async def _erase(settings: Settings, account: str, customer: str) -> dict[str, Any]:
    """Running cases first: what they remember would else be written again."""
    client = await temporal.connect(settings)
    timeout = timedelta(seconds=settings.dunning_rpc_timeout_seconds)
    async with open_ledger(settings) as ledger:
        cases = (await ledger.cases.find(account=account, customer=customer, limit=_ALL)).cases
        cards = await ledger.cards.of_customer(account, customer)  # an open one holds no words
        reminders = await ledger.reminders.of_customer(account, customer)
        if not cases and not cards and not reminders:
            raise CaseNotFound(f"{customer} has no case: there is nothing to erase")
        try:
            running = [case for case in cases if case.open and await _forgets(client, case, timeout)]
            every: list[_Case] = [*cases, *cards, *reminders]
            ended = [case for case in every if case.closed_at is not None]
            deleted = sum([await _deleted(client, case, timeout) for case in ended])
        except RPCError as error:
            raise EngineUnavailable("Temporal does not answer: nothing was erased in the ledger") from error
        rows = await ledger.people.erase(account, customer)
    return {"rows": rows, "histories": deleted, "running": len(running)}


async def _forgets(client: Client, case: CaseRecord, timeout: timedelta) -> bool:
    try:
        handle = client.get_workflow_handle(case.workflow_id)
        hint = {"type": "customer.erased", "created": datetime.now(UTC).isoformat()}
        await handle.signal("billing_event", hint, rpc_timeout=timeout)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False
    return True


async def _deleted(client: Client, case: _Case, timeout: timedelta) -> bool:
    """Delete the history of a case that has ended; False if Temporal has forgotten it by itself."""
    execution = WorkflowExecution(workflow_id=case.workflow_id, run_id=case.run_id)
    request = DeleteWorkflowExecutionRequest(namespace=client.namespace, workflow_execution=execution)
    try:
        await client.workflow_service.delete_workflow_execution(request, timeout=timeout)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False
    return True


def _table(
    headers: tuple[str, ...], rows: list[dict[str, Any]], shown: Callable[[dict[str, Any]], tuple[Any, ...]]
) -> None:
    if rows:
        say_table(headers, [shown(row) for row in rows])
        say("")


def _case_row(case: dict[str, Any]) -> tuple[Any, ...]:
    owed = money(case["amount_remaining"], case["currency"])
    what = case["next_what"] or case["closed_reason"]
    return (case["invoice_id"], moment(case["opened_at"]), case["stage"], case["outcome"], owed, what)


def _card_row(card: dict[str, Any]) -> tuple[Any, ...]:
    moments = (moment(card["opened_at"]), moment(card["charge_at"]))
    return (card["method"], card["expiry"], *moments, card["outcome"])


def _reminder_row(reminder: dict[str, Any]) -> tuple[Any, ...]:
    moments = (moment(reminder["opened_at"]), moment(reminder["charge_at"]))
    return (reminder["subscription"], *moments, reminder["outcome"])


def _attempt_row(tried: dict[str, Any]) -> tuple[Any, ...]:
    amount = money(tried["amount"], tried["currency"])
    return (moment(tried["at"]), tried["invoice_id"], amount, tried["outcome"], tried["decline_class"])


def _message_row(sent: dict[str, Any]) -> tuple[Any, ...]:
    return (moment(sent["at"]), sent["step"], sent["channel"], sent["fate"])


def _extension_row(granted: dict[str, Any]) -> tuple[Any, ...]:
    return (moment(granted["at"]), granted["days"], granted["by"], granted["reason"])


def _promise_row(made: dict[str, Any]) -> tuple[Any, ...]:
    return (moment(made["at"]), made["promised_on"], made["state"], made["by"])


def _consent_row(said: dict[str, Any]) -> tuple[Any, ...]:
    return (moment(said["at"]), said["channel"], said["state"], said["source"])


def _survey_row(said: dict[str, Any]) -> tuple[Any, ...]:
    return (moment(said["at"]), said["reason"], said["text"])


def _reply_row(reply: dict[str, Any]) -> tuple[Any, ...]:
    return (moment(reply["at"]), reply["channel"], reply["state"], reply["text"])
