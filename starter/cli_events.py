"""`dunning events`: what the business's own systems were told, and whether they heard it."""

from __future__ import annotations

import importlib
import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from activities.endpoints import Endpoints
from dunning.announcements import body
from dunning.policy import PolicyError
from ledger.outgoing import EventRecord
from starter import temporal
from starter.cli_output import moment, say, say_fields, say_json, say_table
from starter.cli_session import open_ledger, run
from starter.endpoints import endpoints_of
from starter.errors import DunningError, SettingsError
from starter.finding import known_case
from starter.relay import start
from starter.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
EventId = Annotated[str, typer.Argument(metavar="EVENT", help="evt_…")]

events_app = typer.Typer(help="Events for your own systems.", no_args_is_help=True)


class State(StrEnum):
    """How a delivery may stand."""

    PENDING = "pending"
    STARTED = "started"
    DELIVERED = "delivered"
    FAILED = "failed"
    HELD = "held"


class EventNotFound(DunningError):
    """The ledger has no such event or endpoint."""

    code = "event_not_found"
    http_status = 404


@events_app.command("list")
def list_events(
    invoice: Annotated[str | None, typer.Option(help="Of one invoice's case.")] = None,
    account: Annotated[str, typer.Option(help="The Connect account of the invoice.")] = "",
    endpoint: Annotated[str | None, typer.Option(help="For one endpoint.")] = None,
    state: Annotated[State | None, typer.Option(help="Whose delivery stands so.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    as_json: Json = False,
) -> None:
    """The newest events, and how their deliveries stand."""
    settings = Settings.load()

    async def work() -> tuple[EventRecord, ...]:
        async with open_ledger(settings) as ledger:
            case_id = (await known_case(ledger, invoice, account)).id if invoice else None
            return await ledger.outbox.events(
                case_id=case_id, endpoint=endpoint, state=state.value if state else None, limit=limit
            )

    found = run(work())
    if as_json:
        return say_json({"events": [_shown(event) for event in found]})
    rows = [
        (
            event.announcement.id,
            moment(event.announcement.at.isoformat()),
            event.announcement.type,
            event.case_id,
            ", ".join(f"{d.endpoint} {d.state}" for d in event.deliveries),
        )
        for event in found
    ]
    return say_table(("Event", "At", "Type", "Case", "Deliveries"), rows)


@events_app.command()
def show(event_id: EventId, as_json: Json = False) -> None:
    """One event as it is sent, and every attempt to deliver it."""
    settings = Settings.load()

    async def work() -> tuple[EventRecord, list[dict[str, Any]]]:
        async with open_ledger(settings) as ledger:
            event = await ledger.outbox.event(event_id)
            if event is None:
                raise EventNotFound(f"there is no event {event_id!r}: see `dunning events list`")
            attempts = await ledger.outbox.attempts(event_id)
        return event, [
            {"endpoint": a.endpoint, "at": a.at.isoformat(), "status": a.status, "detail": a.detail}
            for a in attempts
        ]

    event, attempts = run(work())
    if as_json:
        return say_json(_shown(event) | {"attempts": attempts})
    say_fields({"event": event_id, "case": event.case_id})
    say(body(event.announcement).decode())
    for delivery in event.deliveries:
        say(f"{delivery.endpoint}: {delivery.state}" + (f", {delivery.detail}" if delivery.detail else ""))
    for attempt in attempts:
        answer = attempt["status"] or "no answer"
        say(f"  {moment(attempt['at'])}  {attempt['endpoint']}  {answer}  {attempt['detail']}")
    return None


@events_app.command()
def resend(
    event_id: EventId,
    endpoint: Annotated[str | None, typer.Option(help="To this endpoint only.")] = None,
    as_json: Json = False,
) -> None:
    """Send an event again, with the same id, whatever became of it."""
    settings = Settings.load()

    async def work() -> tuple[str, ...]:
        async with open_ledger(settings) as ledger:
            event = await ledger.outbox.event(event_id)
            wanted = [d for d in event.deliveries if endpoint in (None, d.endpoint)] if event else []
            if not wanted:
                raise EventNotFound("there is no such event for such an endpoint: see `dunning events list`")
            client = await temporal.connect(settings)
            for delivery in wanted:
                await ledger.outbox.again(event_id, delivery.endpoint, datetime.now(UTC))
                await start(client, ledger, delivery, anew=True)
        return tuple(delivery.endpoint for delivery in wanted)

    names = run(work())
    if as_json:
        return say_json({"event": event_id, "endpoints": names})
    return say(f"{event_id} goes to {', '.join(names)} again")


@events_app.command()
def endpoints(as_json: Json = False) -> None:
    """Your endpoints, what each wants to hear, and whether it is disabled."""
    settings = Settings.load()

    async def work() -> dict[str, str]:
        async with open_ledger(settings) as ledger:
            return await ledger.outbox.disabled()

    configured, disabled = _configured(settings), run(work())
    if as_json:
        return say_json(
            {
                "endpoints": [
                    {
                        **endpoint.model_dump(mode="json"),
                        "secrets": len(configured.keys[endpoint.name]),
                        "disabled": disabled.get(endpoint.name),
                    }
                    for endpoint in configured.listed
                ]
            }
        )
    rows = [
        (
            e.name,
            e.url,
            ", ".join(e.events or ("all",)),
            len(configured.keys[e.name]),
            disabled.get(e.name, "no"),
        )
        for e in configured.listed
    ]
    return say_table(("Name", "URL", "Events", "Secrets", "Disabled"), rows)


@events_app.command()
def enable(
    name: Annotated[str, typer.Argument(metavar="ENDPOINT", help="Its name in business.yaml.")],
    as_json: Json = False,
) -> None:
    """Send to a disabled endpoint again, also what was held for it."""
    settings = Settings.load()

    async def work() -> int | None:
        async with open_ledger(settings) as ledger:
            return await ledger.outbox.enable(name, datetime.now(UTC))

    held = run(work())
    if held is None:
        raise EventNotFound(f"no endpoint {name!r} is disabled: see `dunning events endpoints`")
    if as_json:
        return say_json({"endpoint": name, "held": held})
    return say(f"{name} is enabled; {held} events that were held for it go out within half a minute")


def _configured(settings: Settings) -> Endpoints:
    # Imported late: the activities bring the providers' SDKs along.
    context: Any = importlib.import_module("activities.context")
    try:
        return endpoints_of(settings, context.load_business(settings.dunning_policies).endpoints)
    except PolicyError as error:
        raise SettingsError(str(error).splitlines()) from error


def _shown(event: EventRecord) -> dict[str, Any]:
    return {
        "id": event.announcement.id,
        "case_id": event.case_id,
        "payload": json.loads(body(event.announcement)),
        "deliveries": [
            {"endpoint": d.endpoint, "state": d.state, "detail": d.detail, "at": d.changed_at.isoformat()}
            for d in event.deliveries
        ],
    }
