"""Addresses that messages do not reach. A customer's other address, or a corrected one, is not concerned."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Select, and_, bindparam, delete, select
from sqlmodel import col

from dunning.consents import PATIENCE
from dunning.values import Channel
from ledger.contacts import account_of
from ledger.database import Database, changed, put
from ledger.tables import AddressRow, DispatchRow, table


class Addresses:
    """The addresses of the ledger, by fingerprint and channel."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def failed(self, dispatch_id: str, *, at: datetime, reason: str, for_good: bool) -> bool:
        """Remember that a message did not reach its address; whether that is dead now.

        `for_good`: no other one will. Else only when the message before it failed as well. The same message
        counts once; of a message without an address nothing is remembered.
        """
        async with self._database.write() as session:
            message = await session.get(DispatchRow, dispatch_id)
            if message is None or message.address is None:
                return False
            key = (message.address, message.channel)
            known = await session.get(AddressRow, key, with_for_update=True)
            again = known is not None and known.failed_by == dispatch_id
            failures = (known.failures if known else 0) + (0 if again else 1)
            dead = for_good or failures >= PATIENCE or (known is not None and known.dead)
            row = AddressRow(
                address=message.address,
                channel=message.channel,
                failures=failures,
                dead=dead,
                failed_by=dispatch_id,
                at=at,
                reason=reason,
            )
            session.expunge_all()
            await put(session, [row])
            return dead

    async def reached(self, dispatch_id: str) -> None:
        """A message arrived: its address is not failing, if it was."""
        async with self._database.write() as session:
            message = await session.get(DispatchRow, dispatch_id)
            if message is not None and message.address is not None:
                same = and_(
                    col(AddressRow.address) == message.address,
                    col(AddressRow.channel) == message.channel,
                    col(AddressRow.dead).is_(False),
                )
                await changed(session, delete(AddressRow).where(same))

    async def dead(self, addresses: Mapping[Channel, str]) -> frozenset[Channel]:
        """The channels whose address, given by its fingerprint, is dead."""
        if not addresses:
            return frozenset()
        (found,) = await self._database.found([_DEAD], {"addresses": list(addresses.values())})
        return frozenset(row.channel for row in found if addresses.get(row.channel) == row.address)

    async def dead_of(self, account: str, customer: str) -> dict[Channel, str]:
        """The channels on which an address of the customer was found dead, and why."""
        query = select(col(AddressRow.channel), col(AddressRow.reason)).where(
            col(AddressRow.dead).is_(True), col(AddressRow.address).in_(_used(account, customer))
        )
        async with self._database.read() as session:
            return {channel: reason for channel, reason in await session.execute(query)}

    async def revive(self, account: str, customer: str, channel: Channel) -> None:
        """Try the customer's addresses again: somebody says that they are right."""
        theirs = and_(
            col(AddressRow.channel) == channel, col(AddressRow.address).in_(_used(account, customer))
        )
        async with self._database.write() as session:
            statement = delete(AddressRow).where(theirs).execution_options(synchronize_session=False)
            await changed(session, statement)


#: Built once: building a statement costs more than executing it.
_ADDRESSES = table(AddressRow).c
_DEAD = select(_ADDRESSES.channel, _ADDRESSES.address).where(
    _ADDRESSES.address.in_(bindparam("addresses", expanding=True)), _ADDRESSES.dead.is_(True)
)


def _used(account: str, customer: str) -> Select[str | None]:
    """Where the customer was written to."""
    return (
        select(col(DispatchRow.address))
        .where(account_of(col(DispatchRow.case_id)) == account, col(DispatchRow.customer) == customer)
        .where(col(DispatchRow.address).is_not(None))
    )
