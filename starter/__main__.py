"""`python -m starter`: the `dunning` command as a process of its own."""

from __future__ import annotations

from typing import NoReturn

from starter.ending import leave
from starter.importing import imported


def script() -> NoReturn:
    """Run the command and leave with its status."""
    leave(imported("starter.cli").main())


if __name__ == "__main__":
    script()
