"""The base of every value of the domain, and the names that the whole engine shares."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer
from pydantic_core import PydanticUndefined


class Value(BaseModel):
    """An immutable value. On the wire it leaves out what equals its default.

    Cases live for weeks in Temporal histories: a field that is added needs a default, and a default
    must never change, because a recorded value that left it out would change with it.
    Models are built when they are imported: in a workflow's sandbox they could not be (`defer_build`).
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    @model_serializer(mode="wrap")
    def _compact(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        defaults, mine = _defaults(type(self)), self.__dict__
        full: dict[str, Any] = handler(self)
        return {name: value for name, value in full.items() if defaults[name] != mine[name]}


def reason_of(error: Mapping[str, Any]) -> str:
    """What a validation error of pydantic says: a rule of ours in our words, without the input."""
    return str(error["msg"]).removeprefix("Value error, ")


class Section(BaseModel):
    """A part of a policy. Unlike other values it is always written whole: a default may change some day."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@cache  # one entry for each class of value
def _defaults(kind: type[Value]) -> dict[str, Any]:
    """The default of every field. A required field, and `kind`, which is always written, equal nothing."""
    return {
        name: PydanticUndefined
        if field.is_required() or name == "kind"
        else field.get_default(call_default_factory=True)
        for name, field in kind.model_fields.items()
    }


class Stage(StrEnum):
    """Where a case stands."""

    RECOVERING = "recovering"
    GRACE = "grace"
    SUSPENDED = "suspended"
    CLOSED = "closed"


class WaitingOn(StrEnum):
    """What a case waits for."""

    RETRY = "retry"
    CUSTOMER = "customer"
    BANK = "bank"
    HUMAN = "human"
    DATE = "date"
    HOLD = "hold"


class Outcome(StrEnum):
    """How a case ended. Values are never removed: they stand in histories and in the ledger."""

    RECOVERED = "recovered"
    VOIDED = "voided"
    CANCELED = "canceled"
    WRITTEN_OFF = "written_off"
    STOPPED = "stopped"
    NOT_APPLICABLE = "not_applicable"


class RecoveredVia(StrEnum):
    """By whose doing a recovered invoice was paid."""

    ENGINE = "engine"
    STRIPE = "stripe"
    NEW_METHOD = "new_method"
    CUSTOMER = "customer"
    OUT_OF_BAND = "out_of_band"


class Channel(StrEnum):
    """A way to reach a customer."""

    EMAIL = "email"
    SMS = "sms"
    WHATSAPP = "whatsapp"


#: `critical`: what changes the subscription, and when; it goes out as long as e-mail is wanted at all.
#: `optional`: reminders, from which one click unsubscribes.
MessageGroup = Literal["critical", "optional"]


class DeclineClass(StrEnum):
    """What a failed payment asks for."""

    SOFT = "soft"  # retry later: no money, an opaque refusal
    TECHNICAL = "technical"  # retry soon: nobody judged the payment
    UPDATER = "updater"  # wait for the networks' card updater, then once
    NEW_METHOD = "new_method"  # this card will never do: ask for another
    AUTHENTICATE = "authenticate"  # the customer must confirm with the bank (3-D Secure)
    FIX_DATA = "fix_data"  # address, postal code, security code
    REVIEW = "review"  # fraud or dispute: nothing is said, a person decides
    REVOKED = "revoked"  # the customer withdrew consent: ask once, a person decides


#: Classes in which charging the same method again may work by itself.
RETRYABLE = frozenset({DeclineClass.SOFT, DeclineClass.TECHNICAL, DeclineClass.UPDATER})
