"""Draft a migration from the difference between the tables and the migrations."""

from __future__ import annotations

import sys

from ledger.upgrading import draft_migration

if len(sys.argv) < 2:
    sys.exit('say what changes: python -m ledger.migrations "add a column"')
draft_migration(" ".join(sys.argv[1:]))
