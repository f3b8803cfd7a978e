"""Which cases an event of Stripe concerns, given what the ledger knows.

All of it is pure. Events come twice, late, out of order or never, so none is believed: a case that is woken
reads the invoice itself. `starter.webhooks.receiver` does the looking up and the waking.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from dunning.expiry.timing import written_expiry
from dunning.reports import FREEZING, REPORTS
from dunning.values import Outcome
from ledger.cards import CardCaseRecord
from ledger.records import CaseRecord
from starter.webhooks.stripe import StripeEvent, id_in, mapping_in, text_in
from workflows.ids import card_expiry_id, invoice_dunning_id, renewal_reminder_id

#: Stripe's only word of a card that will expire: about objects of before payment methods.
EXPIRING = "customer.source.expiring"

#: These open a case,
FAILURES = frozenset({"invoice.payment_failed", "invoice.payment_action_required"})
#: and these that of an invoice which is sent: nothing of it can fail. Stripe tells the last two only where an
#: automation of the account says so.
SENT = frozenset({"invoice.finalized", "invoice.sent", "invoice.will_be_due", "invoice.overdue"})

#: Stripe tells so many days ahead as the account says that a subscription will be billed.
UPCOMING = "invoice.upcoming"

Subject = Literal["invoice", "subscription", "customer", "charge", "method", "renewal"]

#: By what the cases are found that an event concerns. An event of another type is not needed.
CONCERNS: Mapping[str, Subject] = {
    **dict.fromkeys(FAILURES | SENT, "invoice"),
    "invoice.paid": "invoice",
    "invoice.voided": "invoice",
    "invoice.marked_uncollectible": "invoice",
    "invoice.deleted": "invoice",
    "invoice.updated": "invoice",
    "customer.subscription.updated": "subscription",
    "customer.subscription.deleted": "subscription",
    "customer.subscription.paused": "subscription",
    "customer.subscription.resumed": "subscription",
    "customer.updated": "customer",
    "customer.deleted": "customer",
    "payment_method.attached": "customer",
    "payment_method.updated": "customer",
    "payment_method.automatically_updated": "customer",
    "payment_method.detached": "method",
    "customer.source.expiring": "method",
    UPCOMING: "renewal",
    "setup_intent.succeeded": "customer",
    **dict.fromkeys(REPORTS, "charge"),
}

#: What must have changed for an `…updated` event to matter, for such events are many
#: (Stripe API reference: Event, data.previous_attributes).
MATTERS: Mapping[str, frozenset[str]] = {
    "invoice.updated": frozenset(
        {
            "status", "amount_remaining", "amount_due", "next_payment_attempt", "auto_advance",
            "collection_method", "default_payment_method", "default_source", "due_date",
        }
    ),
    "customer.subscription.updated": frozenset(
        {
            "status", "default_payment_method", "default_source", "pause_collection", "collection_method",
            "cancel_at", "cancel_at_period_end",
        }
    ),
    "customer.updated": frozenset(
        {"invoice_settings", "default_source", "email", "phone", "metadata", "preferred_locales", "deleted"}
    ),
}  # fmt: skip

#: After these a new failure is no reason to begin again; only `reopen` is.
SETTLED = frozenset({Outcome.STOPPED, Outcome.WRITTEN_OFF})


@dataclass(frozen=True, slots=True)
class Query:
    """What the ledger has to be asked before an event can be routed. One of these is set.

    With a charge the customer may be, too, if the event happens to name one.
    """

    account: str
    invoice: str | None = None
    subscription: str | None = None
    customer: str | None = None
    charge: str | None = None
    method: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What the ledger knows about an event's subject."""

    latest: CaseRecord | None = None  # of the invoice, or of the invoice that the charge was for
    open: tuple[CaseRecord, ...] = ()  # of the subscription or the customer
    cards: tuple[CardCaseRecord, ...] = ()  # open cases of cards, of the customer or the method
    suspended: bool = False  # the invoice still causes a suspension
    card: str | None = None  # the fingerprint of what the charge was made with
    stranger: bool = False  # nobody here knows whose payment it was, and cases are open


