"""The time-outs that the settings name reach the cases."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.fixtures.engine import Engine
from workflows.options import PATIENCE


async def test_a_worker_set_to_less_patience_gives_its_activities_less_time(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PATIENCE, "one_try", timedelta(seconds=7))
    monkeypatch.setattr(PATIENCE, "all_tries", timedelta(seconds=70))
    case = await engine.case("lost_card")
    history = await case.handle.fetch_history()
    scheduled = [event.activity_task_scheduled_event_attributes for event in history.events]
    times = {
        (order.start_to_close_timeout.seconds, order.schedule_to_close_timeout.seconds)
        for order in scheduled
        if order.activity_id
    }
    assert times == {(7, 70)}
