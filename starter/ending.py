"""The end of a process that has talked to Temporal."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def leave(status: int) -> NoReturn:
    """Leave the process at once, with what was written flushed.

    With Temporal's core loaded the interpreter can abort while it winds down, and a command that did its work
    would end with status 134 (temporalio/sdk-python issue 300). Call it when nothing is left to close.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
