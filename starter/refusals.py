"""How every error of the app looks."""

from __future__ import annotations

from starlette.responses import JSONResponse

RETRY_AFTER_SECONDS = 30


def error_response(
    status: int, code: str, message: str, param: str | None = None, retry_after: int | None = None
) -> JSONResponse:
    """An error the way every error of the app looks."""
    wait = retry_after or (RETRY_AFTER_SECONDS if status == 503 else None)
    headers = {"Retry-After": str(wait)} if wait else {}
    body = {"error": {"code": code, "message": message, "param": param}}
    return JSONResponse(body, status_code=status, headers=headers)
