"""The HTTP API: start a case, find cases, read one, pull its levers.

Cases and timelines are read from the ledger and need no worker; the case answers forecasts and levers.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request

from ledger import LedgerError, SchemaError
from starter import api_customers, api_notices, api_risk
from starter.access import READER, SUPPORTER, Caller, requires
from starter.api_models import (
    Account,
    CaseList,
    CaseWithMessages,
    DifferenceView,
    Filters,
    ForecastView,
    InvoiceId,
    LeverAnswer,
    PolicyName,
    StartBody,
    Started,
    TimelineView,
    errors,
    lever_body,
)
from starter.errors import CaseClosed, InvalidInput
from starter.finding import known_case
from starter.services import SERVICES, Services
from starter.settings import Scope
from starter.views import case_json, difference_json, expected_json, message_json, with_deliveries

#: What each lever needs. Those that end a case or stop a service are for administrators.
LEVER_SCOPES: dict[str, Scope] = {
    "grant_extension": "support",
    "request_extension": "support",
    "deny_extension": "support",
    "promise_to_pay": "support",
    "hold": "support",
    "release": "support",
    "pause": "support",
    "cancel": "admin",
    "send_link": "support",
    "retry_now": "support",
    "suspend_now": "admin",
    "restore_now": "support",
    "stop": "admin",
    "set_policy": "admin",
    "add_note": "support",
}

IdempotencyKey = Annotated[
    str | None,
    Header(
        pattern="^[!-~]+$",
        max_length=200,
        description="Such as a UUID. A repeat with the same key does nothing and gets the same answer.",
    ),
]


router = APIRouter(prefix="/api/v1")


@router.post("/cases", status_code=202, response_model=Started, responses=errors(409))
async def start(
    body: StartBody,
    caller: Caller = SUPPORTER,
    idempotency_key: IdempotencyKey = None,
    its: Services = SERVICES,
) -> dict[str, Any]:
    """Open the case of an invoice, or find the one that runs."""

    async def act() -> dict[str, Any]:
        case = await its.client.start(**body.model_dump())
        return {"invoice_id": case.invoice_id, "workflow_id": case.workflow_id, "run_id": case.run_id}

    return await its.idempotency.once(caller.key, "cases", idempotency_key, body.model_dump(), act)


@router.get("/cases", dependencies=[READER], response_model=CaseList, responses=errors())
async def cases(filters: Annotated[Filters, Query()], its: Services = SERVICES) -> dict[str, Any]:
    """The cases that fit all filters, newest first."""
    wanted = filters.model_dump(exclude={"open"}, exclude_none=True)
    try:
        page = await its.ledger.cases.find(**wanted, open_only=filters.open)
    except SchemaError:
        raise
    except LedgerError as error:
        raise InvalidInput(str(error), "cursor") from error
    return {"cases": [case_json(case) for case in page.cases], "cursor": page.cursor}


@router.get(
    "/cases/{invoice_id}",
    dependencies=[READER],
    response_model=CaseWithMessages,
    responses=errors(404),
)
async def case(invoice_id: InvoiceId, account: Account = "", its: Services = SERVICES) -> dict[str, Any]:
    """The latest case of an invoice, and what became of its messages."""
    found = await known_case(its.ledger, invoice_id, account)
    messages = await its.ledger.dispatches.of_case(found.id)
    return case_json(found) | {"messages": [message_json(message) for message in messages]}


@router.get(
    "/cases/{invoice_id}/timeline",
    dependencies=[READER],
    response_model=TimelineView,
    responses=errors(404),
)
async def timeline(invoice_id: InvoiceId, account: Account = "", its: Services = SERVICES) -> dict[str, Any]:
    """What happened so far."""
    found = await known_case(its.ledger, invoice_id, account)
    entries = await its.ledger.cases.entries(found.id)
    messages = await its.ledger.dispatches.of_case(found.id)
    return {"case_id": found.id, "entries": with_deliveries(entries, messages)}


@router.get(
    "/cases/{invoice_id}/forecast",
    dependencies=[READER],
    response_model=ForecastView,
    responses=errors(404, 409),
)
async def forecast(invoice_id: InvoiceId, account: Account = "", its: Services = SERVICES) -> dict[str, Any]:
    """What will happen, and when, if nothing changes."""
    found = await known_case(its.ledger, invoice_id, account)
    steps = await its.client.forecast(found.workflow_id) if found.open else []
    return {"case_id": found.id, "steps": [expected_json(step) for step in steps]}


@router.get(
    "/cases/{invoice_id}/forecast/{policy}",
    dependencies=[READER],
    response_model=DifferenceView,
    responses=errors(404, 409),
)
async def dry_run(
    invoice_id: InvoiceId, policy: PolicyName, account: Account = "", its: Services = SERVICES
) -> dict[str, Any]:
    """What the lever set_policy would change in the forecast. Changes nothing."""
    found = await known_case(its.ledger, invoice_id, account)
    if not found.open:
        raise CaseClosed(f"the case of {found.invoice_id} is closed ({found.outcome})")
    return difference_json(await its.client.preview_policy(found.workflow_id, policy))


def _add_lever(lever: str, scope: Scope) -> None:
    allowed = Depends(requires(scope))

    async def pull(
        request: Request,
        invoice_id: InvoiceId,
        caller: Caller = allowed,
        account: Account = "",
        idempotency_key: IdempotencyKey = None,
        its: Services = SERVICES,
    ) -> dict[str, Any]:
        payload, key = await _object(request), idempotency_key
        by = payload.get("by")
        if by is not None and not isinstance(by, str):
            raise InvalidInput("by: write a name", "by")
        signed = payload | {"by": caller.signs(by)}
        if key is not None and signed.get("request_id") is None:
            signed["request_id"] = key  # should this process die before it has stored the answer

        async def act() -> dict[str, Any]:
            found = await known_case(its.ledger, invoice_id, account)
            if not found.open:
                raise CaseClosed(f"the case of {found.invoice_id} is closed ({found.outcome})")
            return {"accepted": True, "text": await its.client.pull(found.workflow_id, lever, signed)}

        return await its.idempotency.once(caller.key, f"{account}/{invoice_id}/{lever}", key, payload, act)

    router.add_api_route(
        f"/cases/{{invoice_id}}/levers/{lever}",
        pull,
        methods=["POST"],
        summary=f"Pull the lever {lever}",
        operation_id=f"pull_{lever}",
        response_model=LeverAnswer,
        responses=errors(404, 409),
        openapi_extra=lever_body(lever),
    )


async def _object(request: Request) -> dict[str, Any]:
    """The body as a JSON object. Raises InvalidInput."""
    try:
        payload = await request.json()
    except ValueError as error:  # also bytes that are no UTF-8
        raise InvalidInput("the body is not JSON") from error
    if not isinstance(payload, dict):
        raise InvalidInput("the body must be one JSON object")
    return payload


for _lever, _scope in LEVER_SCOPES.items():
    _add_lever(_lever, _scope)


@router.post("/cases/{invoice_id}/levers/{lever}", dependencies=[SUPPORTER], include_in_schema=False)
async def unknown(lever: str) -> None:
    raise InvalidInput(f"there is no lever {lever!r}: use {', '.join(LEVER_SCOPES)}", "lever")


router.include_router(api_customers.router)
router.include_router(api_risk.router)
router.include_router(api_notices.router)
