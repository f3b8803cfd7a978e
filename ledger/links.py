"""Links to the customer's page. A token never comes in here in the clear: callers pass its SHA-256."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import update
from sqlmodel import col

from dunning.values import Channel
from ledger.database import Database, changed, insert_once
from ledger.records import LinkRecord, from_row
from ledger.tables import LinkRow


class Links:
    """The links of the ledger, found by the digest of their tokens."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def make(
        self,
        digest: str,
        *,
        purpose: str,
        case_id: str,
        account: str,
        customer: str,
        channel: Channel,
        at: datetime,
        expires_at: datetime,
    ) -> bool:
        """Record a link; False if it was recorded before, which is then left as it is.

        Raises NotInLedger if the case was never claimed.
        """
        row = LinkRow(
            digest=digest,
            purpose=purpose,
            case_id=case_id,
            account=account,
            customer=customer,
            channel=channel,
            created_at=at,
            expires_at=expires_at,
        )
        async with self._database.write() as session:
            return await insert_once(session, row)

    async def find(self, digest: str) -> LinkRecord | None:
        """The link of that digest, expired and revoked ones too."""
        rows = await self._database.rows(LinkRow, digest=digest)
        return from_row(LinkRecord, rows[0]) if rows else None

    async def used(self, digest: str) -> None:
        """Something was done through the link."""
        count = update(LinkRow).where(col(LinkRow.digest) == digest).values(uses=col(LinkRow.uses) + 1)
        async with self._database.write() as session:
            await changed(session, count.execution_options(synchronize_session=False))

    async def revoke(self, case_id: str, at: datetime) -> int:
        """From now on no link of the case leads anywhere; returns how many were revoked."""
        living = (col(LinkRow.case_id) == case_id, col(LinkRow.revoked_at).is_(None))
        end = update(LinkRow).where(*living).values(revoked_at=at)
        async with self._database.write() as session:
            return await changed(session, end.execution_options(synchronize_session=False))
