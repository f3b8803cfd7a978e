"""The typed client for backend code.

client = await DunningClient.connect()
case = await client.start("in_123")
await case.grant_extension(days=7, reason="salary comes on Friday", by="maria")
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn, cast

from pydantic import BaseModel, TypeAdapter, ValidationError
from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError, RPCStatusCode

from activities.interface import TASK_QUEUE
from activities.policy_book import PolicyBook
from dunning.case import Entry
from dunning.forecast import Difference, Expected
from dunning.levers import LEVERS
from dunning.page import Offers
from dunning.policy import PolicyError
from dunning.start import parse_start
from dunning.values import Outcome, RecoveredVia
from dunning.view import Status
from starter import temporal
from starter.errors import (
    CaseClosed,
    CaseNotFound,
    EngineUnavailable,
    InvalidInput,
    LeverRefused,
    invalid_input,
)
from starter.rpc_errors import away, refusal
from starter.settings import Settings
from workflows.ids import invoice_dunning_id, invoice_of

__all__ = [
    "CaseClosed",
    "CaseHandle",
    "CaseNotFound",
    "Closing",
    "Difference",
    "DunningClient",
    "EngineUnavailable",
    "Entry",
    "Expected",
    "InvalidInput",
    "LeverRefused",
    "Status",
]

WORKFLOW = "InvoiceDunning"


class Closing(BaseModel):
    """How a case ended."""

    outcome: Outcome
    reason: str = ""
    recovered_via: RecoveredVia | None = None


class DunningClient:
    """Starts cases, reads them and pulls their levers.

    Every method raises EngineUnavailable when Temporal or a worker does not answer in time, and CaseNotFound
    for an invoice without a case. Methods that change something raise InvalidInput for arguments that cannot
    be used, LeverRefused when the case says no, and CaseClosed when it has ended.

    An invoice is named by its Stripe id (`in_…`) or by the id of its workflow (`invoice-dunning/in_…`, or
    whatever id it was started with by other means).
    """

    def __init__(
        self,
        client: Client,
        *,
        rpc_timeout: timedelta = timedelta(seconds=5),
        update_timeout: timedelta = timedelta(seconds=10),
        policies: Path | None = None,
    ) -> None:
        self.temporal = client
        self._rpc_timeout = rpc_timeout
        self._update_timeout = update_timeout
        self._policies = PolicyBook(policies)

    @classmethod
    def over(cls, client: Client, settings: Settings) -> DunningClient:
        """A client over a connection that exists, with the time-outs of the settings."""
        return cls(
            client,
            rpc_timeout=timedelta(seconds=settings.dunning_rpc_timeout_seconds),
            update_timeout=timedelta(seconds=settings.dunning_update_timeout_seconds),
            policies=settings.dunning_policies,
        )

    @classmethod
    async def connect(cls, settings: Settings | None = None) -> DunningClient:
        """Connect to Temporal as the settings, or else the environment, say."""
        settings = settings or Settings.load()
        return cls.over(await temporal.connect(settings), settings)

    async def start(
        self, invoice_id: str, *, policy: str | None = None, account: str | None = None, reopen: bool = False
    ) -> CaseHandle:
        """Open the case of an invoice, or find the one that runs: starting twice does no harm.

        `account` is a Stripe Connect account. `reopen` begins again after `stopped` or `written_off`.
        """
        given = {"invoice_id": invoice_of(invoice_id) or invoice_id, "policy": policy, "account": account}
        start = {key: value for key, value in given.items() if value is not None}
        if reopen:
            start["reopen"] = cast(Any, True)
        try:
            parse_start([start])
        except ValueError as error:
            text = str(error)
            raise InvalidInput(text, text.partition(":")[0]) from error
        try:
            handle = await self.temporal.start_workflow(
                WORKFLOW,
                start,
                id=invoice_dunning_id(start["invoice_id"]),
                task_queue=TASK_QUEUE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                rpc_timeout=self._rpc_timeout,
            )
        except (RPCError, RuntimeError) as error:
            raise away(error) from error
        return CaseHandle(self, start["invoice_id"], handle.id, handle.result_run_id)

    def case(self, invoice_id: str) -> CaseHandle:
        """The handle of an invoice's case; asks nobody whether there is one."""
        handle = self._handle(invoice_id)
        return CaseHandle(self, invoice_of(handle.id) or invoice_id, handle.id)

    async def status(self, invoice_id: str) -> Status:
        """Where the case stands. Raises CaseNotFound, with the reason, for an invoice that is not dunned."""
        answer = await self._query(invoice_id, "status")
        if answer is None:
            await self._explain_no_state(invoice_id)
        return Status.model_validate(answer)

    async def timeline(self, invoice_id: str) -> list[Entry]:
        """What happened, oldest first."""
        return TypeAdapter(list[Entry]).validate_python(await self._query(invoice_id, "timeline"))

    async def forecast(self, invoice_id: str) -> list[Expected]:
        """What will happen, and when, if nothing changes; empty for a closed case."""
        return TypeAdapter(list[Expected]).validate_python(await self._query(invoice_id, "forecast"))

    async def offers(self, invoice_id: str, at: datetime) -> Offers:
        """What the customer's page shows and offers at `at`. Raises CaseNotFound, as `status` does."""
        answer = await self._query(invoice_id, "offers", at.isoformat())
        if answer is None:
            await self._explain_no_state(invoice_id)
        return Offers.model_validate(answer)

    async def result(self, invoice_id: str) -> Closing:
        """Wait until the case is closed, for weeks if need be, and say how."""
        try:
            return Closing.model_validate(await self._handle(invoice_id).result())
        except (RPCError, RuntimeError) as error:
            raise await self._wrong(invoice_id, error) from error
        except WorkflowFailureError as error:
            raise CaseNotFound(f"{invoice_id} has no case: {error.cause}") from error

    async def grant_extension(
        self,
        invoice_id: str,
        *,
        days: int | None = None,
        until: date | None = None,
        reason: str,
        by: str,
        request_id: str | None = None,
    ) -> str:
        """Give more time: `days` added to the last day of grace, or a new last day. Returns what was granted.

        `request_id` makes a repeat harmless, here and in every other method that changes something.
        """
        payload = {"days": days, "until": until, "reason": reason, "by": by, "request_id": request_id}
        return await self.pull(invoice_id, "grant_extension", payload)

    async def request_extension(
        self, invoice_id: str, *, days: int, by: str, reason: str | None = None, request_id: str | None = None
    ) -> str:
        """Ask for more time in the customer's name; the policy grants it or a person answers."""
        payload = {"days": days, "reason": reason, "by": by, "request_id": request_id}
        return await self.pull(invoice_id, "request_extension", payload)

    async def deny_extension(
        self, invoice_id: str, *, reason: str, by: str, request_id: str | None = None
    ) -> str:
        """Say no to the request that waits."""
        payload = {"reason": reason, "by": by, "request_id": request_id}
        return await self.pull(invoice_id, "deny_extension", payload)

    async def hold(
        self,
        invoice_id: str,
        *,
        reason: str,
        by: str,
        until: date | None = None,
        request_id: str | None = None,
    ) -> str:
        """Stop the clock until a day, or for as long as the policy allows."""
        payload = {"until": until, "reason": reason, "by": by, "request_id": request_id}
        return await self.pull(invoice_id, "hold", payload)

    async def release(self, invoice_id: str, *, by: str, request_id: str | None = None) -> str:
        """End a hold, or go on with a case that waits for a person."""
        return await self.pull(invoice_id, "release", {"by": by, "request_id": request_id})

    async def retry_now(self, invoice_id: str, *, by: str, request_id: str | None = None) -> str:
        """Charge as soon as the card networks allow; the answer says when."""
        return await self.pull(invoice_id, "retry_now", {"by": by, "request_id": request_id})

    async def stop(
        self,
        invoice_id: str,
        *,
        reason: str,
        by: str,
        outcome: str = "stopped",
        request_id: str | None = None,
    ) -> str:
        """Close the case: `stopped`, `written_off`, `canceled` or `voided`."""
        payload = {"outcome": outcome, "reason": reason, "by": by, "request_id": request_id}
        return await self.pull(invoice_id, "stop", payload)

    async def promise_to_pay(
        self, invoice_id: str, *, on: date, by: str, request_id: str | None = None
    ) -> str:
        """The customer pays on a day: charged that morning, nothing said or suspended before."""
        return await self.pull(invoice_id, "promise_to_pay", {"on": on, "by": by, "request_id": request_id})

    async def suspend_now(
        self, invoice_id: str, *, reason: str, by: str, request_id: str | None = None
    ) -> str:
        """Suspend although something holds it, once what was promised is over; names the notice."""
        payload = {"reason": reason, "by": by, "request_id": request_id}
        return await self.pull(invoice_id, "suspend_now", payload)

    async def restore_now(
        self, invoice_id: str, *, reason: str, by: str, request_id: str | None = None
    ) -> str:
        """Give access back without a payment; says until when."""
        payload = {"reason": reason, "by": by, "request_id": request_id}
        return await self.pull(invoice_id, "restore_now", payload)

    async def set_policy(self, invoice_id: str, *, name: str, by: str, request_id: str | None = None) -> str:
        """Go on by another policy; `preview_policy` shows first what that changes."""
        return await self.pull(invoice_id, "set_policy", {"name": name, "by": by, "request_id": request_id})

    async def preview_policy(self, invoice_id: str, name: str) -> Difference:
        """What `set_policy` would change in the forecast. Changes nothing."""
        try:
            policy = self._policies.load(name)
        except PolicyError as error:
            raise InvalidInput(f"name: {error}", "name") from error
        told = await self._query(invoice_id, "preview_policy", policy.model_dump(mode="json"))
        if isinstance(told, str):
            raise LeverRefused(told)
        if told is None:
            await self._explain_no_state(invoice_id)
        return Difference.model_validate(told)

    async def add_note(self, invoice_id: str, *, text: str, by: str, request_id: str | None = None) -> str:
        """Leave a remark in the timeline. Keep personal data out of it: it stays in Temporal's history."""
        return await self.pull(invoice_id, "add_note", {"text": text, "by": by, "request_id": request_id})

    async def pull(self, invoice_id: str, lever: str, payload: Mapping[str, Any]) -> str:
        """Pull a lever by its name and return what the case answered. Fields that are None are left out."""
        checked = _checked(lever, {key: value for key, value in payload.items() if value is not None})
        request_id = checked.get("request_id")
        try:
            answer = await self._handle(invoice_id).execute_update(
                lever,
                checked,
                id=f"{lever}/{request_id}" if request_id else None,
                result_type=dict,
                rpc_timeout=self._update_timeout,
            )
        except WorkflowUpdateFailedError as error:
            raise refusal(invoice_id, error) from error
        except (RPCError, RuntimeError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
            raise await self._wrong(invoice_id, error) from error
        return str(answer["text"])

    def _handle(self, invoice_id: str) -> WorkflowHandle[Any, Any]:
        if not invoice_id or len(invoice_id) > 255:
            raise InvalidInput("invoice_id: write the id of a Stripe invoice (in_…)", "invoice_id")
        bare = invoice_id.startswith("in_")
        return self.temporal.get_workflow_handle(invoice_dunning_id(invoice_id) if bare else invoice_id)

    async def _query(self, invoice_id: str, name: str, *args: Any) -> Any:
        try:
            return await self._handle(invoice_id).query(name, args=args, rpc_timeout=self._update_timeout)
        except WorkflowQueryFailedError as error:
            raise EngineUnavailable(f"{invoice_id}: the worker cannot answer {name!r}: {error}") from error
        except (RPCError, RuntimeError) as error:
            raise await self._wrong(invoice_id, error) from error

    async def _wrong(self, invoice_id: str, error: BaseException) -> Exception:
        """The error that explains why Temporal or a worker did not do as asked."""
        if not isinstance(error, RPCError) or error.status != RPCStatusCode.NOT_FOUND:
            return away(error)
        if "namespace" in error.message.lower():
            return EngineUnavailable(f"Temporal: {error.message}: mend TEMPORAL_NAMESPACE")
        try:
            described = await self._handle(invoice_id).describe(rpc_timeout=self._rpc_timeout)
        except RPCError as second:
            if second.status == RPCStatusCode.NOT_FOUND:
                return CaseNotFound(f"there is no case of {invoice_id}: start it, or check the id")
            return away(second)
        if described.status is WorkflowExecutionStatus.RUNNING:
            return away(error)
        return CaseClosed(f"the case of {invoice_id} is closed: start a new one if the invoice fails again")

    async def _explain_no_state(self, invoice_id: str) -> NoReturn:
        """A workflow without a state is being opened, or was none of ours."""
        handle = self._handle(invoice_id)
        try:
            described = await handle.describe(rpc_timeout=self._rpc_timeout)
            if described.status is WorkflowExecutionStatus.RUNNING:
                raise EngineUnavailable(f"the case of {invoice_id} is still being opened: ask again shortly")
            closed = Closing.model_validate(await handle.result(rpc_timeout=self._rpc_timeout))
        except WorkflowFailureError as error:
            raise CaseNotFound(f"{invoice_id} has no case: {error.cause}") from error
        except RPCError as error:
            raise away(error) from error
        raise CaseNotFound(f"{invoice_id} has no case: {closed.reason or closed.outcome}")


@dataclass(frozen=True, slots=True)
class CaseHandle:
    """One case. The methods are those of `DunningClient`, without the invoice."""

    client: DunningClient
    invoice_id: str
    workflow_id: str
    run_id: str | None = None

    async def status(self) -> Status:
        """Where the case stands."""
        return await self.client.status(self.invoice_id)

    async def timeline(self) -> list[Entry]:
        """What happened, oldest first."""
        return await self.client.timeline(self.invoice_id)

    async def forecast(self) -> list[Expected]:
        """What will happen, and when, if nothing changes."""
        return await self.client.forecast(self.invoice_id)

    async def result(self) -> Closing:
        """Wait until the case is closed and say how."""
        return await self.client.result(self.invoice_id)

    async def grant_extension(
        self,
        *,
        days: int | None = None,
        until: date | None = None,
        reason: str,
        by: str,
        request_id: str | None = None,
    ) -> str:
        """Give more time."""
        return await self.client.grant_extension(
            self.invoice_id, days=days, until=until, reason=reason, by=by, request_id=request_id
        )

    async def pull(self, lever: str, payload: Mapping[str, Any]) -> str:
        """Pull any lever by its name."""
        return await self.client.pull(self.invoice_id, lever, payload)


def _checked(lever: str, payload: dict[str, Any]) -> dict[str, Any]:
    """The payload as JSON, checked by the same model as in the case, so that a slip costs no round trip."""
    if lever not in LEVERS:
        raise InvalidInput(f"there is no lever {lever!r}: the levers are {', '.join(LEVERS)}", "lever")
    try:
        model = LEVERS[lever][0].model_validate(payload)
    except ValidationError as error:
        raise invalid_input(error) from error
    return model.model_dump(mode="json", exclude_unset=True)
