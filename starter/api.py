"""The HTTP API: start a case, find cases, read one, pull its levers.

Cases and timelines are read from the ledger and need no worker; the case answers forecasts and levers.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request

from ledger import Ledger, LedgerError, SchemaError
from starter.access import Caller, Gate
from starter.api_customers import add_customers
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
from starter.api_notices import add_notices
from starter.api_risk import add_risk
from starter.client import DunningClient
from starter.errors import CaseClosed, InvalidInput
from starter.finding import known_case
from starter.idempotency import Idempotency
from starter.settings import Scope, Settings
from starter.views import case_json, difference_json, expected_json, message_json, with_deliveries
from starter.webhooks.receiver import Receiver
from starter.wishes import Wishes

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


def api_router(settings: Settings, client: DunningClient, ledger: Ledger) -> APIRouter:
    """The routes under `/api/v1`."""
    router = APIRouter(prefix="/api/v1")
    gate = Gate(settings)
    _add_cases(router, gate, client, ledger)
    timeout = timedelta(seconds=settings.dunning_rpc_timeout_seconds)
    add_customers(router, gate, ledger, Wishes(ledger, Receiver(client.temporal, ledger, timeout)))
    add_risk(router, gate, ledger)
    add_notices(router, gate, settings, ledger)
    for lever, scope in LEVER_SCOPES.items():
        _add_lever(router, gate, client, ledger, lever, scope)

    supporter = Depends(gate.requires("support"))

    @router.post("/cases/{invoice_id}/levers/{lever}", dependencies=[supporter], include_in_schema=False)
    async def unknown(lever: str) -> None:
        raise InvalidInput(f"there is no lever {lever!r}: use {', '.join(LEVER_SCOPES)}", "lever")

    return router


def _add_cases(router: APIRouter, gate: Gate, client: DunningClient, ledger: Ledger) -> None:
    reader, supporter = Depends(gate.requires("read")), Depends(gate.requires("support"))
    once = Idempotency(ledger).once

    @router.post("/cases", status_code=202, response_model=Started, responses=errors(409))
    async def start(
        body: StartBody, caller: Caller = supporter, idempotency_key: IdempotencyKey = None
    ) -> dict[str, Any]:
        """Open the case of an invoice, or find the one that runs."""

        async def act() -> dict[str, Any]:
            case = await client.start(**body.model_dump())
            return {"invoice_id": case.invoice_id, "workflow_id": case.workflow_id, "run_id": case.run_id}

        return await once(caller.key, "cases", idempotency_key, body.model_dump(), act)

    @router.get("/cases", dependencies=[reader], response_model=CaseList, responses=errors())
    async def cases(filters: Annotated[Filters, Query()]) -> dict[str, Any]:
        """The cases that fit all filters, newest first."""
        wanted = filters.model_dump(exclude={"open"}, exclude_none=True)
        try:
            page = await ledger.cases.find(**wanted, open_only=filters.open)
        except SchemaError:
            raise
        except LedgerError as error:
            raise InvalidInput(str(error), "cursor") from error
        return {"cases": [case_json(case) for case in page.cases], "cursor": page.cursor}

    @router.get(
        "/cases/{invoice_id}",
        dependencies=[reader],
        response_model=CaseWithMessages,
        responses=errors(404),
    )
    async def case(invoice_id: InvoiceId, account: Account = "") -> dict[str, Any]:
        """The latest case of an invoice, and what became of its messages."""
        found = await known_case(ledger, invoice_id, account)
        messages = await ledger.dispatches.of_case(found.id)
        return case_json(found) | {"messages": [message_json(message) for message in messages]}

    @router.get(
        "/cases/{invoice_id}/timeline",
        dependencies=[reader],
        response_model=TimelineView,
        responses=errors(404),
    )
    async def timeline(invoice_id: InvoiceId, account: Account = "") -> dict[str, Any]:
        """What happened so far."""
        found = await known_case(ledger, invoice_id, account)
        entries = await ledger.cases.entries(found.id)
        messages = await ledger.dispatches.of_case(found.id)
        return {"case_id": found.id, "entries": with_deliveries(entries, messages)}

    @router.get(
        "/cases/{invoice_id}/forecast",
        dependencies=[reader],
        response_model=ForecastView,
        responses=errors(404, 409),
    )
    async def forecast(invoice_id: InvoiceId, account: Account = "") -> dict[str, Any]:
        """What will happen, and when, if nothing changes."""
        found = await known_case(ledger, invoice_id, account)
        steps = await client.forecast(found.workflow_id) if found.open else []
        return {"case_id": found.id, "steps": [expected_json(step) for step in steps]}

    @router.get(
        "/cases/{invoice_id}/forecast/{policy}",
        dependencies=[reader],
        response_model=DifferenceView,
        responses=errors(404, 409),
    )
    async def dry_run(invoice_id: InvoiceId, policy: PolicyName, account: Account = "") -> dict[str, Any]:
        """What the lever set_policy would change in the forecast. Changes nothing."""
        found = await known_case(ledger, invoice_id, account)
        if not found.open:
            raise CaseClosed(f"the case of {found.invoice_id} is closed ({found.outcome})")
        return difference_json(await client.preview_policy(found.workflow_id, policy))


def _add_lever(
    router: APIRouter, gate: Gate, client: DunningClient, ledger: Ledger, lever: str, scope: Scope
) -> None:
    allowed, once = Depends(gate.requires(scope)), Idempotency(ledger).once

    async def pull(
        request: Request,
        invoice_id: InvoiceId,
        caller: Caller = allowed,
        account: Account = "",
        idempotency_key: IdempotencyKey = None,
    ) -> dict[str, Any]:
        payload, key = await _object(request), idempotency_key
        by = payload.get("by")
        if by is not None and not isinstance(by, str):
            raise InvalidInput("by: write a name", "by")
        signed = payload | {"by": caller.signs(by)}
        if key is not None and signed.get("request_id") is None:
            signed["request_id"] = key  # should this process die before it has stored the answer

        async def act() -> dict[str, Any]:
            found = await known_case(ledger, invoice_id, account)
            if not found.open:
                raise CaseClosed(f"the case of {found.invoice_id} is closed ({found.outcome})")
            return {"accepted": True, "text": await client.pull(found.workflow_id, lever, signed)}

        return await once(caller.key, f"{account}/{invoice_id}/{lever}", key, payload, act)

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
