"""Something that a case will do, with its moment and its reason."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from dunning.case import Turn
from dunning.decision import Action
from dunning.values import WaitingOn

#: So long after it was decided an effect on the subscription or the invoice is decided anew.
EFFECT_WITHIN = timedelta(hours=24)


@dataclass(frozen=True)
class Due:
    """Something with a moment. Of two with the same moment the lower `rank` goes first."""

    at: datetime
    rank: int
    reason: str
    action: Action | None = None
    turn: Turn | None = None
    on: WaitingOn = WaitingOn.DATE
    not_after: datetime | None = None
