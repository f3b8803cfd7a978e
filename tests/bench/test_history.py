"""Billable actions are counted by Temporal's rule."""

from __future__ import annotations

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from bench.history import cost_of, steps_of


def event(kind: str, **attributes: object) -> HistoryEvent:
    found = HistoryEvent(event_type=EventType.Value(f"EVENT_TYPE_{kind}"))  # type: ignore[arg-type]
    for name, value in attributes.items():
        getattr(found, f"{kind.lower()}_event_attributes").__setattr__(name, value)
    return found


def local_activity(task: int) -> HistoryEvent:
    return event("MARKER_RECORDED", marker_name="core_local_activity", workflow_task_completed_event_id=task)


STARTED = event("WORKFLOW_EXECUTION_STARTED")
SIGNALED = event("WORKFLOW_EXECUTION_SIGNALED")
TASK = event("WORKFLOW_TASK_SCHEDULED")


def test_signal_with_start_is_one_action() -> None:
    assert cost_of([STARTED, SIGNALED, TASK]).actions == 1


def test_a_later_signal_is_one_more() -> None:
    assert cost_of([STARTED, TASK, SIGNALED]).actions == 2


def test_every_try_of_an_activity_counts() -> None:
    assert cost_of([STARTED, event("ACTIVITY_TASK_STARTED", attempt=3)]).by_kind["activities"] == 3


def test_local_activities_of_one_workflow_task_are_one_action() -> None:
    history = [STARTED, local_activity(4), local_activity(4), local_activity(9)]
    assert cost_of(history).by_kind["tasks_with_local_activities"] == 2


def test_other_markers_are_none() -> None:
    marker = event("MARKER_RECORDED", marker_name="core_patch", workflow_task_completed_event_id=4)
    assert cost_of([STARTED, marker]).actions == 1


def test_timers_updates_and_upserts_count() -> None:
    kinds = ("TIMER_STARTED", "WORKFLOW_EXECUTION_UPDATE_ACCEPTED", "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES")
    assert cost_of([STARTED, *map(event, kinds)]).actions == 4


def test_traces_of_skipped_time_are_left_out() -> None:
    skipped = event("WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED")
    assert cost_of([STARTED, skipped]).events == 1


def test_the_steps_of_a_case_are_read_in_their_order() -> None:
    started = event("WORKFLOW_EXECUTION_STARTED")
    started.workflow_execution_started_event_attributes.task_queue.name = "dunning"
    own, other = event("ACTIVITY_TASK_SCHEDULED"), event("ACTIVITY_TASK_SCHEDULED")
    own.activity_task_scheduled_event_attributes.task_queue.name = "dunning"
    other.activity_task_scheduled_event_attributes.task_queue.name = "dunning-stripe"
    assert steps_of([started, other, local_activity(4), event("TIMER_STARTED"), own]) == "alte"
