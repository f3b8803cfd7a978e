"""Imports that take most of a command's time."""

from __future__ import annotations

import gc
import importlib
from typing import Any


def imported(name: str) -> Any:
    """A module with all it imports, which lasts as long as the process.

    Imports make no garbage; looking for it is a sixth of the time they take.
    """
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.freeze()
        gc.enable()
