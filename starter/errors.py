"""What can go wrong on the way in, as errors that a program can tell apart and a person can act on."""

from __future__ import annotations

from typing import ClassVar

from pydantic import ValidationError

from dunning.values import reason_of


class DunningError(Exception):
    """The base of every error of the ways in. The text is one sentence: what, to what, what to do.

    `code` is stable and meant for programs, `param` names the field at fault, if one is.
    """

    code: ClassVar[str] = "error"
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class CaseNotFound(DunningError):
    """There is no case of this invoice."""

    code = "case_not_found"
    http_status = 404


class CustomerUnknown(DunningError):
    """Nothing is known of this customer."""

    code = "customer_not_found"
    http_status = 404


class CaseClosed(DunningError):
    """The case has ended: nothing can be changed any more."""

    code = "case_closed"
    http_status = 409


class LeverRefused(DunningError):
    """The case said no, and the text says why."""

    code = "lever_refused"
    http_status = 409

    @property
    def reason(self) -> str:
        """The sentence with which the case refused."""
        return self.message


class InvalidInput(DunningError):
    """An argument cannot be used; `param` names it."""

    code = "invalid_input"
    http_status = 422


class IdempotencyMismatch(DunningError):
    """The idempotency key was used for another request."""

    code = "idempotency_mismatch"
    http_status = 409


class RateLimited(DunningError):
    """Too many requests; `retry_after` in seconds."""

    code = "rate_limited"
    http_status = 429

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class EngineUnavailable(DunningError):
    """Temporal, a worker or the ledger did not answer in time."""

    code = "engine_unavailable"
    http_status = 503


class Unauthorized(DunningError):
    """No usable API key came with the request; `challenge` says how to send one (RFC 9110, 11.6.1)."""

    code = "unauthorized"
    http_status = 401

    def __init__(self, message: str, challenge: str) -> None:
        super().__init__(message)
        self.challenge = challenge


class Forbidden(DunningError):
    """The API key, or the place the request came from, does not allow this."""

    code = "forbidden"
    http_status = 403


class SettingsError(DunningError):
    """The configuration cannot be used. `problems` holds one sentence for each thing to mend."""

    code = "invalid_settings"

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def invalid_input(error: ValidationError) -> InvalidInput:
    """The first problem of a validation as our error."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    text = reason_of(first)
    return InvalidInput(f"{field}: {text}" if field else text, field or None)
