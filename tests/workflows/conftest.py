"""Recording histories, when asked to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import pytest
from temporalio.client import WorkflowHandle

from tests.workflows.histories import Recorder


class Running(Protocol):
    """Whatever has a workflow: a case of an invoice or of a card, a reminder."""

    @property
    def handle(self) -> WorkflowHandle[Any, Any]:
        """Its workflow."""


Record = Callable[[Running, str], Awaitable[None]]


@pytest.fixture(scope="session")
def recorder(request: pytest.FixtureRequest) -> Recorder | None:
    """Writes histories, with `--update-histories` only."""
    return Recorder() if request.config.getoption("--update-histories") else None


@pytest.fixture
def record(recorder: Recorder | None) -> Record:
    """Keep the history as it stands, under a name."""

    async def keep(case: Running, name: str) -> None:
        if recorder is not None:
            recorder.add(name, (await case.handle.fetch_history()).to_json())

    return keep