@dataclass(frozen=True, slots=True)
class Wake:
    """Tell a case that something happened; `start` opens it when it does not run."""

    workflow_id: str
    start: bool = False
    input: Mapping[str, str] = field(default_factory=dict)
    workflow: str = "InvoiceDunning"


@dataclass(frozen=True, slots=True)
class Route:
    """Whom an event wakes; when nobody, `why` says why not.

    `note` is the closed case in whose timeline it is to be noted; `about` is told beside the hint;
    `stranger`: Stripe has to be asked whose payment it is about.
    `paid` is the case, open or closed, whose invoice the payment was for that is reported on.
    `in_turn`: ids of several cases of a customer that may be charged now, in this order (`ledger.turns`).
    """

    wakes: tuple[Wake, ...] = ()
    why: str = ""
    note: CaseRecord | None = None
    about: Mapping[str, str] = field(default_factory=dict)
    stranger: bool = False
    paid: CaseRecord | None = None
    in_turn: tuple[str, ...] = ()


def query_of(event: StripeEvent) -> Query | Route:
    """What to ask the ledger about an event, or at once the answer that nobody is to be woken."""
    subject = CONCERNS.get(event.type)
    if subject is None:
        return Route(why="events of this type are not needed")
    if event.own:
        return Route(why="the engine caused it itself")
    matters = MATTERS.get(event.type)
    if matters is not None and event.changed is not None and not matters & event.changed:
        return Route(why="nothing that matters changed")
    if event.type in FAILURES | SENT and (refusal := _not_dunned(event)):
        return Route(why=refusal)
    named = _subject_id(event, subject)
    if named is None:
        return Route(why=f"it names no {subject}")
    if subject == "renewal":
        return _route_upcoming(event, named)
    if subject == "charge":
        return Query(event.account, charge=named, customer=_customer_of(event))
    if subject == "subscription":
        return Query(event.account, subscription=named, customer=_customer_of(event))
    return Query(event.account, **{subject: named})


def route(event: StripeEvent, found: Found) -> Route:
    """Whom an event wakes, given what the ledger knows. Pure: this is the whole decision."""
    if event.type in FAILURES | SENT:
        return _route_failure(event, found.latest)
    if CONCERNS[event.type] == "invoice":
        return _route_invoice(event, found)
    if CONCERNS[event.type] == "charge":
        return _route_report(event, found)
    cards = tuple(Wake(card.workflow_id) for card in found.cards)
    if event.type == EXPIRING and not cards:
        return _route_expiring(event)
    if not found.open and not cards:
        return Route(why="no open case is concerned")
    told = _oldest_first(found.open)
    in_turn = tuple(case.id for case in told) if len(told) > 1 else ()
    return Route((*(Wake(case.workflow_id) for case in told), *cards), in_turn=in_turn)


def _route_expiring(event: StripeEvent) -> Route:
    """Stripe says of old cards alone that they will expire; the rest is found by scanning."""
    method = text_in(event.object.get("id"))
    year, month = event.object.get("exp_year"), event.object.get("exp_month")
    if method is None or not isinstance(year, int) or not isinstance(month, int):
        return Route(why="it names no card")
    start = {"payment_method_id": method} | ({"account": event.account} if event.account else {})
    workflow_id = card_expiry_id(method, written_expiry(year, month))
    return Route((Wake(workflow_id, start=True, input=start, workflow="CardExpiry"),))


def _route_upcoming(event: StripeEvent, subscription: str) -> Route:
    """The reminder sees for itself at Stripe whether this charge needs one, and had none."""
    start = {"subscription_id": subscription} | ({"account": event.account} if event.account else {})
    workflow_id = renewal_reminder_id(subscription)
    return Route((Wake(workflow_id, start=True, input=start, workflow="RenewalReminder"),))


