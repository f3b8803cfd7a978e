"""One lever for many cases: those that a list filter of Temporal finds, a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from temporalio.service import RPCError, RPCStatusCode

from starter.client import WORKFLOW, DunningClient
from starter.errors import CaseClosed, CaseNotFound, DunningError, InvalidInput, LeverRefused
from starter.rpc_errors import away

_AT_ONCE = 20


@dataclass(frozen=True)
class Pulled:
    """What one case answered. `again`: it may work if the command is repeated with the same --request-id."""

    workflow_id: str
    accepted: bool
    text: str
    again: bool = False


async def found(client: DunningClient, where: str) -> list[str]:
    """The ids of the open cases that the filter finds. Raises InvalidInput for one that cannot be read."""
    query = f"WorkflowType = '{WORKFLOW}' AND ExecutionStatus = 'Running' AND ({where})"
    try:
        return [each.id async for each in client.temporal.list_workflows(query)]
    except RPCError as error:
        if error.status is RPCStatusCode.INVALID_ARGUMENT:
            raise InvalidInput(
                f"--where: Temporal cannot read the filter: {error.message}", "where"
            ) from error
        raise away(error) from error


async def pull_all(
    client: DunningClient, cases: list[str], lever: str, payload: Mapping[str, Any]
) -> AsyncIterator[Pulled]:
    """Pull the lever of every case, some at once, and give the answers as they come."""
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one(case: str) -> Pulled:
        async with limit:
            try:
                return Pulled(case, True, await client.pull(case, lever, payload))
            except (LeverRefused, CaseClosed, CaseNotFound) as error:
                return Pulled(case, False, error.message)
            except InvalidInput:
                raise
            except DunningError as error:
                return Pulled(case, False, error.message, again=True)

    for answer in asyncio.as_completed([one(case) for case in cases]):
        yield await answer
