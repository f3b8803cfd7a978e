"""The HTTP API about customers: what they want to be reached by."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Depends

from ledger import Ledger
from starter.access import Caller, Gate
from starter.api_models import Account, ConsentsView, CustomerId, StatementBody, errors
from starter.views import consents_json
from starter.wishes import ABOUT, Wishes


def add_customers(router: APIRouter, gate: Gate, ledger: Ledger, wishes: Wishes) -> None:
    """Add the routes under `/api/v1/customers`."""
    reader, supporter = Depends(gate.requires("read")), Depends(gate.requires("support"))
    path = "/customers/{customer_id}/consents"

    @router.get(path, dependencies=[reader], response_model=ConsentsView, responses=errors())
    async def consents(customer_id: CustomerId, account: Account = "") -> dict[str, Any]:
        """What a customer agreed to, and every statement that led there."""
        return await consents_json(ledger, account, customer_id)

    @router.post(path, response_model=ConsentsView, responses=errors())
    async def state(
        customer_id: CustomerId, body: StatementBody, caller: Caller = supporter, account: Account = ""
    ) -> dict[str, Any]:
        """Keep what a customer wants. It counts at once, also for messages that are planned."""
        about = ABOUT[body.channel]
        await wishes.state(
            account,
            customer_id,
            about.channels,
            body.state,
            group=about.group,
            source="support",
            at=datetime.now(UTC),
            by=caller.signs(body.by),
            text=body.reason,
        )
        return await consents_json(ledger, account, customer_id)
