"""The HTTP API about customers: what they want to be reached by."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter

from starter.access import READER, SUPPORTER, Caller
from starter.api_models import Account, ConsentsView, CustomerId, StatementBody, errors
from starter.services import SERVICES, Services
from starter.views import consents_json
from starter.wishes import ABOUT

_PATH = "/customers/{customer_id}/consents"

router = APIRouter()


@router.get(_PATH, dependencies=[READER], response_model=ConsentsView, responses=errors())
async def consents(
    customer_id: CustomerId, account: Account = "", its: Services = SERVICES
) -> dict[str, Any]:
    """What a customer agreed to, and every statement that led there."""
    return await consents_json(its.ledger, account, customer_id)


@router.post(_PATH, response_model=ConsentsView, responses=errors())
async def state(
    customer_id: CustomerId,
    body: StatementBody,
    caller: Caller = SUPPORTER,
    account: Account = "",
    its: Services = SERVICES,
) -> dict[str, Any]:
    """Keep what a customer wants. It counts at once, also for messages that are planned."""
    about = ABOUT[body.channel]
    await its.wishes.state(
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
    return await consents_json(its.ledger, account, customer_id)
