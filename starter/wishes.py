"""Consents as they are stated: kept in the ledger, and told to the customer's open cases.

The ledger is asked before every message, so a statement counts at once; cases are told to mend their plans.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple

from dunning.correspondence import hint
from dunning.values import Channel, MessageGroup
from ledger import Ledger
from ledger.records import CaseRecord, ConsentState
from starter.webhooks.receiver import MOST_CASES, Receiver


class About(NamedTuple):
    """What a statement is about: channels, or a group of their messages."""

    channels: tuple[Channel, ...]
    group: MessageGroup | Literal[""] = ""


#: By the names that people use. `all`: nothing is said any more, or everything may be.
ABOUT: Mapping[str, About] = {
    **{channel.value: About((channel,)) for channel in Channel},
    "all": About(tuple(Channel)),
    "reminders": About((Channel.EMAIL,), "optional"),
}


class Wishes:
    """Takes statements in. Raises EngineUnavailable when a case cannot be told now: the statement is kept."""

    def __init__(self, ledger: Ledger, receiver: Receiver) -> None:
        self._ledger, self._receiver = ledger, receiver

    async def state(
        self,
        account: str,
        customer: str,
        channels: Iterable[Channel],
        state: ConsentState,
        *,
        source: str,
        at: datetime,
        by: str,
        text: str = "",
        just_now: bool = True,
        group: MessageGroup | Literal[""] = "",
    ) -> int:
        """Keep a statement about channels, or a group of their messages; returns how many cases were told.

        Consent gives an address that was found dead another chance. `just_now`: see `Consents.set`.
        """
        told = 0
        for channel in channels:
            new = await self._ledger.consents.set(
                account=account,
                customer=customer,
                channel=channel,
                group=group,
                state=state,
                source=source,
                at=at,
                by=by,
                text=text,
                just_now=just_now,
            )
            if group:  # whoever sends looks it up; no plan changes
                continue
            if new and state == "granted":
                await self._ledger.addresses.revive(account, customer, channel)
            what = hint(f"consent.{state}", channel=channel.value, why=source.replace("_", " "))
            told += await self.tell(account, customer, what)
        return told

    async def tell(self, account: str, customer: str, what: dict[str, Any]) -> int:
        """Give all open cases of a customer a hint; how many of them there are."""
        cases = await self.open_cases(account, customer)
        return sum([await self._receiver.tell(case.workflow_id, what) for case in cases])

    async def open_cases(self, account: str, customer: str) -> tuple[CaseRecord, ...]:
        """What the customer still owes."""
        page = await self._ledger.cases.find(
            account=account, customer=customer, open_only=True, limit=MOST_CASES
        )
        return page.cases
