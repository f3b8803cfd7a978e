"""The SQL ledger: what was done, for whom, and why."""

from ledger.errors import LedgerError, LedgerUrlError, NotInLedger, SchemaError
from ledger.ledger import Ledger
from ledger.schema import schema_is_current, schema_state

__all__ = [
    "Ledger",
    "LedgerError",
    "LedgerUrlError",
    "NotInLedger",
    "SchemaError",
    "schema_is_current",
    "schema_state",
]