def _route_failure(event: StripeEvent, latest: CaseRecord | None) -> Route:
    if latest is None:
        return Route((_start(event),))
    if latest.open:
        canonical = latest.workflow_id == invoice_dunning_id(latest.invoice_id)
        return Route((_start(event) if canonical else Wake(latest.workflow_id),))
    if latest.outcome in SETTLED:
        return Route(why=f"the case was closed as {latest.outcome}; start it with reopen to begin again")
    if latest.closed_at is not None and latest.closed_at > event.created:
        return Route(why="the case was closed after this event")
    return Route((_start(event),))


def _route_invoice(event: StripeEvent, found: Found) -> Route:
    latest = found.latest
    if latest is not None and latest.open:
        return Route((Wake(latest.workflow_id),))
    if latest is not None and event.type == "invoice.paid":
        written_off = latest.outcome is Outcome.WRITTEN_OFF
        if found.suspended or (written_off and (latest.closed_at or event.created) <= event.created):
            return Route((_start(event),))
    return Route(why="no open case is concerned")


def _route_report(event: StripeEvent, found: Found) -> Route:
    """A dispute or a warning concerns all open cases of the customer, a refund that of its invoice only.

    Each case sees for itself whether the card is one of its own (`dunning.evolve`).
    """
    latest = found.latest
    if found.stranger and event.type in FREEZING:
        return Route(stranger=True)
    told = _oldest_first(found.open) if event.type in FREEZING else ()
    if latest is not None and latest.open and latest.id not in {case.id for case in told}:
        told = (latest, *told)
    about = {"invoice": latest.invoice_id if latest else "", "card": found.card or ""}
    note = latest if latest is not None and not latest.open else None
    why = "" if told or note else "the payment belongs to no case"
    wakes = tuple(Wake(case.workflow_id) for case in told)
    return Route(wakes, why, note, {name: value for name, value in about.items() if value}, paid=latest)


def _oldest_first(cases: tuple[CaseRecord, ...]) -> tuple[CaseRecord, ...]:
    """What is owed for longest is charged first, so its case is told first."""
    return tuple(sorted(cases, key=lambda case: (case.opened_at, case.id)))


def _start(event: StripeEvent) -> Wake:
    invoice = text_in(event.object.get("id")) or ""
    start = {"invoice_id": invoice} | ({"account": event.account} if event.account else {})
    return Wake(invoice_dunning_id(invoice), start=True, input=start)


def _not_dunned(event: StripeEvent) -> str:
    invoice, sent = event.object, event.object.get("collection_method") == "send_invoice"
    if event.type in SENT and not sent:
        return "the invoice is charged automatically: it is dunned when that fails"
    if event.type in SENT and invoice.get("status") != "open":
        return "nothing is owed"
    if invoice.get("billing_reason") == "subscription_create" and not sent:
        return "the first invoice of a subscription is not dunned: the customer is still at the checkout"
    return ""


def _subject_id(event: StripeEvent, subject: Subject) -> str | None:
    """The id by which cases are found. Objects of that kind carry it as `id`, others name it."""
    own_kind = {"invoice": "invoice.", "subscription": "customer.subscription.", "customer": "customer."}
    if subject == "method":
        return text_in(event.object.get("id"))
    if subject == "renewal":  # an invoice without an id
        details = mapping_in(mapping_in(event.object.get("parent")).get("subscription_details"))
        return id_in(details.get("subscription"))
    if subject in own_kind and event.type.startswith(own_kind[subject]):
        return text_in(event.object.get("id"))
    return id_in(event.object.get(subject))


def _customer_of(event: StripeEvent) -> str | None:
    """The customer, where a report carries one, or carries the whole charge."""
    charge = mapping_in(event.object.get("charge"))
    return id_in(event.object.get("customer")) or id_in(charge.get("customer"))
