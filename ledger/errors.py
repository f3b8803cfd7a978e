"""What can go wrong with the ledger itself. Faults of the database pass through as SQLAlchemy raises them."""

from __future__ import annotations


class LedgerError(Exception):
    """The ledger refuses: one sentence that says what, where and what to do."""


class LedgerUrlError(LedgerError):
    """DATABASE_URL names a database that the ledger cannot use."""


class SchemaError(LedgerError):
    """The tables are not those that this version of the engine needs."""


class NotInLedger(LedgerError):
    """Something was to be completed or continued that was never claimed."""
