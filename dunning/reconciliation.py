"""What Stripe and the engine disagree about, and what to do about it: the rules of `Reconciliation`.

A suspect is something in the books of one side that may be wrong; a finding says that it is, in words, and
which remedy is safe. Everything here is pure: the activities read both sides and carry the remedy out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dunning.facts import Invoice
from dunning.lever_payloads import Instant
from dunning.opening import not_applicable
from dunning.policy import Imports, Policy
from dunning.values import Outcome, Value, reason_of

#: Stripe keeps events for so long (Stripe API reference: Events).
EVENTS_KEPT = timedelta(days=30)
#: What is younger may still be on its way: a delivery, an activity that is being tried again.
IN_FLIGHT = timedelta(minutes=15)
#: A case that should have acted so long ago does not only wait for its turn.
OVERDUE = timedelta(hours=1)
#: An attempt or a message whose end nobody wrote down for so long is not being worked on any more.
UNFINISHED = timedelta(hours=1)
#: The first webhook may have been of an invoice that was made a little earlier.
ARRIVAL = timedelta(days=1)
#: The clocks of two companies, and a run that began while the last one ended.
OVERLAP = timedelta(hours=1)


class Kind(StrEnum):
    """What was found. Values are never removed: they stand in the ledger."""

    LOST_EVENT = "lost_event"
    INVOICE_WITHOUT_CASE = "invoice_without_case"
    INVOICE_TOO_OLD = "invoice_too_old"
    CASE_OF_SETTLED_INVOICE = "case_of_settled_invoice"
    SUSPENDED_WITHOUT_DEBT = "suspended_without_debt"
    CASE_OVERDUE = "case_overdue"
    ATTEMPT_UNKNOWN = "attempt_unknown"
    MESSAGE_UNKNOWN = "message_unknown"


class Remedy(StrEnum):
    """What is done about it. `none`: nothing is safe to do; it is listed for a person."""

    REPLAY = "replay"  # the event is received once more
    START = "start"  # the case is opened
    WAKE = "wake"  # the case reads the invoice again; one that runs no more is started again
    NONE = "none"


class Suspect(Value):
    """What may be wrong, and the names by which to look."""

    kind: Kind
    account: str = ""
    invoice_id: str
    subject: str  # what it is about: an invoice, case, subscription, attempt or message
    case_id: str = ""
    workflow_id: str = ""
    since: datetime | None = None  # when the invoice was made, the case was due, the attempt was reserved
    note: str = ""


class Finding(Value):
    """What is wrong, in words for an operator, and the remedy."""

    kind: Kind
    account: str = ""
    invoice_id: str = ""
    subject: str
    case_id: str = ""
    workflow_id: str = ""
    words: str
    remedy: Remedy = Remedy.NONE

    @property
    def needs_person(self) -> bool:
        """Whether nobody but a person can settle it."""
        return self.remedy is Remedy.NONE and self.kind is not Kind.INVOICE_TOO_OLD


class Concern(Value):
    """Which cases an event that got lost has news for, and in words what it does."""

    workflows: tuple[str, ...] = ()
    words: str


class Tour(Value):
    """What all steps of one reconciliation share."""

    run: str
    started: datetime
    dry_run: bool = False
    importing: bool = False
    since: datetime | None = None  # an import looks at invoices made since then
    events_since: datetime
    known_since: datetime | None = None  # older invoices were there before the engine: `dunning import`
    accounts: tuple[str, ...] = ("",)


class Place(Value):
    """Where a reconciliation stands: which step, and where in its list."""

    step: int = 0
    cursor: str | None = None


class Counts(Value):
    """How much was looked at, found and done so far."""

    looked_at: int = 0  # events, invoices and rows of the ledger
    found: int = 0
    fixed: int = 0
    left_alone: int = 0  # too old, or older than the engine: not opened
    failed: int = 0  # could not be looked into: the next run does

    def plus(self, **more: int) -> Counts:
        """The counts with these added."""
        return self.model_copy(update={name: getattr(self, name) + n for name, n in more.items()})


class Tally(Value):
    """How often something was found, and how often that was fixed."""

    found: int
    fixed: int = 0

    @property
    def reported(self) -> int:
        """What is left to be looked at: what is not safe to fix, and all that a trial found."""
        return self.found - self.fixed


class BeginTour(Value):
    """Begin a reconciliation."""

    run: str
    dry_run: bool = False
    importing: bool = False
    since: datetime | None = None
    accounts: tuple[str, ...] = ()


#: The lists to go through, in this order: the last ones need what the first ones wrote down.
What = Literal["events", "invoices", "strays", "suspensions", "overdue", "unknown"]


class LookOrder(Value):
    """Look at one page of one list."""

    tour: Tour
    what: What
    account: str = ""
    cursor: str | None = None


class ExamineOrder(Value):
    """Look into one suspect."""

    tour: Tour
    suspect: Suspect


class FinishOrder(Value):
    """End a reconciliation."""

    tour: Tour
    counts: Counts


class Seen(Value):
    """What one look at a page brought. `cursor` continues after it; None: it was the last."""

    cursor: str | None = None
    suspects: tuple[Suspect, ...] = ()
    counts: Counts = Counts()


class Examined(Value):
    """What became of a suspect."""

    result: Literal["fine", "found", "fixed"] = "fine"


class Reconciled(Value):
    """The result of `Reconciliation`."""

    run: str
    started: datetime
    finished: datetime
    dry_run: bool = False
    counts: Counts = Counts()


class Wish(BaseModel):
    """The input of `Reconciliation`; all of it may be left out. `tour` to `counts` carry a long run on.

    `accounts`: connected accounts to visit beside those of which the ledger knows anything.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dry_run: bool = False
    importing: bool = False
    since: Instant | None = None
    accounts: tuple[Annotated[str, Field(pattern=r"^acct_\w+$")], ...] = ()
    tour: Tour | None = None
    place: Place = Place()
    counts: Counts = Counts()


