"""Whether the settings of a Stripe account contradict the policies that run on it. Pure.

Most of Stripe's revenue-recovery settings cannot be read by API (docs.stripe.com/billing/revenue-recovery),
so they are inferred from what they did: a sample of recent invoices, charges, subscriptions and endpoints.
What leaves no trace, such as Stripe's own mails, stays a line of a checklist.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Literal

from pydantic import Field

from dunning.policy import Policy
from dunning.values import Value

Severity = Literal["warning", "note"]
Owner = Literal["engine", "stripe", "shared"]

RETRIES = "Billing › Revenue recovery › Retries"
#: What Stripe writes when its own settings acted (Stripe API reference: Subscription.cancellation_details,
#: Subscription.status_details, Invoice.status_details).
CANCELED_BY_STRIPE = "payment_failed"
CANCELED_BY_DISPUTE = "payment_disputed"
PAUSED_BY_STRIPE = frozenset({"final_payment_failure", "first_payment_failure"})
GIVEN_UP_BY_STRIPE = frozenset({"max_payment_attempts", "payment_not_received"})
#: Fewer examples than this may be somebody's single decision.
_FEW = 2
_TAKES_OVER_WITHIN = timedelta(hours=1)  # turning auto_advance off is a case's first step


class SampledInvoice(Value):
    """An invoice that is owed or was given up. `case_since`: one of our cases is open for it since then."""

    id: str
    status: str
    attempted: bool = False
    next_payment_attempt: datetime | None = None
    given_up_because: str | None = None  # status_details.uncollectible.reason
    case_since: datetime | None = None
    owner: Owner | None = None  # by the policy of its case


class SampledCharge(Value):
    """A failed attempt on an invoice with an open case. `by_api`: an API call asked for it."""

    id: str
    invoice: str
    at: datetime
    by_api: bool


class SampledSubscription(Value):
    """A subscription that is canceled, unpaid or paused."""

    id: str
    status: str
    canceled_because: str | None = None  # cancellation_details.reason
    paused_because: str | None = None  # status_details.paused.subscription.type


class SampledEndpoint(Value):
    """A webhook endpoint of the account."""

    url: str
    enabled: bool = True
    events: frozenset[str] = frozenset()


class Sample(Value):
    """What was found at Stripe and in the ledger. `unread` says in words what could not be looked at."""

    at: datetime
    invoices: tuple[SampledInvoice, ...] = ()
    charges: tuple[SampledCharge, ...] = ()
    subscriptions: tuple[SampledSubscription, ...] = ()
    endpoints: tuple[SampledEndpoint, ...] | None = None  # None: not looked at
    needed_events: frozenset[str] = frozenset()
    unread: tuple[str, ...] = ()


class Finding(Value):
    """Something about the account that does not fit, and what to do. `examples` are ids at Stripe."""

    code: str
    severity: Severity = "warning"
    text: str
    examples: tuple[str, ...] = Field(default=(), max_length=3)


def judge_account(sample: Sample, policies: Iterable[Policy]) -> tuple[Finding, ...]:
    """What contradicts the policies, the gravest first; empty when nothing was found."""
    owners: frozenset[Owner] = frozenset(policy.retries.owner for policy in policies)
    found = (
        *_retried_by_stripe(sample, owners),
        *_not_retried(sample, owners),
        *_ended_by_stripe(sample),
        *_given_up(sample),
        *_not_heard(sample),
        *(Finding(code="not_read", severity="note", text=text) for text in sample.unread),
    )
    return tuple(sorted(found, key=lambda finding: finding.severity == "note"))


#: What no API tells; a person has to look once.
CHECKLIST = (
    "Billing › Revenue recovery › Emails: failed payments, expiring cards and 3D Secure are off, else "
    "customers get each message twice.",
    "Settings › Disputes: whether a dispute cancels the subscription is known to support.",
    "Settings › Billing › Subscriptions: upcoming renewal events are sent at least 7 days before.",
)


def _retried_by_stripe(sample: Sample, owners: frozenset[Owner]) -> Iterator[Finding]:
    if "engine" not in owners:
        return
    ours = [i for i in sample.invoices if i.owner == "engine" and _stripe_goes_on(i)]
    kept = [i for i in ours if i.case_since is not None and sample.at - i.case_since > _TAKES_OVER_WITHIN]
    if kept:
        yield Finding(
            code="stripe_retries_our_case",
            text=f"Stripe still plans to charge {_many(kept, 'invoice')} whose cases this engine charges: "
            "somebody or an automation turned auto_advance on again; turn it off for these invoices, and "
            "the automation for all",
            examples=_ids(kept),
        )
    charged = [c for c in sample.charges if not c.by_api]
    if len({c.invoice for c in charged}) >= _FEW:  # a single one may be a customer's on the hosted page
        yield Finding(
            code="charged_beside_us",
            text=f"{_many(charged, 'failed charge')} on invoices of open cases came from no API call: "
            "Stripe retries too, and uses up the limits of the cards; turn its retries off under "
            f"{RETRIES}",
            examples=_ids(charged),
        )
    waiting = [i for i in sample.invoices if i.case_since is None and i.attempted and _stripe_goes_on(i)]
    if len(waiting) >= _FEW and owners == {"engine"}:
        yield Finding(
            code="stripe_retries",
            text=f"Stripe itself will charge {_many(waiting, 'failed invoice')} that have no case here, and "
            f"the policies say retries.owner: engine; turn retries off under {RETRIES}, or check that "
            "invoice.payment_failed reaches this engine",
            examples=_ids(waiting),
        )


def _not_retried(sample: Sample, owners: frozenset[Owner]) -> Iterator[Finding]:
    """Who leaves the charging to Stripe needs Stripe to charge."""
    idle = [i for i in sample.invoices if i.owner in ("stripe", "shared") and i.attempted]
    if len(idle) < _FEW or any(_stripe_goes_on(invoice) for invoice in idle):
        return
    if owners & {"stripe", "shared"}:
        yield Finding(
            code="nobody_retries",
            text=f"Stripe plans no attempt on any of {_many(idle, 'failed invoice')} whose policy leaves the "
            f"retries to it: turn them on under {RETRIES}, or set retries.owner: engine",
            examples=_ids(idle),
        )


def _ended_by_stripe(sample: Sample) -> Iterator[Finding]:
    canceled = [s for s in sample.subscriptions if s.canceled_because == CANCELED_BY_STRIPE]
    if canceled:
        yield Finding(
            code="stripe_cancels",
            text=f"Stripe canceled {_many(canceled, 'subscription')} after failed payments: the customers "
            f"lost theirs before grace ended; under {RETRIES} choose to leave it past due or mark it unpaid",
            examples=_ids(canceled),
        )
    disputed = [s for s in sample.subscriptions if s.canceled_because == CANCELED_BY_DISPUTE]
    if disputed:
        yield Finding(
            code="stripe_cancels_on_dispute",
            severity="note",
            text=f"Stripe canceled {_many(disputed, 'subscription')} because of a dispute: a case frozen for "
            "a person closes then; change it under Settings › Disputes if a person is to decide",
            examples=_ids(disputed),
        )
    paused = [s for s in sample.subscriptions if s.paused_because in PAUSED_BY_STRIPE]
    if paused:
        yield Finding(
            code="stripe_pauses",
            text=f"Stripe paused {_many(paused, 'subscription')} after failed payments: suspension is this "
            f"engine's step, after its notice; turn pausing off under {RETRIES}",
            examples=_ids(paused),
        )
    unpaid = [s for s in sample.subscriptions if s.status == "unpaid"]
    if unpaid:
        yield Finding(
            code="stripe_marks_unpaid",
            severity="note",
            text=f"Stripe marked {_many(unpaid, 'subscription')} unpaid: later invoices stay drafts, and are "
            "neither charged nor dunned until somebody finalises them",
            examples=_ids(unpaid),
        )


def _given_up(sample: Sample) -> Iterator[Finding]:
    given_up = [i for i in sample.invoices if i.given_up_because in GIVEN_UP_BY_STRIPE]
    if given_up:
        yield Finding(
            code="stripe_gives_up",
            text=f"Stripe marked {_many(given_up, 'invoice')} uncollectible when its own retries ended: a "
            f"case closes then; under {RETRIES} choose to leave the invoice as it is",
            examples=_ids(given_up),
        )


def _not_heard(sample: Sample) -> Iterator[Finding]:
    if sample.endpoints is None:
        return
    live = [endpoint for endpoint in sample.endpoints if endpoint.enabled]
    if not live:
        text = "no webhook endpoint is enabled: cases open late or never; add this engine's /webhooks/stripe"
        yield Finding(code="no_endpoint", text=text)
        return
    best = max(live, key=lambda endpoint: len(endpoint.events & sample.needed_events))
    missing = () if "*" in best.events else tuple(sorted(sample.needed_events - best.events))
    if missing:
        yield Finding(
            code="events_missing",
            text=f"the webhook endpoint {best.url} does not get {', '.join(missing)}: select them",
        )


def _stripe_goes_on(invoice: SampledInvoice) -> bool:
    return invoice.status == "open" and invoice.next_payment_attempt is not None


Named = SampledInvoice | SampledCharge | SampledSubscription


def _many(found: Iterable[Named], what: str) -> str:
    count = len(list(found))
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _ids(found: Iterable[Named]) -> tuple[str, ...]:
    return tuple(one.id for one in found)[:3]
