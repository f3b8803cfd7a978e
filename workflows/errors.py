"""What an operator is told of an activity that failed."""

from __future__ import annotations

from temporalio.exceptions import ActivityError


def cause_of(error: ActivityError) -> str:
    """One line that names what did not answer."""
    cause = error.cause or error
    text = getattr(cause, "message", "") or str(cause)
    return text.splitlines()[0][:300] if text else type(cause).__name__
