"""What a provider's news say about the customer's wish to be written to, and about the address."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from dunning.values import MessageGroup
from dunning.yaml_text import read_yaml

#: `revoked`, `granted`: the customer's own wish. `dead`: the address takes no mail or text of this channel.
#: `failing`: it did not this time; when the next message fails as well, the address is dead.
#: `reminders_…`: the wish is about the optional messages alone.
Effect = Literal["revoked", "granted", "reminders_revoked", "reminders_granted", "dead", "failing"]

#: How often in a row a message may fail to reach an address that is not known to be dead.
PATIENCE = 2

#: Why SendGrid drops a mail unsent ("Event Webhook", reasons of `dropped`).
_DROPPED: dict[str, Effect] = {
    "bounced address": "dead",
    "invalid": "dead",
    "invalid address": "dead",
    "spam reporting address": "revoked",
    "unsubscribed address": "revoked",
}


class TwilioError(BaseModel):
    """What one error code says about the number."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    effect: Literal["revoked", "dead", "failing", "none"]
    words: str = Field(min_length=3)


@cache
def twilio_errors() -> dict[int, TwilioError]:
    """The codes that are known (`data/twilio_errors.yaml`); any other says nothing about the number."""
    text = (files("dunning") / "data" / "twilio_errors.yaml").read_text(encoding="utf-8")
    return TypeAdapter(dict[int, TwilioError]).validate_python(read_yaml(text))


def of_twilio(code: int | None) -> Effect | None:
    """What an error code asks for."""
    known = twilio_errors().get(code or 0)
    return None if known is None or known.effect == "none" else known.effect


def of_sendgrid(event: str, *, bounce: str = "", reason: str = "") -> Effect | None:
    """What an event asks for. `bounce` is the type of a bounce: one that was `blocked` may pass next time.

    A customer who complains of spam wants no more mail, which is why that counts as a revocation.
    """
    if event in ("spamreport", "unsubscribe"):
        return "revoked"
    if event in ("group_unsubscribe", "group_resubscribe"):  # of a group that the business set up at SendGrid
        return "reminders_revoked" if event == "group_unsubscribe" else "reminders_granted"
    if event == "bounce":
        return None if bounce == "blocked" else "dead"
    return _DROPPED.get(reason.strip().lower()) if event == "dropped" else None


def refusal(newest: Mapping[str, str], group: MessageGroup, *, dead: bool = False) -> str | None:
    """Why a message of this group must not go out on a channel; None when nothing speaks against it.

    `newest` are the last words on the channel ("") and on groups of its messages; `dead`: of the address.
    """
    if newest.get("") == "revoked":
        return "the customer wants no more messages on this channel"
    if newest.get(group) == "revoked":
        return "the customer unsubscribed from reminders"
    return "the address takes nothing" if dead else None
