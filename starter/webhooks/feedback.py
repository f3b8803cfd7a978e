"""What providers tell about messages, taken in: first the case where it matters, then the ledger.

In this order nothing is lost: what fails on the way is delivered again, and telling a case twice is harmless.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Literal

import structlog
from sqlalchemy.exc import SQLAlchemyError

from dunning.deliveries import Heard, hint, matters
from dunning.values import Channel
from ledger import Ledger, LedgerError, NotInLedger
from ledger.records import DispatchRecord
from starter.errors import EngineUnavailable
from starter.webhooks.receiver import Receiver
from starter.wishes import Wishes

log = structlog.get_logger(__name__)

#: `told`: a case had to hear of it; `noted`: it stands in the ledger; `known`: it was told before.
Result = Literal["told", "noted", "known", "unknown_message"]


class Feedback:
    """Takes in the news of SendGrid and Twilio. Raises EngineUnavailable when ledger or Temporal is away."""

    def __init__(self, ledger: Ledger, receiver: Receiver, timeout: timedelta) -> None:
        self._ledger, self._receiver = ledger, receiver
        self._wishes = Wishes(ledger, receiver)
        self._timeout = 2 * timeout.total_seconds()

    async def hear(self, dispatch_id: str | None, news: Heard) -> Result:
        """Take in what was told of one message, named by our id or else by the provider's."""
        async with available(self._timeout):
            dispatch = await self._find(dispatch_id, news.provider_id)
            if dispatch is None:
                return "unknown_message"
            if await self._ledger.dispatches.was_heard(dispatch.id, news):
                return "known"
            # Nobody hears of a message before it is claimed; only clocks that were set ahead differ so much.
            news = news.model_copy(update={"at": max(news.at, dispatch.claimed_at)})
            await self._affect(dispatch, news)
            told = await self._tell(dispatch, news)
            try:
                before = await self._ledger.dispatches.heard(dispatch.id, news)
            except NotInLedger:  # released in this very moment: the sender knows that nothing went out
                return "unknown_message"
            if before is not None and before.fate != dispatch.fate:  # the sender gave up waiting meanwhile
                told = await self._tell(before, news) or told
        log.info("message heard of", dispatch=dispatch.id, news=news.event, provider=news.provider, told=told)
        return "told" if told else "noted"

    async def _find(self, dispatch_id: str | None, provider_id: str | None) -> DispatchRecord | None:
        dispatches = self._ledger.dispatches
        found = await dispatches.by_id(dispatch_id) if dispatch_id is not None else None
        if found is None and provider_id is not None:
            found = await dispatches.by_provider_id(provider_id)
        return found

    async def _tell(self, dispatch: DispatchRecord, news: Heard) -> bool:
        """Tell the message's case, and those that were told of in it: they take it for their own."""
        matter = matters(dispatch.fate, dispatch.channel, dispatch.delivery, news.delivery)
        if matter is None:
            return False
        others = dispatch.told or {} if matter == "undelivered" else {}
        told = False
        for case_id, step in {dispatch.case_id: dispatch.step, **dict.fromkeys(others, "")}.items():
            case = await self._ledger.cases.get(case_id)
            if case is not None and case.open:
                what = hint(
                    matter,
                    dispatch_id=dispatch.id,
                    step=step,
                    channel=dispatch.channel,
                    at=news.at,
                    why=news.detail,
                )
                told = await self._receiver.tell(case.workflow_id, what) or told
        return told

    async def _affect(self, dispatch: DispatchRecord, news: Heard) -> None:
        """What the news mean for the consent or the address, before the case looks for itself."""
        addresses = self._ledger.addresses
        match news.effect:
            case "dead" | "failing" as how:
                await addresses.failed(dispatch.id, at=news.at, reason=news.detail, for_good=how == "dead")
            case "revoked" | "granted" | "reminders_revoked" | "reminders_granted" as wish:
                await self._wishes.state(
                    await self._ledger.dispatches.account(dispatch) or "",
                    dispatch.customer,
                    (dispatch.channel,),
                    "revoked" if wish.endswith("revoked") else "granted",
                    group="optional" if wish.startswith("reminders") else "",
                    source=f"{news.provider}_{news.event}",
                    at=news.at,
                    by="customer",
                    text=news.detail,
                    just_now=news.provider == "twilio",  # which names no time
                )
            case None:
                if news.delivery == "delivered" and dispatch.channel is not Channel.EMAIL:
                    await addresses.reached(dispatch.id)


@asynccontextmanager
async def available(seconds: float) -> AsyncIterator[None]:
    """Raises EngineUnavailable when the ledger does not answer in time."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except (SQLAlchemyError, LedgerError, OSError, TimeoutError) as error:
        raise EngineUnavailable("the ledger does not answer: deliver it again later") from error
