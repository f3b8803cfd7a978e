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
_PROMISE = 'The customer pays on a day: {"on": "2026-12-24", "by": "you"}. Nothing is said before.'
_HOLD = 'Stop the clock: {"reason": "…", "by": "you"}, optionally "until": "2026-12-24".'
_RELEASE = 'End the hold, or go on with a case that waits for a person: {"by": "you"}.'
_PAUSE = 'The customer pauses the subscription, as long as the policy says: {"by": "customer"}.'
_CANCEL = 'The customer cancels the subscription, now or with its period: {"by": "customer"}.'
_LINK = 'Send the customer a new link to the page, once a day at most: {"by": "you"}.'
_RETRY = 'Charge as soon as the networks allow: {"by": "you"}.'
_SUSPEND = 'Suspend now, if what was promised is over: {"reason": "…", "by": "you"}.'
_RESTORE = 'Give access back before the money came: {"reason": "…", "by": "you"}.'
_STOP = 'Close the case: {"outcome": "stopped", "reason": "…", "by": "you"}.'
_POLICY = 'Go on by another policy: {"name": "standard", "by": "you"}. `--dry-run` shows what it changes.'
_NOTE = 'A remark in the timeline, without personal data: {"text": "…", "by": "you"}.'
#: The UI lists the handler of unknown names too, without a name, and has it chosen at first.
NO_NAME = "Choose a lever below; one that does not exist is refused in the timeline."


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

    @workflow.signal(description=_PROMISE)
    def promise_to_pay(self, *args: Any) -> None:
        self._put("promise_to_pay", args)

    @workflow.signal(description=_HOLD)
    def hold(self, *args: Any) -> None:
        self._put("hold", args)

    @workflow.signal(description=_RELEASE)
    def release(self, *args: Any) -> None:
        self._put("release", args)

    @workflow.signal(description=_PAUSE)
    def pause(self, *args: Any) -> None:
        self._put("pause", args)

    @workflow.signal(description=_CANCEL)
    def cancel(self, *args: Any) -> None:
        self._put("cancel", args)

    @workflow.signal(description=_LINK)
    def send_link(self, *args: Any) -> None:
        self._put("send_link", args)

    @workflow.signal(description=_RETRY)
    def retry_now(self, *args: Any) -> None:
        self._put("retry_now", args)

    @workflow.signal(description=_SUSPEND)
    def suspend_now(self, *args: Any) -> None:
        self._put("suspend_now", args)

    @workflow.signal(description=_RESTORE)
    def restore_now(self, *args: Any) -> None:
        self._put("restore_now", args)

    @workflow.signal(description=_STOP)
    def stop(self, *args: Any) -> None:
        self._put("stop", args)

    @workflow.signal(description=_POLICY)
    def set_policy(self, *args: Any) -> None:
        self._put("set_policy", args)

    @workflow.signal(description=_NOTE)
    def add_note(self, *args: Any) -> None:
        self._put("add_note", args)

    @workflow.signal(dynamic=True, description=NO_NAME)
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

    @workflow.update(name="promise_to_pay", description=_PROMISE)
    async def ask_promise_to_pay(self, *args: Any) -> dict[str, Any]:
        return await self._ask("promise_to_pay", args)

    @workflow.update(name="hold", description=_HOLD)
    async def ask_hold(self, *args: Any) -> dict[str, Any]:
        return await self._ask("hold", args)

    @workflow.update(name="release", description=_RELEASE)
    async def ask_release(self, *args: Any) -> dict[str, Any]:
        return await self._ask("release", args)

    @workflow.update(name="pause", description=_PAUSE)
    async def ask_pause(self, *args: Any) -> dict[str, Any]:
        return await self._ask("pause", args)

    @workflow.update(name="cancel", description=_CANCEL)
    async def ask_cancel(self, *args: Any) -> dict[str, Any]:
        return await self._ask("cancel", args)

    @workflow.update(name="send_link", description=_LINK)
    async def ask_send_link(self, *args: Any) -> dict[str, Any]:
        return await self._ask("send_link", args)

    @workflow.update(name="retry_now", description=_RETRY)
    async def ask_retry_now(self, *args: Any) -> dict[str, Any]:
        return await self._ask("retry_now", args)

    @workflow.update(name="suspend_now", description=_SUSPEND)
    async def ask_suspend_now(self, *args: Any) -> dict[str, Any]:
        return await self._ask("suspend_now", args)

    @workflow.update(name="restore_now", description=_RESTORE)
    async def ask_restore_now(self, *args: Any) -> dict[str, Any]:
        return await self._ask("restore_now", args)

    @workflow.update(name="stop", description=_STOP)
    async def ask_stop(self, *args: Any) -> dict[str, Any]:
        return await self._ask("stop", args)

    @workflow.update(name="set_policy", description=_POLICY)
    async def ask_set_policy(self, *args: Any) -> dict[str, Any]:
        return await self._ask("set_policy", args)

    @workflow.update(name="add_note", description=_NOTE)
    async def ask_add_note(self, *args: Any) -> dict[str, Any]:
        return await self._ask("add_note", args)

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
