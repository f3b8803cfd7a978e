"""The HTTP API of early warning: a customer's risk, and flags that the business's own systems post."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from dunning.lever_payloads import Instant
from starter.access import READER, SUPPORTER, Caller
from starter.api_models import Account, errors
from starter.errors import CustomerUnknown
from starter.services import SERVICES, Services

CustomerId = Annotated[
    str, Path(pattern=r"^cus_[A-Za-z0-9_]+$", max_length=255, description="Stripe's id", examples=["cus_Qx1"])
]


class FlagBody(BaseModel):
    """A reason to worry that only the business knows. Posting the same name again replaces the flag."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "usage_drop", "text": "used a third of last month"}]},
    )

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)
    text: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")
    until: Instant | None = None  # for how long it counts; left out: as long as the policy remembers


class FlagView(BaseModel):
    """A flag, what it weighs, and the ledger's rows behind it."""

    name: str
    weight: int
    text: str
    facts: list[str]


class RiskView(BaseModel):
    """A customer's risk as last assessed."""

    customer: str
    account: str
    level: str
    score: int
    flags: list[FlagView]
    assessed_at: datetime


router = APIRouter()


@router.get(
    "/customers/{customer_id}/risk",
    dependencies=[READER],
    response_model=RiskView,
    responses=errors(404),
)
async def risk(customer_id: CustomerId, account: Account = "", its: Services = SERVICES) -> Any:
    """A customer's risk, with the facts behind each flag."""
    found = await its.ledger.risks.get(account, customer_id)
    if found is None:
        raise CustomerUnknown(f"{customer_id} was never assessed: check the id, or wait for the review")
    return {name: getattr(found, name) for name in RiskView.model_fields} | {
        "flags": [flag.model_dump() for flag in found.flags]
    }


@router.post("/customers/{customer_id}/flags", status_code=202, response_model=FlagBody, responses=errors())
async def flag(
    customer_id: CustomerId,
    body: FlagBody,
    account: Account = "",
    caller: Caller = SUPPORTER,
    its: Services = SERVICES,
) -> FlagBody:
    """Post a flag of the business's own. It counts from the next review or case of the customer."""
    await its.ledger.risks.told(
        account=account,
        customer=customer_id,
        kind="backend",
        key=body.name,
        at=datetime.now(UTC),
        by=caller.signs(None),
        text=f"{body.name}: {body.text}",
        until=body.until,
    )
    return body
