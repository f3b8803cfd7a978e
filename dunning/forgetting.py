"""What a running case forgets when its customer is erased: the words that people wrote, no date, no fact."""

from __future__ import annotations

from typing import Any

from dunning.case import CaseState, Entry

#: The hint that says so.
ERASED = "customer.erased"
#: What stands in place of words.
NO_WORDS = "(erased)"
#: Lines of a timeline that repeat what a person wrote: what a lever said, and why a case came to its end.
LEVERS = "lever."
ENDINGS = ("case.closed", "turn.superseded")
_WORDS = ("suspend_asked", "restore_asked", "ending_reason")


def forgotten(state: CaseState) -> CaseState:
    """The case without the reasons that were typed. What asked for something still asks for it."""
    changes: dict[str, Any] = {name: NO_WORDS for name in _WORDS if getattr(state, name)}
    changes["extensions"] = tuple(granted.model_copy(update={"reason": ""}) for granted in state.extensions)
    for name in ("request", "hold"):
        part = getattr(state, name)
        changes[name] = part and part.model_copy(update={"reason": ""})
    return state.model_copy(update=changes)


def unsaid(entry: Entry) -> Entry:
    """A line of the timeline without what a person wrote; when it was, and by whom, stays."""
    if not entry.what.startswith(LEVERS) and entry.what not in ENDINGS:
        return entry
    return entry.model_copy(update={"text": NO_WORDS, "data": {}})
