"""What an operator sees of a reminder: search attributes and current details."""

from __future__ import annotations

from typing import Any

from dunning.policy import Policy
from dunning.renewals.reminder import ReminderDecision, ReminderRef, Upcoming
from dunning.values import WaitingOn


def facets(ref: ReminderRef, facts: Upcoming, policy: Policy, decision: ReminderDecision) -> dict[str, Any]:
    """The search attributes by name; a reminder is `recovering` until it is closed, as a card's case is."""
    return {
        "DunningStage": "closed" if decision.outcome else "recovering",
        "DunningWaitingOn": None if decision.outcome else str(WaitingOn.CUSTOMER),
        "DunningOutcome": str(decision.outcome) if decision.outcome else None,
        "DunningCustomer": facts.customer or None,
        "DunningAccount": ref.account or None,
        "DunningPolicy": policy.name,
    }


def details(ref: ReminderRef, facts: Upcoming, decision: ReminderDecision) -> str:
    """The current details in Markdown: what is charged when, and what is next."""
    where = f"Closed: {decision.outcome}" if decision.outcome else "Renews soon"
    lines = [f"## {where}", "", f"- **Charged next:** {ref.charge_at:%a %d %b %Y %H:%M} UTC"]
    if decision.until is not None:
        lines.append(f"- **Next:** {decision.until:%a %d %b %Y %H:%M} UTC, {decision.reason}")
    else:
        lines.append(f"- **Now:** {decision.reason}")
    mode = "" if facts.livemode else "test/"
    account = f"{ref.account}/" if ref.account else ""
    page = f"https://dashboard.stripe.com/{account}{mode}subscriptions/{ref.subscription}"
    lines.append(f"- **Subscription:** [{ref.subscription}]({page}), customer {facts.customer}")
    return "\n".join(lines)
