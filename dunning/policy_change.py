"""Another policy for a case that runs, and what it may change."""

from __future__ import annotations

from collections.abc import Mapping

from dunning.calendar import local_date
from dunning.case import CaseState
from dunning.grace import days_granted
from dunning.lever_payloads import Refused
from dunning.policy import Policy
from dunning.values import Stage

#: Policies by name as they can be had now; a text instead says why one cannot.
Offers = Mapping[str, Policy | str]


def offered(offers: Offers, name: str) -> Policy:
    """The policy of that name. Raises Refused with the reason why it cannot be had."""
    policy = offers.get(name, f"name: {name!r} could not be looked up: ask again")
    if isinstance(policy, str):
        raise Refused(policy)
    return policy


def adopted(state: CaseState, present: Policy, new: Policy) -> CaseState:
    """The case under another policy. What was promised stays: dates move later, never earlier.

    Raises Refused for a policy that would hand the charging over, or that begins or ends a shadow: what was
    done so far would mean something else.
    """
    if new.retries.owner != present.retries.owner:
        raise Refused(
            f"name: under {new.name} {new.retries.owner!r} charges, under {present.name} "
            f"{present.retries.owner!r} does (retries.owner): stop the case and start it with that policy"
        )
    if new.shadow != present.shadow:
        raise Refused(
            f"name: {new.name} differs from {present.name} in shadow: stop the case and start it anew"
        )
    plan = state.plan
    starts = plan.grace_starts_at
    if state.stage is Stage.RECOVERING:
        starts = max(starts, plan.anchor + state.shift + new.grace.starts)
    ends = local_date(starts + new.grace.length, plan.zone).toordinal() + days_granted(state)
    last_day = max(plan.last_day, plan.last_day.fromordinal(ends))
    if state.stage in (Stage.SUSPENDED, Stage.CLOSED):
        last_day = plan.last_day
    moved = plan.model_copy(update={"grace_starts_at": starts, "last_day": last_day})
    return state.model_copy(update={"plan": moved})
