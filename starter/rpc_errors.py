"""Temporal's errors as ours: each a sentence that says what to do."""

from __future__ import annotations

from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from starter.errors import CaseClosed, EngineUnavailable, LeverRefused


def refusal(invoice_id: str, error: WorkflowUpdateFailedError) -> Exception:
    """The case's own no, as our error."""
    cause = error.cause
    if isinstance(cause, ApplicationError):
        if cause.type == "AcceptedUpdateCompletedWorkflow":
            return CaseClosed(f"the case of {invoice_id} closed before it answered")
        return LeverRefused(cause.message)
    return LeverRefused(str(cause))


def away(error: BaseException) -> EngineUnavailable:
    """Why Temporal, or a worker, did not answer."""
    if isinstance(error, RPCError) and error.status == RPCStatusCode.UNAVAILABLE:
        return EngineUnavailable("Temporal does not answer: try again later")
    if isinstance(error, RPCError) and error.status not in (
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.CANCELLED,
    ):
        return EngineUnavailable(f"Temporal refused the call: {error.message}")
    if isinstance(error, RuntimeError) and not isinstance(error, RPCError):
        return EngineUnavailable("Temporal does not answer: start it, or mend TEMPORAL_ADDRESS")
    return EngineUnavailable(
        "no worker answered in time: look whether one runs and what the case is doing; what was asked may "
        "still happen, so repeat it with the same request_id"
    )
