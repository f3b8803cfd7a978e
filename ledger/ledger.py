"""The ledger: what was done, for whom, and why, in SQL."""

from __future__ import annotations

from ledger.addresses import Addresses
from ledger.attempts import Attempts
from ledger.cards import CardCases
from ledger.cases import Cases
from ledger.charges import Charges
from ledger.consents import Consents
from ledger.counts import count
from ledger.database import Database
from ledger.dispatches import Dispatches
from ledger.effects import Effects
from ledger.links import Links
from ledger.outbox import Outbox
from ledger.people import People
from ledger.reconciliations import Reconciliations
from ledger.records import Counts
from ledger.reminders import Reminders
from ledger.replies import Replies
from ledger.reporting import Reporting
from ledger.reversals import Reversals
from ledger.risks import Risks
from ledger.schema import require_current, schema_state
from ledger.surveys import Surveys
from ledger.suspensions import Suspensions
from ledger.switches import Switches
from ledger.turns import Turns


class Ledger:
    """An open ledger. Use it in one event loop, and close it.

    The protocol of every effect: claim (an insert on a unique key), do it, complete. Found done: take the
    result. Found claimed: the caller decides, for a claim is never given out twice.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.cases = Cases(database)
        self.cards = CardCases(database)
        self.reminders = Reminders(database)
        self.attempts = Attempts(database)
        self.turns = Turns(database)
        self.charges = Charges(database)
        self.dispatches = Dispatches(database)
        self.consents = Consents(database)
        self.addresses = Addresses(database)
        self.replies = Replies(database)
        self.links = Links(database)
        self.surveys = Surveys(database)
        self.suspensions = Suspensions(database)
        self.effects = Effects(database)
        self.switches = Switches(database)
        self.risks = Risks(database)
        self.reconciliations = Reconciliations(database)
        self.outbox = Outbox(database)
        self.reversals = Reversals(database)
        self.people = People(database)
        self.reporting = Reporting(database)

    @classmethod
    async def open(cls, url: str) -> Ledger:
        """The ledger at DATABASE_URL.

        Raises LedgerUrlError for a URL that cannot be used, SchemaError if its tables are not those of this
        version (the message names the command to run), and SQLAlchemy's OperationalError if the database
        does not answer.
        """
        database = Database(url)
        try:
            await require_current(database)
        except BaseException:
            await database.close()
            raise
        return cls(database)

    async def close(self) -> None:
        """Give the connections back."""
        await self._database.close()

    async def is_current(self) -> bool:
        """Whether the tables are still of this version; raises SQLAlchemy's error if nothing answers."""
        return await schema_state(self._database) == "current"

    async def counts(self) -> Counts:
        """Numbers over the whole ledger, for metrics."""
        return await count(self._database)
