"""What the calls of the control API share: bodies that are checked, refusals in one shape."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from sandbox.stripe import StripeError

Body = TypeVar("Body", bound=BaseModel)
Handler = Callable[[Request], Awaitable[Any]]


class Refused(Exception):
    """A control call that cannot be done, with the HTTP status and the parameter at fault."""

    def __init__(self, status: int, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.param = status, param


class CallBody(BaseModel):
    """The JSON body of a control call; what it does not know, it refuses."""

    model_config = ConfigDict(extra="forbid")


def guarded(handler: Handler) -> Handler:
    """Answers refusals in one shape: `{"error": {"code", "message", "param"}}`."""

    @wraps(handler)
    async def answered(request: Request) -> Response:
        try:
            return _json(await handler(request))
        except Refused as refusal:
            return _refusal(refusal.status, str(refusal), refusal.param)
        except ValidationError as error:
            first = error.errors()[0]
            param = ".".join(str(part) for part in first["loc"]) or None
            return _refusal(400, f"{param or 'body'}: {first['msg']}", param)
        except StripeError as error:
            return _refusal(error.status, str(error.body["message"]), error.body.get("param"))
        except ValueError as error:
            return _refusal(400, str(error), None)

    return answered


def _json(answer: Any, status: int = 200) -> Response:
    return Response(to_json(answer), status, media_type="application/json")


def _refusal(status: int, message: str, param: str | None) -> Response:
    code = {404: "not_found", 408: "timeout"}.get(status, "invalid_request")
    return _json({"error": {"code": code, "message": message, "param": param}}, status)


async def read_body(request: Request, kind: type[Body]) -> Body:
    """The body of a call; a missing one counts as empty. Raises pydantic's ValidationError."""
    return kind.model_validate_json(await request.body() or b"{}")
