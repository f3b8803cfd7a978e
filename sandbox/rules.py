"""What can be told to go wrong, as data: rules for arriving requests and for outgoing webhooks.

A rule fires for the next `times` matches (0 = for ever), or for each match with `probability`, drawn from its
own `seed` so that a run can be repeated.
"""

from __future__ import annotations

import re
from random import Random
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator

Service = Literal["stripe", "sendgrid", "twilio"]
RequestFaultKind = Literal[
    "drop_before", "drop_after", "delay", "status", "status_after", "pause", "pause_after"
]
WebhookFaultKind = Literal["duplicate", "drop", "reorder", "delay", "late"]


def _compiles(pattern: str | None) -> str | None:
    if pattern is not None:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
    return pattern


class Rule(BaseModel):
    """When a fault fires."""

    model_config = ConfigDict(extra="forbid")

    id: str = ""
    service: Service | None = None
    times: int = Field(default=1, ge=0)
    probability: float | None = Field(default=None, gt=0, le=1)
    seed: int = 0
    fired: int = Field(default=0, ge=0)
    _random: Random = PrivateAttr(default_factory=Random)

    def model_post_init(self, context: Any, /) -> None:
        self._random = Random(self.seed)

    @property
    def spent(self) -> bool:
        """Whether the rule has no firing left."""
        return self.probability is None and 0 < self.times <= self.fired

    def _draw(self) -> bool:
        if self.spent or (self.probability is not None and self._random.random() >= self.probability):
            return False
        self.fired += 1
        return True


class RequestFault(Rule):
    """A fault of one arriving API request.

    `drop_before` closes the connection and applies nothing, `drop_after` applies and closes without an
    answer, `status` answers an error without applying, `status_after` applies and answers an error, `delay`
    waits `seconds` (real) first, `pause` holds the request until released, `pause_after` holds its answer.
    """

    kind: RequestFaultKind
    method: str | None = None
    path: str | None = None
    body: str | None = None
    seconds: float = Field(default=1.0, ge=0)
    status: int = Field(default=500, ge=400, le=599)
    headers: dict[str, str] = Field(default_factory=dict)
    answer: dict[str, Any] | None = None
    retry_after: int = Field(default=1, ge=0)

    _check = field_validator("path", "body")(_compiles)

    def fires(self, service: str, method: str, path: str, body: str) -> bool:
        """Whether the fault hits this request; counts it when it does."""
        hit = (
            (self.service is None or self.service == service)
            and (self.method is None or self.method.upper() == method)
            and (self.path is None or re.search(self.path, path) is not None)
            and (self.body is None or re.search(self.body, body) is not None)
        )
        return hit and self._draw()

    @property
    def outcome(self) -> bool:
        """Whether it decides the answer, rather than its moment."""
        return self.kind in ("drop_before", "drop_after", "status", "status_after")


class WebhookFault(Rule):
    """A fault of one outgoing webhook.

    `duplicate` sends it twice, `drop` never, `reorder` after the next one to the same target, `delay` after
    `seconds` of real time and `late` after `seconds` on the sandbox's clock. `event` is a regular expression
    over the event id and the body.
    """

    kind: WebhookFaultKind
    url: str | None = None
    event: str | None = None
    seconds: float | None = Field(default=None, ge=0)

    _check = field_validator("url", "event")(_compiles)

    @model_validator(mode="after")
    def _needs_seconds(self) -> WebhookFault:
        if self.kind in ("delay", "late") and self.seconds is None:
            raise ValueError(f"a webhook fault of kind {self.kind!r} needs `seconds`")
        return self

    def fires(self, service: str, url: str, event_id: str, body: bytes) -> bool:
        """Whether the fault hits this delivery; counts it when it does."""
        hit = (
            (self.service is None or self.service == service)
            and (self.url is None or re.search(self.url, url) is not None)
            and (
                self.event is None
                or re.search(self.event, f"{event_id} {body.decode('utf-8', 'replace')}") is not None
            )
        )
        return hit and self._draw()

    @property
    def wait(self) -> float:
        """The seconds of a `delay` or `late` fault."""
        return self.seconds or 0.0
