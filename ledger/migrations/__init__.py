"""How the tables came to be, one file a change. `python -m ledger.migrations "what changes"` drafts one."""
