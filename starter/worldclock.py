"""One clock for the whole local world: the sandbox's, and every case's own.

The dev server skips time for each workflow by itself. So that times of one case can be compared with those of
another and with Stripe's, all of them are brought to the same moment. `temporalio.testing.TimeSkipper` is
experimental: this is the only module that knows it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from datetime import datetime, timedelta

from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import TimeSkipper

from sandbox.control_client import ControlClient

#: How far beyond a moment the clocks go: a skip ends at its target only when no work is left before it, and
#: work in progress takes real time.
MARGIN = timedelta(minutes=1)
_SETTLING = timedelta(seconds=30)


class WorldClock:
    """Brings the sandbox and cases to a moment, effects included."""

    def __init__(self, client: Client, control: ControlClient) -> None:
        self._client, self._control = client, control
        self._skipper = TimeSkipper(client)

    async def now(self) -> datetime:
        """The time of the world, aware UTC."""
        return await self._control.now()

    async def advance(self, to: datetime, cases: Iterable[str]) -> None:
        """Bring the world and these workflows to a little after `to`; what fell due on the way is done then.

        Workflows that are left out stay behind and are brought along whenever they are named.
        """
        target = await self._control.set_clock(to + MARGIN)
        await asyncio.gather(*(_if_it_runs(self._bring(case, target)) for case in cases))

    async def settle(self, cases: Iterable[str]) -> None:
        """Wait until webhooks are delivered and these workflows have done what they asked for."""
        await self._control.drain()
        await asyncio.gather(*(_if_it_runs(self._skip(case, _SETTLING)) for case in cases))

    async def _bring(self, case: str, target: datetime) -> None:
        found = await self._client.get_workflow_handle(case).describe()
        if found.status is not WorkflowExecutionStatus.RUNNING:
            return
        skipped = found.raw_description.workflow_extended_info.time_skipping_info
        now = skipped.current_time.ToDatetime(target.tzinfo) if skipped.HasField("current_time") else None
        ahead = target - (now or datetime.now(target.tzinfo))
        if ahead > timedelta():
            await self._skip(case, ahead)

    async def _skip(self, case: str, ahead: timedelta) -> None:
        """A skip waits until the workflow is idle, which makes it a barrier."""
        await self._skipper.fast_forward(self._client.get_workflow_handle(case), ahead)


async def _if_it_runs(act: Awaitable[None]) -> None:
    """Do it, unless the workflow has ended or not begun."""
    try:
        await act
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
