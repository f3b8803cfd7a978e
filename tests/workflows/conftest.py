"""Recording histories, when asked to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.fixtures.case import Case
from tests.workflows.histories import Recorder

Record = Callable[[Case, str], Awaitable[None]]


@pytest.fixture(scope="session")
def recorder(request: pytest.FixtureRequest) -> Recorder | None:
    """Writes histories, with `--update-histories` only."""
    return Recorder() if request.config.getoption("--update-histories") else None


@pytest.fixture
def record(recorder: Recorder | None) -> Record:
    """Keep the history of a case as it stands, under a name."""

    async def keep(case: Case, name: str) -> None:
        if recorder is not None:
            recorder.add(name, (await case.handle.fetch_history()).to_json())

    return keep
