"""`python -m starter`: the `dunning` command as a process of its own."""

from __future__ import annotations

import gc
import importlib
from typing import NoReturn

from starter.ending import leave


def script() -> NoReturn:
    """Run the command and leave with its status.

    Imports are most of a short command's time and make no garbage; looking for it is a sixth of that time.
    """
    gc.disable()
    cli = importlib.import_module("starter.cli")
    gc.freeze()
    gc.enable()
    leave(cli.main())


if __name__ == "__main__":
    script()
