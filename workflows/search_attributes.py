"""The search attributes of a case: the one list that code, set-up and tests share. No personal data."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from temporalio.common import SearchAttributeIndexedValueType, SearchAttributeKey, SearchAttributeUpdate

_KEYWORDS = (
    "DunningStage",
    "DunningWaitingOn",
    "DunningOutcome",
    "DunningCustomer",
    "DunningAccount",
    "DunningPolicy",
    "DunningDeclineCode",
    "DunningCurrency",
    "DunningRisk",
)

#: SQL visibility stores allow ten Keyword attributes, three Int, three Datetime and three Bool.
KEYS: tuple[SearchAttributeKey[Any], ...] = (
    *(SearchAttributeKey.for_keyword(name) for name in _KEYWORDS),
    SearchAttributeKey.for_int("DunningAmountRemaining"),
    SearchAttributeKey.for_datetime("DunningGraceEndsAt"),
    SearchAttributeKey.for_bool("DunningNeedsHuman"),
)
_BY_NAME = {key.name: key for key in KEYS}


def updates(facets: Mapping[str, Any]) -> list[SearchAttributeUpdate[Any]]:
    """One update for each facet; None unsets. Moments arrive as ISO 8601 text."""
    return [_update(_BY_NAME[name], value) for name, value in facets.items()]


def _update(key: SearchAttributeKey[Any], value: Any) -> SearchAttributeUpdate[Any]:
    if value is None:
        return key.value_unset()
    is_moment = key.indexed_value_type is SearchAttributeIndexedValueType.DATETIME
    return key.value_set(datetime.fromisoformat(value) if is_moment else value)
