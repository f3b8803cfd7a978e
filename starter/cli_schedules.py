"""`dunning schedules`: what runs by itself."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dunning.durations import write_duration
from starter import schedules, temporal
from starter.cli_output import moment, say, say_json, say_table
from starter.cli_session import run
from starter.settings import Settings
from starter.views import plain

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

schedules_app = typer.Typer(name="schedules", help="What runs by itself.", no_args_is_help=True)


@schedules_app.command("apply")
def apply(as_json: Json = False) -> None:
    """Create the schedules, or bring them up to date; one that was paused stays paused."""

    async def work() -> tuple[tuple[str, ...], tuple[str, ...]]:
        return await schedules.apply(await temporal.connect(Settings.load()))

    created, updated = run(work())
    if as_json:
        say_json({"created": created, "updated": updated})
    else:
        say(f"created {', '.join(created) or 'none'}; brought up to date {', '.join(updated) or 'none'}")


@schedules_app.command("show")
def show(as_json: Json = False) -> None:
    """The schedules: how often, when they ran, and when they run next."""

    async def work() -> tuple[schedules.Shown, ...]:
        return await schedules.look(await temporal.connect(Settings.load()))

    found = run(work())
    if as_json:
        say_json({"schedules": [schedule_json(shown) for shown in found]})
        return
    heads = ("Schedule", "What it does", "Every", "Jitter", "Catch-up", "State", "Last", "Next")
    say_table(heads, [schedule_row(shown) for shown in found])


def _state(shown: schedules.Shown) -> str:
    if not shown.exists:
        return "missing"
    return "paused" if shown.paused else "running"


def schedule_json(shown: schedules.Shown) -> dict[str, Any]:
    """A schedule for programs."""
    declared = shown.declared
    times = {"every": declared.every, "jitter": declared.jitter, "catch_up": declared.catch_up}
    return {
        "id": declared.id,
        "what": declared.note,
        **{f"{name}_seconds": int(time.total_seconds()) for name, time in times.items()},
        "state": _state(shown),
        "last_at": plain(shown.last_at),
        "next_at": plain(shown.next_at),
    }


def schedule_row(shown: schedules.Shown) -> tuple[Any, ...]:
    """A schedule as a line of a table."""
    declared = shown.declared
    times = (write_duration(time) for time in (declared.every, declared.jitter, declared.catch_up))
    moments = (moment(at.isoformat()) if at else None for at in (shown.last_at, shown.next_at))
    return (declared.id, declared.note, *times, _state(shown), *moments)