def parse_wish(args: Sequence[Any]) -> Wish:
    """The input of `Reconciliation`. Raises ValueError with one sentence that says what to change."""
    if len(args) > 1 or (args and args[0] is not None and not isinstance(args[0], dict)):
        raise ValueError('input: give nothing, or one JSON object such as {"dry_run": true}')
    try:
        return Wish.model_validate((args[0] if args else None) or {})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "input"
        fields = "dry_run, importing, since, accounts"
        raise ValueError(f"{field}: {reason_of(first)}; the fields are {fields}") from error


def steps_of(tour: Tour) -> tuple[tuple[What, str], ...]:
    """The lists of a reconciliation: which, and of which account. An import looks for invoices only."""
    invoices: list[tuple[What, str]] = [("invoices", account) for account in tour.accounts]
    if tour.importing:
        return tuple(invoices)
    events: list[tuple[What, str]] = [("events", account) for account in tour.accounts]
    return (*events, *invoices, ("strays", ""), ("suspensions", ""), ("overdue", ""), ("unknown", ""))


# --- the rules ----------------------------------------------------------------------------------------


class Listed(Value):
    """An open invoice as a list of Stripe's shows it."""

    id: str
    created: datetime
    attempted: bool = False
    amount_remaining: int = 0
    collection_method: str = "charge_automatically"
    billing_reason: str | None = None
    due_date: datetime | None = None  # of an invoice that is sent


class Known(Value):
    """The latest case of an invoice, as the ledger has it."""

    open: bool
    outcome: Outcome | None = None


#: After these, an invoice that is still open is left alone: somebody decided, or there is nothing to dun.
_LEFT = frozenset({Outcome.STOPPED, Outcome.WRITTEN_OFF, Outcome.CANCELED, Outcome.NOT_APPLICABLE})


def may_lack_a_case(invoice: Listed, known: Known | None, policy: Policy, now: datetime) -> bool:
    """Whether an open invoice should have a case and has none, as far as a list tells.

    One that is charged, once that was tried; one that is sent, once it is overdue, if the policy duns such.
    """
    if known is not None and (known.open or known.outcome in _LEFT):
        return False
    if invoice.amount_remaining <= 0:
        return False
    if invoice.collection_method == "send_invoice":
        overdue = invoice.due_date is not None and invoice.due_date < now
        return overdue and policy.sent_invoices is not None
    return invoice.attempted and invoice.billing_reason != "subscription_create"


def left_alone(invoice: Listed, tour: Tour, imports: Imports) -> Finding | None:
    """Why an invoice gets no case although it has none: it is too old, or nobody asked for an import yet."""
    age = tour.started - invoice.created
    if age > imports.too_old:
        words = f"older than imports.too_old ({imports.too_old.days} days)"
    elif not tour.importing and tour.known_since is not None and invoice.created < tour.known_since:
        words = "older than the engine: `dunning import` opens its case"
    else:
        return None
    words = f"made {invoice.created:%d %b %Y}, not opened: {words}"
    return Finding(kind=Kind.INVOICE_TOO_OLD, invoice_id=invoice.id, subject=invoice.id, words=words)


def judge(suspect: Suspect, invoice: Invoice) -> Finding | None:
    """What is wrong with a suspect, now that its invoice was read; None when nothing is."""
    match suspect.kind:
        case Kind.INVOICE_WITHOUT_CASE:
            if not_applicable(invoice) is not None or invoice.processing:
                return None
            if invoice.sent:
                return _finding(suspect, "it was sent and is overdue, and no case is open", Remedy.START)
            code = (invoice.failure.decline_code or invoice.failure.code) if invoice.failure else None
            words = f"a payment failed ({code or 'nothing to charge'}), and no case is open"
            return _finding(suspect, words, Remedy.START)
        case Kind.CASE_OF_SETTLED_INVOICE:
            if invoice.status == "open":
                return None
            return _finding(suspect, f"the invoice is {invoice.status}, and its case is open", Remedy.WAKE)
        case Kind.SUSPENDED_WITHOUT_DEBT:
            if invoice.status not in ("paid", "void"):
                return None
            words = f"the invoice is {invoice.status}, and the subscription is still suspended for it"
            return _finding(suspect, words, Remedy.START)
        case _:
            return judge_alone(suspect)


def judge_alone(suspect: Suspect) -> Finding:
    """What is wrong with a suspect that the ledger alone convicts."""
    since = f" since {suspect.since:%d %b %H:%M} UTC" if suspect.since else ""
    match suspect.kind:
        case Kind.CASE_OVERDUE:
            return _finding(suspect, f"should have acted{since}: {suspect.note}", Remedy.WAKE)
        case Kind.ATTEMPT_UNKNOWN:
            words = f"charge attempt {suspect.note} has no known end{since}: look at the invoice's payments"
            return _finding(suspect, words, Remedy.NONE)
        case _:
            words = f"message {suspect.note} has no known fate{since}: it is never sent again"
            return _finding(suspect, words, Remedy.NONE)


def _finding(suspect: Suspect, words: str, remedy: Remedy) -> Finding:
    return Finding(
        kind=suspect.kind,
        account=suspect.account,
        invoice_id=suspect.invoice_id,
        subject=suspect.subject,
        case_id=suspect.case_id,
        workflow_id=suspect.workflow_id,
        words=words,
        remedy=remedy,
    )
