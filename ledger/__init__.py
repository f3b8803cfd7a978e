"""The SQL ledger: what was done, for whom, and why."""

from ledger.errors import LedgerError, LedgerUrlError, NotInLedger, SchemaError
from ledger.ledger import Ledger

__all__ = [
    "Ledger",
    "LedgerError",
    "LedgerUrlError",
    "NotInLedger",
    "SchemaError",
]
