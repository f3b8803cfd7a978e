"""What customers agreed to be reached by. Nothing is overwritten: the newest statement counts."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import Select, and_, func, select
from sqlmodel import col

from dunning.values import Channel, MessageGroup
from ledger.contacts import conversation
from ledger.database import Database, insert_once
from ledger.records import ConsentRecord, ConsentState, from_row
from ledger.tables import ConsentRow

_LATER = timedelta(microseconds=1)


class Consents:
    """The consents of the ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def set(
        self,
        *,
        account: str,
        customer: str,
        channel: Channel,
        group: MessageGroup | Literal[""] = "",
        state: ConsentState,
        source: str,
        at: datetime,
        by: str,
        text: str = "",
        just_now: bool = False,
        unless_said: bool = False,
    ) -> bool:
        """Append a statement; False if the same was said at the same moment (a webhook that came twice).

        A message to the customer that is claimed at this moment is claimed before or after it, never beside.

        `source` says where it was made (`sms_keyword`, `customer_page`, `support`, …), `text` in which words.
        `group`: only these messages of the channel, else all. `just_now`: it is the last word, whatever
        another clock says of what was said before. `unless_said`: only if nothing was said of the channel.
        """
        row = ConsentRow(
            account=account,
            customer=customer,
            channel=channel,
            group=group,
            state=state,
            source=source,
            at=at,
            by=by,
            text=text,
        )
        async with self._database.write() as session:
            await self._database.alone(session, conversation(customer))
            before = await session.scalar(_newest(account, customer, channel))
            if before is not None and unless_said:
                return False
            if before is not None and just_now:
                row.at = max(at, before + _LATER)
            return await insert_once(session, row)

    async def state(self, account: str, customer: str) -> dict[Channel, ConsentState]:
        """What counts now, by channel; a channel of which nothing was said is left out."""
        said = await self.history(account, customer)
        return {one.channel: one.state for one in said if not one.group}

    async def wants_reminders(self, account: str, customer: str) -> bool:
        """Whether the optional e-mails may go out, as far as e-mail is wanted at all."""
        said = [one.state for one in await self.history(account, customer) if one.group == "optional"]
        return not said or said[-1] == "granted"

    async def history(self, account: str, customer: str) -> tuple[ConsentRecord, ...]:
        """All statements of a customer, oldest first."""
        said = await self._database.rows(ConsentRow, "at", "id", account=account, customer=customer)
        return tuple(from_row(ConsentRecord, row) for row in said)


def _newest(account: str, customer: str, channel: Channel) -> Select[datetime]:
    of_channel = and_(
        col(ConsentRow.account) == account,
        col(ConsentRow.customer) == customer,
        col(ConsentRow.channel) == channel,
    )
    return select(func.max(col(ConsentRow.at))).where(of_channel)
