"""Why a decline is treated as it is: `dunning declines explain`, for people."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any

from dunning.declines import classify, is_known
from dunning.facts import Failure, Method
from dunning.values import DeclineClass, Value
from dunning.yaml_text import read_yaml

ACTIONS = {
    DeclineClass.SOFT: "charge again later, by the policy's ladder",
    DeclineClass.TECHNICAL: "charge again within hours",
    DeclineClass.UPDATER: "wait for the networks' card updater, then charge once",
    DeclineClass.NEW_METHOD: "ask for another card; charge it as soon as it is there",
    DeclineClass.AUTHENTICATE: "ask the customer to confirm on the hosted invoice page; no blind retries",
    DeclineClass.FIX_DATA: "ask the customer to correct the card's data",
    DeclineClass.REVIEW: "freeze the case: nothing is charged or said until a person decides",
    DeclineClass.REVOKED: "stop charging, ask once, let a person decide",
}
_TOLD = {
    DeclineClass.AUTHENTICATE: "the bank wants a confirmation",
    DeclineClass.FIX_DATA: "the card's details need a correction",
}
_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


class Explanation(Value):
    """What the engine makes of a decline. `wait_hours` counts from the failure."""

    code: str
    known: bool
    decline_class: DeclineClass
    words: str
    action: str
    wait_hours: float | None = None
    max_retries: int | None = None
    locked: bool = False
    customer_may_be_told: str
    sources: tuple[str, ...] = ()


def explain(
    code: str,
    advice: str | None = None,
    network_advice: str | None = None,
    network_decline: str | None = None,
    brand: str | None = None,
) -> Explanation:
    """What the engine makes of these codes together, and which public source says so."""
    failure = Failure(
        at=_MOMENT,
        code="card_declined",
        decline_code=code,
        advice_code=advice,
        network_advice_code=network_advice,
        network_decline_code=network_decline,
        method=Method(id="pm_explained", brand=brand),
    )
    verdict = classify(failure)
    hidden = verdict.hide_reason
    told = (
        "nothing of the reason: a plain refusal" if hidden else _TOLD.get(verdict.cls, "the bank declined it")
    )
    return Explanation(
        code=verdict.code,
        known=is_known(code),
        decline_class=verdict.cls,
        words=verdict.words,
        action=ACTIONS[verdict.cls],
        wait_hours=(verdict.not_before - _MOMENT).total_seconds() / 3600 if verdict.not_before else None,
        max_retries=verdict.max_retries,
        locked=verdict.locked,
        customer_may_be_told=told,
        sources=_sources(code, advice, network_advice, network_decline, brand),
    )


def _sources(
    code: str, advice: str | None, network_advice: str | None, network_decline: str | None, brand: str | None
) -> tuple[str, ...]:
    wanted = {
        "card_declines": code,
        "other_methods": code,
        "outcome_reasons": code,
        "errors": code,
        "bank_debits": code,
        "advice": advice,
        "mastercard_advice": network_advice if brand == "mastercard" else None,
        "visa": network_decline if brand == "visa" else None,
    }
    tables = _tables()
    found = (
        tables[name] for name, given in wanted.items() if given is not None and given in tables[name]["codes"]
    )
    return tuple(dict.fromkeys(str(table["source"]) for table in found))


@cache
def _tables() -> dict[str, Any]:
    text = (files("dunning") / "data" / "declines.yaml").read_text(encoding="utf-8")
    data: dict[str, Any] = read_yaml(text)
    return data
