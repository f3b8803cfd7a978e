"""What a workflow's history cost: events, bytes and billable actions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

_LOCAL_ACTIVITY = "core_local_activity"

#: Traces of skipped time: a case that lives its weeks in real time has none of them.
_SKIPPING = frozenset(
    {
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED,
    }
)


@dataclass
class Cost:
    """What a history cost. `by_kind` says what the actions were."""

    events: int = 0
    bytes: int = 0
    by_kind: dict[str, int] = field(default_factory=dict)

    @property
    def actions(self) -> int:
        """Billable actions."""
        return sum(self.by_kind.values())


def cost_of(history: Iterable[HistoryEvent]) -> Cost:
    """Count a history by Temporal's rule (docs.temporal.io/evaluate/cloud/actions).

    One action each: the start together with the signal that came with it, every other signal, every accepted
    update, every try of an activity, every timer, every upsert of search attributes, and every workflow task
    that ran local activities. `bytes` is the size of the events as the server stores them, in protobuf.
    """
    events = [event for event in history if event.event_type not in _SKIPPING]
    count: dict[str, int] = {}
    for event in events:
        kind, number = _billed(event)
        if number:
            count[kind] = count.get(kind, 0) + number
    if len(events) > 1 and _billed(events[1])[0] == "signals":
        count["signals"] -= 1  # signal-with-start is one action
    tasks = _tasks_with_local_activities(events)
    count |= {"tasks_with_local_activities": tasks} if tasks else {}
    kinds = {kind: number for kind, number in sorted(count.items()) if number}
    return Cost(len(events), sum(event.ByteSize() for event in events), kinds)


def _billed(event: HistoryEvent) -> tuple[str, int]:
    match event.event_type:
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
            return "starts", 1
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
            return "signals", 1
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
            return "updates", 1
        case EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:  # written once it has ended, with the tries it took
            return "activities", event.activity_task_started_event_attributes.attempt
        case EventType.EVENT_TYPE_TIMER_STARTED:
            return "timers", 1
        case EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES:
            return "upserts", 1
    return "", 0


def _tasks_with_local_activities(events: Sequence[HistoryEvent]) -> int:
    tasks = {
        event.marker_recorded_event_attributes.workflow_task_completed_event_id
        for event in events
        if event.event_type == EventType.EVENT_TYPE_MARKER_RECORDED
        and event.marker_recorded_event_attributes.marker_name == _LOCAL_ACTIVITY
    }
    return len(tasks)


def steps_of(history: Iterable[HistoryEvent]) -> str:
    """The commands of a case in their order, one letter each: what a bare workflow repeats (`bench.bare`).

    `l` a local activity, `e` an activity of the workflow's own queue, `a` one of another queue, `t` a timer.
    """
    events = list(history)
    own = events[0].workflow_execution_started_event_attributes.task_queue.name
    return "".join(_letter(event, own) for event in events)


def _letter(event: HistoryEvent, own_queue: str) -> str:
    match event.event_type:
        case EventType.EVENT_TYPE_MARKER_RECORDED:
            return "l"
        case EventType.EVENT_TYPE_TIMER_STARTED:
            return "t"
        case EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            queue = event.activity_task_scheduled_event_attributes.task_queue.name
            return "e" if queue == own_queue else "a"
    return ""
