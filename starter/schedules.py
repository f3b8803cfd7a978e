"""The Temporal Schedules, declared as data: what runs by itself, how often, and what happens to missed runs.

A run that would begin while the last one still goes on is skipped: every one of them looks at all there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode

from activities.interface import TASK_QUEUE
from starter.errors import EngineUnavailable


@dataclass(frozen=True, slots=True)
class Declared:
    """A schedule. `jitter` spreads its runs; one that was missed for longer than `catch_up` is not made."""

    id: str
    workflow: str
    every: timedelta
    jitter: timedelta
    catch_up: timedelta
    note: str

    @property
    def schedule(self) -> Schedule:
        """As Temporal takes it."""
        return Schedule(
            action=ScheduleActionStartWorkflow(self.workflow, id=self.id, task_queue=TASK_QUEUE),
            spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=self.every)], jitter=self.jitter),
            policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=self.catch_up),
        )


HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SCHEDULES: tuple[Declared, ...] = (
    Declared(
        "dunning/reconciliation", "Reconciliation", HOUR, HOUR / 6, HOUR, "compares Stripe with the engine"
    ),
    Declared(
        "dunning/expiring-cards", "ExpiringCardScan", DAY, HOUR, DAY / 2, "finds cards that expire too early"
    ),
    Declared("dunning/risk-review", "RiskReview", DAY, HOUR, DAY / 2, "assesses every customer's risk"),
)


@dataclass(frozen=True, slots=True)
class Shown:
    """A declared schedule, and what Temporal says of it. `exists` is False until it was applied."""

    declared: Declared
    exists: bool
    paused: bool = False
    last_at: datetime | None = None
    next_at: datetime | None = None


async def apply(client: Client) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Create the schedules, or bring those that exist up to date; harmless to repeat. Ids: created, updated.

    One that somebody paused stays paused. Raises EngineUnavailable when Temporal does not answer.
    """
    created, updated = [], []
    try:
        for declared in SCHEDULES:
            try:
                await client.create_schedule(declared.id, declared.schedule)
                created.append(declared.id)
            except ScheduleAlreadyRunningError:
                await _update(client, declared)
                updated.append(declared.id)
    except RPCError as error:
        raise EngineUnavailable(f"the schedules cannot be applied: {error.message}") from error
    return tuple(created), tuple(updated)


async def _update(client: Client, declared: Declared) -> None:
    def news(found: ScheduleUpdateInput) -> ScheduleUpdate:
        wanted = declared.schedule
        wanted.state = found.description.schedule.state
        return ScheduleUpdate(schedule=wanted)

    await client.get_schedule_handle(declared.id).update(news)


async def look(client: Client) -> tuple[Shown, ...]:
    """The schedules, and when each ran and runs. Raises EngineUnavailable when Temporal does not answer."""
    return tuple([await _look(client, declared) for declared in SCHEDULES])


async def _look(client: Client, declared: Declared) -> Shown:
    try:
        found = await client.get_schedule_handle(declared.id).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return Shown(declared, exists=False)
        raise EngineUnavailable(f"the schedules cannot be read: {error.message}") from error
    ran, coming = found.info.recent_actions, found.info.next_action_times
    return Shown(
        declared,
        exists=True,
        paused=found.schedule.state.paused,
        last_at=ran[-1].started_at if ran else None,
        next_at=coming[0] if coming else None,
    )
