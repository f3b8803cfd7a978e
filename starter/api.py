"""The HTTP API: start a case, find cases, read one, pull its levers.

Cases and timelines are read from the ledger and need no worker; the case answers forecasts and levers.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict

from dunning.values import Stage
from ledger import Ledger, LedgerError, SchemaError
from starter.access import allow, requires
from starter.client import DunningClient
from starter.errors import CaseClosed, InvalidInput
from starter.finding import known_case
from starter.settings import Scope, Settings
from starter.views import case_json, entry_json, expected_json

#: What each lever needs. Those that end a case or stop a service are for administrators.
LEVER_SCOPES: dict[str, Scope] = {
    "grant_extension": "support",
    "request_extension": "support",
    "deny_extension": "support",
    "hold": "support",
    "release": "support",
    "retry_now": "support",
    "stop": "admin",
}


class StartBody(BaseModel):
    """What `POST /api/v1/cases` takes; `invoice_id` is enough."""

    model_config = ConfigDict(extra="forbid")

    invoice_id: str
    policy: str | None = None
    account: str | None = None
    reopen: bool = False


class Filters(BaseModel):
    """What `GET /api/v1/cases` filters by; `cursor` continues a list."""

    model_config = ConfigDict(extra="forbid")

    account: str | None = None
    customer: str | None = None
    subscription: str | None = None
    stage: Stage | None = None
    needs_human: bool | None = None
    policy: str | None = None
    open: bool = False
    limit: Annotated[int, Query(ge=1, le=200)] = 50
    cursor: str | None = None


def api_router(settings: Settings, client: DunningClient, ledger: Ledger) -> APIRouter:
    """The routes under `/api/v1`."""
    router = APIRouter(prefix="/api/v1")
    reader = Depends(requires(settings, "read"))
    supporter = Depends(requires(settings, "support"))

    @router.post("/cases", status_code=202, dependencies=[supporter])
    async def start(body: StartBody) -> dict[str, Any]:
        case = await client.start(
            body.invoice_id, policy=body.policy, account=body.account, reopen=body.reopen
        )
        return {"invoice_id": case.invoice_id, "workflow_id": case.workflow_id, "run_id": case.run_id}

    @router.get("/cases", dependencies=[reader])
    async def cases(filters: Annotated[Filters, Query()]) -> dict[str, Any]:
        wanted = filters.model_dump(exclude={"open"}, exclude_none=True)
        try:
            page = await ledger.cases.find(**wanted, open_only=filters.open)
        except SchemaError:
            raise
        except LedgerError as error:
            raise InvalidInput(str(error), "cursor") from error
        return {"cases": [case_json(case) for case in page.cases], "cursor": page.cursor}

    @router.get("/cases/{invoice_id}", dependencies=[reader])
    async def case(invoice_id: str, account: str = "") -> dict[str, Any]:
        return case_json(await known_case(ledger, invoice_id, account))

    @router.get("/cases/{invoice_id}/timeline", dependencies=[reader])
    async def timeline(invoice_id: str, account: str = "") -> dict[str, Any]:
        found = await known_case(ledger, invoice_id, account)
        entries = await ledger.cases.entries(found.id)
        return {"case_id": found.id, "entries": [entry_json(entry) for entry in entries]}

    @router.get("/cases/{invoice_id}/forecast", dependencies=[reader])
    async def forecast(invoice_id: str, account: str = "") -> dict[str, Any]:
        found = await known_case(ledger, invoice_id, account)
        steps = await client.forecast(found.workflow_id) if found.open else []
        return {"case_id": found.id, "steps": [expected_json(step) for step in steps]}

    @router.post("/cases/{invoice_id}/levers/{lever}")
    async def pull(
        request: Request, invoice_id: str, lever: str, payload: dict[str, Any], account: str = ""
    ) -> dict[str, Any]:
        caller = allow(settings, request, LEVER_SCOPES.get(lever, "support"))
        by = payload.get("by")
        if by is not None and not isinstance(by, str):
            raise InvalidInput("by: write a name", "by")
        if lever not in LEVER_SCOPES:
            raise InvalidInput(f"there is no lever {lever!r}: use {', '.join(LEVER_SCOPES)}", "lever")
        found = await known_case(ledger, invoice_id, account)
        if not found.open:
            raise CaseClosed(f"the case of {found.invoice_id} is closed ({found.outcome})")
        text = await client.pull(found.workflow_id, lever, payload | {"by": caller.signs(by)})
        return {"accepted": True, "text": text}

    return router
