"""What runs by itself is declared as data, and applying it twice changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest_asyncio
from temporalio.client import Client, ScheduleOverlapPolicy

from dunning.durations import write_duration
from starter.cli_schedules import schedule_json, schedule_row
from starter.schedules import SCHEDULES, apply, look
from tests.docs.markdown import TEXT
from worker import WORKFLOWS

IDS = tuple(declared.id for declared in SCHEDULES)


@pytest_asyncio.fixture(loop_scope="session")
async def namespace(spare_client: Client) -> AsyncIterator[Client]:
    """A namespace without schedules, before and after."""
    await _empty(spare_client)
    yield spare_client
    await _empty(spare_client)


async def _empty(client: Client) -> None:
    for shown in await look(client):
        if shown.exists:
            await client.get_schedule_handle(shown.declared.id).delete()


async def test_applied_once_and_again(namespace: Client) -> None:
    assert [shown.exists for shown in await look(namespace)] == [False] * len(SCHEDULES)
    assert await apply(namespace) == (IDS, ())

    await namespace.get_schedule_handle(IDS[0]).pause(note="stop it")
    assert await apply(namespace) == ((), IDS)
    first, *others = await look(namespace)
    assert (first.exists, first.paused) == (True, True)
    assert all(shown.exists and not shown.paused and shown.next_at for shown in others)


async def test_every_scheduled_workflow_is_served_and_never_overlaps_itself() -> None:
    served = {kind.__name__ for kind in WORKFLOWS}
    assert {declared.workflow for declared in SCHEDULES} <= served
    assert all(d.schedule.policy.overlap is ScheduleOverlapPolicy.SKIP for d in SCHEDULES)


async def test_what_is_shown(namespace: Client) -> None:
    await apply(namespace)
    shown = (await look(namespace))[0]
    assert schedule_row(shown)[:6] == (
        *("dunning/reconciliation", "compares Stripe with the engine"),
        *("1h", "10m", "1h", "running"),
    )
    told = schedule_json(shown)
    assert (told["id"], told["every_seconds"], told["state"]) == ("dunning/reconciliation", 3600, "running")
    assert told["next_at"] is not None


def test_the_readme_tells_of_every_schedule() -> None:
    assert [row for row in TEXT.splitlines() if row.startswith("| `dunning/")] == [
        f"| `{d.id}` | {_spoken(d.every)} | {_spoken(d.jitter)} | {_spoken(d.catch_up)} |" for d in SCHEDULES
    ]


def _spoken(time: timedelta) -> str:
    written = write_duration(time)
    return f"{written[:-1]} {'min' if written.endswith('m') else written[-1]}"
