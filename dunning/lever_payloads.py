"""What levers carry, checked at the door: an odd value is refused with a sentence that says what to write."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from dunning.case import Lever
from dunning.values import reason_of

_WANTED = {
    "by": "who does it",
    "reason": "why",
    "days": "how many days, such as 7",
    "on": "the day, such as 2026-12-24",
    "name": "the name of a policy",
    "text": "the note",
}
_A_DAY = "write a calendar day, such as 2026-12-24; it is meant in the customer's own time zone"


def _calendar_day(value: Any) -> Any:
    """Only a plain day: a number, or a moment in some zone, could be another day where the customer lives."""
    plain = isinstance(value, date) and not isinstance(value, datetime)
    if not plain and not (isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value.strip())):
        raise ValueError(_A_DAY)
    return value


def _written_out(value: Any) -> Any:
    """No number: whoever sends one means days, or milliseconds, or nothing, and not seconds since 1970."""
    if not isinstance(value, datetime) and not re.match(r"\s*\d{4}-\d\d-\d\d", str(value)):
        raise ValueError("write a moment with its zone, such as 2026-12-24T09:00:00Z")
    return value


Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
Days = Annotated[int, Field(strict=True, ge=1, le=365)]
Day = Annotated[date, BeforeValidator(_calendar_day)]
Instant = Annotated[AwareDatetime, BeforeValidator(_written_out)]


class Refused(Exception):
    """A lever that cannot be pulled; the text says why and what to do instead."""


class Payload(BaseModel):
    """What every lever carries: who pulls it, and an id that makes a repeat harmless."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    by: Line
    request_id: Line | None = None


class GrantExtension(Payload):
    """More time, as days added to the last day or as the new last day."""

    days: Days | None = None
    until: Day | None = None
    reason: Line

    @model_validator(mode="after")
    def _one_of_both(self) -> GrantExtension:
        if (self.days is None) == (self.until is None):
            raise ValueError("write either days (a whole number) or until (the new last day, as 2026-12-24)")
        return self


class RequestExtension(Payload):
    """A customer's wish for more time."""

    days: Days
    reason: Line = "no reason given"


class DenyExtension(Payload):
    """No to the pending wish."""

    reason: Line


class PromiseToPay(Payload):
    """A day on which the customer will pay."""

    on: Day


class HoldCase(Payload):
    """Nothing is charged, said or suspended until then."""

    until: Day | None = None
    reason: Line


class Release(Payload):
    """End a hold, or go on with a case that a person looked at."""


class SendLink(Payload):
    """A new link to the customer's page goes to the address on file, once a day at most."""


class Pause(Payload):
    """The customer pauses the subscription instead of losing it."""


class Cancel(Payload):
    """The customer cancels the subscription."""


class RetryNow(Payload):
    """Charge as soon as the gap between attempts and the networks allow."""


class SuspendNow(Payload):
    """Suspend without waiting for what still holds it, once the promised time is over."""

    reason: Line


class RestoreNow(Payload):
    """Give access back before the money came."""

    reason: Line


class Stop(Payload):
    """Close the case by a person's decision."""

    outcome: Literal["stopped", "written_off", "canceled", "voided"] = "stopped"
    reason: Line
    give_back: bool = False  # let Stripe go on with the invoice as it was found


class SetPolicy(Payload):
    """Go on by another policy, or by the newest version of the same."""

    name: Line


class AddNote(Payload):
    """A remark for whoever looks at the case next."""

    text: Line


def read_payload(model: type[Payload], lever: Lever) -> Payload:
    """The payload of a lever. Raises Refused with every mistake in it."""
    fields = ", ".join(model.model_fields)
    if len(lever.args) != 1 or not isinstance(lever.args[0], dict):
        got = (
            "nothing"
            if not lever.args
            else f"{len(lever.args)} inputs"
            if len(lever.args) > 1
            else "another shape"
        )
        raise Refused(f"give one JSON object with the fields {fields}; {got} arrived")
    try:
        return model.model_validate(lever.args[0])
    except ValidationError as error:
        raise Refused("; ".join(_mistake(each, fields) for each in error.errors())) from error


def _mistake(error: Any, fields: str) -> str:
    field = ".".join(str(part) for part in error["loc"]) or "input"
    text = {
        "missing": f"is missing: write {_WANTED.get(field, 'it')}",
        "extra_forbidden": f"is not a field of this lever; its fields are {fields}",
        "int_type": "write a whole number, such as 7",
        "date_from_datetime_parsing": _A_DAY,
        "date_parsing": _A_DAY,
        "greater_than_equal": "write at least 1",
        "less_than_equal": "write at most 365",
    }.get(error["type"], reason_of(error))
    return f"{field}: {text}"
