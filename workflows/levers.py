"""The levers of a case as signals and as updates of the same names.

What comes by hand may be malformed, and arguments that a typed handler cannot decode would wedge the case
for ever. So every handler takes whatever arrives and only puts it into the inbox; the core checks it, and a
refusal is an answer. Descriptions are what the UI's dialogs show.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from dunning.case import Event, Lever
from dunning.decision import Answer

_GRANT = 'More time: {"days": 7, "reason": "…", "by": "you"}, or "until": "2026-12-24" for days.'
_REQUEST = 'The customer asks for more time: {"days": 7, "reason": "…", "by": "customer"}.'
_DENY = 'No to the request that waits: {"reason": "…", "by": "you"}.'
_HOLD = 'Stop the clock: {"reason": "…", "by": "you"}, optionally "until": "2026-12-24".'
_RELEASE = 'End the hold, or go on with a case that waits for a person: {"by": "you"}.'
_RETRY = 'Charge as soon as the networks allow: {"by": "you"}.'
_STOP = 'Close the case: {"outcome": "stopped", "reason": "…", "by": "you"}.'


class Levers:
    """Signals, updates and the inbox that both fill."""

    def __init__(self) -> None:
        self._inbox: list[Event] = []
        self._answers: dict[str, Answer] = {}

    @workflow.signal(description=_GRANT)
    def grant_extension(self, *args: Any) -> None:
        self._put("grant_extension", args)

    @workflow.signal(description=_REQUEST)
    def request_extension(self, *args: Any) -> None:
        self._put("request_extension", args)

    @workflow.signal(description=_DENY)
    def deny_extension(self, *args: Any) -> None:
        self._put("deny_extension", args)

    @workflow.signal(description=_HOLD)
    def hold(self, *args: Any) -> None:
        self._put("hold", args)

    @workflow.signal(description=_RELEASE)
    def release(self, *args: Any) -> None:
        self._put("release", args)

    @workflow.signal(description=_RETRY)
    def retry_now(self, *args: Any) -> None:
        self._put("retry_now", args)

    @workflow.signal(description=_STOP)
    def stop(self, *args: Any) -> None:
        self._put("stop", args)

    @workflow.signal(dynamic=True)
    def unknown(self, name: str, args: Sequence[RawValue]) -> None:
        """A signal of a name that does not exist: refused in the timeline, not lost in a worker's log."""
        self._put(name[:80], ())

    @workflow.update(name="grant_extension", description=_GRANT)
    async def ask_grant_extension(self, *args: Any) -> dict[str, Any]:
        return await self._ask("grant_extension", args)

    @workflow.update(name="request_extension", description=_REQUEST)
    async def ask_request_extension(self, *args: Any) -> dict[str, Any]:
        return await self._ask("request_extension", args)

    @workflow.update(name="deny_extension", description=_DENY)
    async def ask_deny_extension(self, *args: Any) -> dict[str, Any]:
        return await self._ask("deny_extension", args)

    @workflow.update(name="hold", description=_HOLD)
    async def ask_hold(self, *args: Any) -> dict[str, Any]:
        return await self._ask("hold", args)

    @workflow.update(name="release", description=_RELEASE)
    async def ask_release(self, *args: Any) -> dict[str, Any]:
        return await self._ask("release", args)

    @workflow.update(name="retry_now", description=_RETRY)
    async def ask_retry_now(self, *args: Any) -> dict[str, Any]:
        return await self._ask("retry_now", args)

    @workflow.update(name="stop", description=_STOP)
    async def ask_stop(self, *args: Any) -> dict[str, Any]:
        return await self._ask("stop", args)

    def _put(self, name: str, args: Sequence[Any], ticket: str | None = None) -> None:
        self._inbox.append(Lever(name=name, args=tuple(args), at=workflow.now(), ticket=ticket))

    async def _ask(self, name: str, args: Sequence[Any]) -> dict[str, Any]:
        """Put the lever into the inbox and wait for what the recorded step answers."""
        info = workflow.current_update_info()
        assert info is not None
        self._put(name, args, ticket=info.id)
        await workflow.wait_condition(lambda: info.id in self._answers)
        answer = self._answers.pop(info.id)
        if not answer.accepted:
            raise ApplicationError(answer.text, type="Refused", non_retryable=True)
        return {"accepted": True, "text": answer.text}

    def _refuse_waiting(self, text: str) -> None:
        """Answer every update that waits, when no step will."""
        for event in self._inbox:
            if isinstance(event, Lever) and event.ticket is not None:
                self._answers[event.ticket] = Answer(ticket=event.ticket, accepted=False, text=text)
        self._inbox.clear()
