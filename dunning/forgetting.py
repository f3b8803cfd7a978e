"""What a running case forgets when its customer is erased: the words that people wrote, no date, no fact."""

from __future__ import annotations

from typing import Any

from dunning.case import CaseState

#: The hint that says so.
ERASED = "customer.erased"
_WORDS = ("suspend_asked", "restore_asked", "ending_reason")


def forgotten(state: CaseState) -> CaseState:
    """The case without the reasons that were typed. What asked for something still asks for it."""
    changes: dict[str, Any] = {name: "(erased)" for name in _WORDS if getattr(state, name)}
    changes["extensions"] = tuple(granted.model_copy(update={"reason": ""}) for granted in state.extensions)
    for name in ("request", "hold"):
        part = getattr(state, name)
        changes[name] = part and part.model_copy(update={"reason": ""})
    return state.model_copy(update=changes)
