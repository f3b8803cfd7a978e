"""The HTTP API of notices."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from starter.access import READER
from starter.api_models import Account, CustomerId, errors
from starter.notice_board import NoticeView
from starter.services import SERVICES, Services

Locale = Annotated[str, Query(pattern=r"^[A-Za-z0-9_-]{0,35}$", description="such as `de` or `pt-BR`")]

router = APIRouter()


class NoticesView(BaseModel):
    """What to show now; empty when nothing is owed or nothing was said yet."""

    customer: str
    account: str
    notices: list[NoticeView]


@router.get(
    "/customers/{customer_id}/notices",
    dependencies=[READER],
    response_model=NoticesView,
    responses=errors(),
)
async def current(
    customer_id: CustomerId, account: Account = "", locale: Locale = "", its: Services = SERVICES
) -> NoticesView:
    """What your front end shows a customer now. Paid or closed: it is gone with the next call."""
    found = await its.ledger.cases.find(account=account, customer=customer_id, open_only=True)
    shown = [await its.notices.notice(case, locale) for case in found.cases]
    return NoticesView(customer=customer_id, account=account, notices=[notice for notice in shown if notice])
