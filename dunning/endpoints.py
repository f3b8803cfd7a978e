"""Where a business wants its events: one endpoint for each system that listens."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from dunning.announcements import EVENTS
from dunning.networks import is_public, is_this_machine
from dunning.values import Value

_ADDRESS = re.compile(r"https?://[!-~]+")
_PORTS = (443, 8443)

#: How long to wait before each repeat: over three days in all (the example of Standard Webhooks 1.0.0).
LADDER = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
_LONGEST = timedelta(hours=24)
#: Who answers so is overloaded: the first repeat after seconds would add to it.
_BUSY, _BUSY_PAUSE = (429, 502, 503, 504), timedelta(minutes=1)


def _known_event(name: str) -> str:
    if name not in EVENTS:
        raise ValueError(f"{name!r} is not an event: write some of {', '.join(EVENTS)}, or leave events out")
    return name


EventType = Annotated[str, AfterValidator(_known_event)]


class Endpoint(BaseModel):
    """One system that listens. `events` left out: it hears of everything."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
    url: str
    events: Annotated[tuple[EventType, ...], Field(min_length=1)] | None = None

    def wants(self, event: str) -> bool:
        """Whether it is told of events of this type."""
        return self.events is None or event in self.events


def url_problem(url: str, *, loopback: bool = False) -> str:
    """Why no event may go to this address; empty if it may. `loopback` opens this machine, for trials.

    What the host's name leads to is checked again when an event is sent.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = None
    if host is None or not _ADDRESS.fullmatch(url):
        return "is not an address: write one such as https://api.example.com/dunning"
    if parts.username is not None or parts.password is not None:
        return "holds a user name: events are signed, take it out"
    if loopback and is_this_machine(host):
        return ""
    if parts.scheme != "https":
        return "is not encrypted: write https://"
    if port not in (None, *_PORTS):
        return f"names port {port}: events go to {' or '.join(map(str, _PORTS))}"
    numeric = ":" in host or host.replace(".", "").isdigit()
    if numeric and not is_public(host):
        return "leads into a private network: events go to public addresses only"
    return ""


#: How a delivery ends: `held` when the endpoint is disabled.
DeliveryEnd = Literal["delivered", "failed", "held"]


class DeliveryOrder(Value):
    """Carry one event to one endpoint."""

    event_id: str
    endpoint: str


class Delivered(Value):
    """How the delivery ended, and why so."""

    state: DeliveryEnd
    detail: str = ""


def pause_before_repeat(attempt: int, status: int | None, retry_after: float | None) -> timedelta | None:
    """How long to wait after a failed attempt (1, 2, …); None when it was the last one.

    `retry_after` in seconds is the receiver's own wish, which counts when it is the longer one.
    """
    if attempt > len(LADDER):
        return None
    least = _BUSY_PAUSE if status in _BUSY else timedelta()
    wish = timedelta(seconds=min(max(retry_after or 0.0, 0.0), _LONGEST.total_seconds()))
    return max(LADDER[attempt - 1], least, wish)
