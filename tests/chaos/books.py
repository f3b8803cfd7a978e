"""The verdict after a storm: what the sandbox's own books say, and whether the ledger tells the same.

Each rule is a function that yields one sentence for every time it was broken.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from dunning.messages import NAMES_LAST_DAY
from dunning.values import Channel, Outcome, RecoveredVia, Stage
from ledger import Ledger
from ledger.records import AttemptRecord, CaseRecord, DispatchRecord, EntryRecord
from sandbox.control_client import ArrivedRequest, SentMessage
from tests.chaos.fates import HARD, TECHNICAL
from tests.fixtures.case import OWN_CALLS
from tests.fixtures.worldtime import DAY

Row = dict[str, Any]

#: Failed attempts with one card and amount in 30 days: what the networks allow (see network_limits.yaml).
MONTHLY = {"visa": 20, "mastercard": 35}
MASTERCARD_DAILY = 10
#: What this engine plans with: 15 by itself, and one more when the customer takes part.
CAP, TECHNICAL_A_DAY = 15, 3
GRACE_ENDS = 21 * DAY
NOTICE = timedelta(hours=48)
#: A call that was on its way when the customer paid comes to its end in seconds.
UNDER_WAY = timedelta(seconds=15)
#: The messages that go to somebody who has paid.
GLAD = frozenset({"recovered", "restored"})


@dataclass
class Evidence:
    """Everything that is known when the storm is over. `skew`: how far the clocks were apart at most."""

    books: Row
    journal: list[ArrivedRequest]
    messages: list[SentMessage]
    invoices: list[str]
    now: datetime
    begun: datetime
    skew: timedelta
    stopped: dict[str, datetime]  # when who said STOP, by telephone number
    extended: dict[str, int]  # days that support was told it granted, by invoice
    cases: dict[str, list[CaseRecord]] = field(default_factory=dict)  # by invoice, the newest first
    attempts: list[AttemptRecord] = field(default_factory=list)
    dispatches: list[DispatchRecord] = field(default_factory=list)
    entries: dict[str, list[EntryRecord]] = field(default_factory=dict)  # the timelines, by case

    async def read(self, ledger: Ledger) -> Evidence:
        """Add what the ledger remembers."""
        for invoice in self.invoices:
            found = (await ledger.cases.find(invoice=invoice)).cases
            self.cases[invoice] = list(found)
            self.attempts += await ledger.attempts.of_invoice("", invoice)
            for case in found:
                self.dispatches += await ledger.dispatches.of_case(case.id)
                self.entries[case.id] = list(await ledger.cases.entries(case.id))
        return self

    def invoice(self, invoice: str) -> Row:
        """Stripe's invoice."""
        return next(row for row in self.books["invoices"] if row["id"] == invoice)

    def over_at(self, invoice: str) -> datetime | None:
        """When it was paid or voided."""
        told = self.invoice(invoice)["status_transitions"]
        at = told["paid_at"] or told["voided_at"]
        return _moment(at) if at else None

    def by_charge(self) -> dict[str | None, AttemptRecord]:
        """The ledger's attempts by the charge that they made."""
        return {attempt.charge_id: attempt for attempt in self.attempts if attempt.charge_id}

    def acted(self, case: CaseRecord) -> bool:
        """Whether the engine charged or wrote in a case."""
        charged = any(attempt.invoice_id == case.invoice_id for attempt in self.attempts)
        return charged or any(dispatch.case_id == case.id for dispatch in self.dispatches)

    def case_of(self, case_id: str) -> CaseRecord:
        """The case with that id."""
        return next(case for found in self.cases.values() for case in found if case.id == case_id)


def broken_promises(evidence: Evidence) -> list[str]:
    """Every promise that was not kept, in a sentence each."""
    rules = (
        charged_twice, charged_after_the_end, limits_exceeded, dead_cards_charged, refusals_too_close,
        stuck_cases, stuck_attempts, untold_recoveries, wrong_attribution, words_to_who_paid, words_twice,
        unknown_words, texts_at_night, words_after_stop, too_many_words, texts_too_close,
        words_without_a_reason, early_suspensions, suspended_who_paid, left_suspended,
    )  # fmt: skip
    return [f"{rule.__name__}: {sentence}" for rule in rules for sentence in rule(evidence)]


# --- money ----------------------------------------------------------------------------------------------


def charged_twice(evidence: Evidence) -> Iterator[str]:
    """An invoice is paid by one charge."""
    yield from evidence.books["doubly_charged"]


def charged_after_the_end(evidence: Evidence) -> Iterator[str]:
    """Nothing is even tried on an invoice that is paid or void."""
    for row in _own(evidence):
        over = evidence.over_at(row["invoice"])
        if over is not None and _moment(row["time"]) > over:
            yield f"{row['invoice']} ended {over}, attempt at {_moment(row['time'])}"


def limits_exceeded(evidence: Evidence) -> Iterator[str]:
    """The networks' windows, over everything that was charged with the card."""
    brands = {row["id"]: row["card"]["brand"] for row in evidence.books["payment_methods"]}
    by_charge = evidence.by_charge()
    for row, before in _with_past(evidence):
        brand, at = brands[row["payment_method"]], row["time"]
        same = [b for b in before if b["amount"] == row["amount"] and at - b["time"] < 30 * 86_400]
        failed = [b for b in same if b["outcome"] != "succeeded"]
        mine = by_charge.get(row["charge"])
        cap = CAP + 1 if mine is not None and mine.customer_present else CAP
        since = _since_success(same)
        if len(failed) >= MONTHLY.get(brand, 10_000) or len(since) >= cap:
            yield f"{brand} {row['fingerprint']}: attempt after {len(failed)} failures in 30 days"
        day = [b for b in before if b["outcome"] != "succeeded" and at - b["time"] < 86_400]
        if brand == "mastercard" and len(day) >= MASTERCARD_DAILY:
            yield f"mastercard {row['fingerprint']}: attempt after {len(day)} failures in a day"


def dead_cards_charged(evidence: Evidence) -> Iterator[str]:
    """A card that was lost, stolen or expired is dead for every invoice."""
    for row, before in _with_past(evidence):
        dead = [b for b in before if b["code"] in HARD and b["time"] + 5 < row["time"]]
        if dead:
            yield f"{row['fingerprint']} charged at {_moment(row['time'])} after {dead[0]['code']}"


def refusals_too_close(evidence: Evidence) -> Iterator[str]:
    """One refusal of a card in 24 hours; three where nobody judged the payment. This is own caution, no
    network's rule: what Stripe tried on an invoice whose failure no webhook announced is not known yet.
    """
    by_charge, told = evidence.by_charge(), _first_reads(evidence)
    for row, before in _with_past(evidence):
        mine = by_charge.get(row["charge"])
        spare = 1 if mine is not None and mine.customer_present else 0
        near = evidence.skew.total_seconds()
        known = [b for b in before if b["invoice"] in told and told[b["invoice"]] <= _moment(row["time"])]
        day = [b for b in _since_success(known) if row["time"] - b["time"] < 86_400 - near]
        judged = [b for b in day if b["code"] not in TECHNICAL]
        if len(judged) > spare or len(day) - len(judged) >= TECHNICAL_A_DAY + spare:
            when = ", ".join(f"{b['code']} {_moment(b['time']):%d %H:%M:%S} on {b['invoice']}" for b in day)
            at = f"{_moment(row['time']):%d %H:%M:%S} on {row['invoice']} ({row['idempotency_key']})"
            yield f"{row['fingerprint']}: attempt at {at} after {when}"


def _own(evidence: Evidence) -> list[Row]:
    """The attempts that the engine asked for, in their order."""
    return [row for row in evidence.books["attempts"] if (row["idempotency_key"] or "").startswith(OWN_CALLS)]


def _with_past(evidence: Evidence) -> Iterator[tuple[Row, list[Row]]]:
    """Each attempt of the engine that reached a network, with those on the same card before it."""
    cards: dict[str, list[Row]] = defaultdict(list)
    own = {id(row) for row in _own(evidence)}
    for row in evidence.books["attempts"]:
        if row["charge"] is None or row["outcome"] == "blocked":
            continue
        if id(row) in own:
            yield row, list(cards[row["fingerprint"]])
        cards[row["fingerprint"]].append(row)


def _first_reads(evidence: Evidence) -> dict[str, datetime]:
    """When the engine was first told of each invoice."""
    first: dict[str, datetime] = {}
    for request in evidence.journal:
        read = re.fullmatch(r"/v1/invoices/([^/]+)", request.path)
        if read and request.method == "GET" and request.status == 200:
            first.setdefault(read[1], request.at)
    return first


def _since_success(rows: list[Row]) -> list[Row]:
    last = max((n for n, row in enumerate(rows) if row["outcome"] == "succeeded"), default=-1)
    return [row for row in rows[last + 1 :] if row["outcome"] != "succeeded"]


# --- cases ----------------------------------------------------------------------------------------------


def stuck_cases(evidence: Evidence) -> Iterator[str]:
    """Every failed invoice has a case; it is closed, or waits for a moment ahead and owes still."""
    for invoice, cases in evidence.cases.items():
        if not cases:
            yield f"{invoice} has no case"
            continue
        case = cases[0]
        if not case.open:
            continue
        if case.next_at is None or case.next_at <= evidence.now - timedelta(minutes=5):
            yield f"{invoice} waits for {case.next_at} ({case.next_what}), and it is {evidence.now}"
        if evidence.over_at(invoice) is not None:
            yield f"{invoice} is {evidence.invoice(invoice)['status']}, its case is {case.stage}"


def stuck_attempts(evidence: Evidence) -> Iterator[str]:
    """Every attempt and every message has an end in the ledger."""
    for attempt in evidence.attempts:
        if attempt.completed_at is None:
            yield f"attempt {attempt.number} of {attempt.invoice_id} has no end"
    for row in evidence.dispatches:
        if row.fate is None:
            yield f"message {row.step} of {row.case_id} has no end"


def untold_recoveries(evidence: Evidence) -> Iterator[str]:
    """What was paid is recorded as recovered, with its amount; what was voided as voided."""
    for invoice, cases in evidence.cases.items():
        told = evidence.invoice(invoice)
        if not cases or told["status"] not in ("paid", "void"):
            continue
        case, over = cases[0], evidence.over_at(invoice)
        if case.outcome is Outcome.STOPPED and over is not None and case.closed_at and case.closed_at < over:
            continue  # a person stopped it before the customer paid
        if case.outcome is Outcome.NOT_APPLICABLE and not evidence.acted(case):
            continue  # the engine heard of it when it was over
        wanted = Outcome.RECOVERED if told["status"] == "paid" else Outcome.VOIDED
        if case.outcome is not wanted:
            yield f"{invoice} is {told['status']}, its case is {case.outcome}: {case.closed_reason}"
        elif wanted is Outcome.RECOVERED and (case.amount, case.amount_remaining) != (told["amount_paid"], 0):
            left = case.amount_remaining
            yield f"{invoice} paid {told['amount_paid']}, recorded {case.amount}, {left} left"


def wrong_attribution(evidence: Evidence) -> Iterator[str]:
    """The engine takes credit for its own charges, for all of them, and for no other."""
    by_charge = evidence.by_charge()
    for row in evidence.books["attempts"]:
        cases = evidence.cases.get(row["invoice"])
        if row["outcome"] != "succeeded" or not cases or cases[0].outcome is not Outcome.RECOVERED:
            continue
        own = (row["idempotency_key"] or "").startswith(OWN_CALLS)
        via = cases[0].recovered_via
        if own != (via in (RecoveredVia.ENGINE, RecoveredVia.NEW_METHOD)):
            yield f"{row['invoice']} was paid by {row['initiator']}, recorded as {via}"
        mine = by_charge.get(row["charge"])
        if own and (mine is None or mine.outcome != "succeeded" or mine.amount != row["amount"]):
            yield f"{row['invoice']}: the ledger's attempt does not tell of {row['charge']}"
        if not own and mine is not None:
            yield f"{row['invoice']}: attempt {mine.number} claims the customer's {row['charge']}"


# --- words ----------------------------------------------------------------------------------------------


def words_to_who_paid(evidence: Evidence) -> Iterator[str]:
    """No dunning message whose preceding read of the invoice showed it paid."""
    rows = {row.id: row for row in evidence.dispatches}
    shown: set[str] = set()  # invoices that a read showed as paid or void
    for request in evidence.journal:
        read = re.fullmatch(r"/v1/invoices/([^/]+)", request.path)
        if read and request.method == "GET" and request.status == 200 and read[1] in evidence.cases:
            over = evidence.over_at(read[1])
            if over is not None and request.at >= over + timedelta(seconds=1):
                shown.add(read[1])
        row = rows.get(_dispatch_of(request))
        if row is not None and row.template not in GLAD:
            invoice = evidence.case_of(row.case_id).invoice_id
            if invoice in shown:
                yield f"{row.template} on {invoice} at {request.at}, read as paid before"


def _dispatch_of(request: ArrivedRequest) -> str:
    if request.service != "sendgrid" or not isinstance(request.body, dict):
        return ""
    return str(request.body["personalizations"][0]["custom_args"].get("dispatch_id", ""))


def words_twice(evidence: Evidence) -> Iterator[str]:
    """One message per case, step and channel in the providers' own books."""
    mails = Counter(m.custom_args["dispatch_id"] for m in evidence.messages if m.channel == "email")
    yield from (f"mail {dispatch} went out {n} times" for dispatch, n in mails.items() if n > 1)
    rows = Counter((row.case_id, row.step, row.channel) for row in evidence.dispatches)
    yield from (f"{key} was claimed {n} times" for key, n in rows.items() if n > 1)


def unknown_words(evidence: Evidence) -> Iterator[str]:
    """What a provider took is in the ledger as accepted or unknown, and what is accepted was taken."""
    rows = {row.id: row for row in evidence.dispatches}
    ids = {row.provider_id for row in evidence.dispatches if row.provider_id}
    for message in evidence.messages:
        row = rows.get(message.custom_args.get("dispatch_id", ""))
        if message.channel == "email" and (row is None or row.fate not in ("accepted", "unknown")):
            yield f"mail {message.subject!r} went out, the ledger says {row and row.fate}"
    taken = {message.id for message in evidence.messages}
    yield from (f"{provider_id} is accepted, but was never taken" for provider_id in ids - taken)
    texts = sum(message.channel == "sms" for message in evidence.messages)
    claimed = [row for row in evidence.dispatches if row.channel is Channel.SMS]
    if texts > sum(row.fate in ("accepted", "unknown") for row in claimed):
        yield f"{texts} texts went out, the ledger knows of {len(claimed)}"


def texts_at_night(evidence: Evidence) -> Iterator[str]:
    """Texts go out from nine to eight where the customer lives, and not on Sundays."""
    zones = {case.zone for cases in evidence.cases.values() for case in cases if case.zone}
    for message in evidence.messages:
        if message.channel == "email" or len(zones) != 1:
            continue
        zone = ZoneInfo(next(iter(zones)))
        late = (message.at - evidence.skew).astimezone(zone)
        local = message.at.astimezone(zone)
        if not (local.hour >= 9 and late.hour < 20 and local.weekday() < 6):
            yield f"a text left at {local:%a %H:%M}"


def words_after_stop(evidence: Evidence) -> Iterator[str]:
    """No text to who said STOP."""
    for message in evidence.messages:
        stopped = evidence.stopped.get(message.to)
        if stopped is not None and message.at > stopped:
            yield f"a text went to {message.to} at {message.at}, who said STOP at {stopped}"


def too_many_words(evidence: Evidence) -> Iterator[str]:
    """Three contacts of a customer in seven days, answers to what they did left out."""
    heard: dict[str, list[datetime]] = defaultdict(list)
    for row in evidence.dispatches:
        if row.counts is not False and row.fate in ("accepted", "unknown"):
            heard[row.customer].append(row.claimed_at)
    for customer, moments in heard.items():
        if (most := _most_within(moments, 7 * DAY)) > 3:
            yield f"{customer} heard {most} words in seven days"


def texts_too_close(evidence: Evidence) -> Iterator[str]:
    """One text in a day and two in seven, by the provider's books. The clocks of cases differ a little."""
    heard: dict[str, list[datetime]] = defaultdict(list)
    for message in evidence.messages:
        if message.channel != "email":
            heard[message.to].append(message.at)
    for number, moments in heard.items():
        for cap, window in ((1, DAY), (2, 7 * DAY)):
            if (most := _most_within(moments, window - evidence.skew)) > cap:
                yield f"{number} got {most} texts in {window}"


def words_without_a_reason(evidence: Evidence) -> Iterator[str]:
    """What was postponed went out later, or its end stands in the timeline with a reason."""
    for invoice, cases in evidence.cases.items():
        for case in cases:
            entries = evidence.entries[case.id]
            for entry in entries:
                if entry.what != "message.postponed" or case.open:
                    continue
                message = entry.text.split(":")[0]
                later = [e for e in entries if e.seq > entry.seq and message in e.text]
                if not any(e.what.startswith(("message.", "turn.")) and e.text != message for e in later):
                    yield f"{message} of {invoice} was postponed at {entry.at}, and never heard of again"
    for row in evidence.dispatches:
        if row.fate in ("failed", "unreachable") and not row.detail:
            yield f"{row.step} of {row.case_id} is {row.fate}, and nobody knows why"


def _most_within(moments: list[datetime], window: timedelta) -> int:
    """The largest number of moments that any window of that length holds, its very end left out."""
    return max((sum(start <= at < start + window for at in moments) for start in moments), default=0)


# --- suspension -----------------------------------------------------------------------------------------


def early_suspensions(evidence: Evidence) -> Iterator[str]:
    """Not before the promised day, and not without an accepted notice 48 hours before."""
    accepted = {m.custom_args["dispatch_id"]: m.at for m in evidence.messages if m.channel == "email"}
    for subscription, at, invoice in _pauses(evidence):
        cases = [case for case in evidence.cases[invoice] if case.opened_at <= at]
        days = evidence.extended.get(invoice, 0)
        if at < evidence.begun + GRACE_ENDS + days * DAY:
            yield f"{subscription} suspended at {at}, promised {GRACE_ENDS} and {days} days more"
        ids = {case.id for case in cases}
        notices = [
            accepted[row.id] for row in evidence.dispatches
            if row.template in NAMES_LAST_DAY and row.id in accepted
            and ids & {row.case_id, *(row.told or ())}
        ]  # fmt: skip
        if not any(notice <= at - NOTICE + evidence.skew for notice in notices):
            yield f"{subscription} suspended at {at} without a notice before: {notices}"


def suspended_who_paid(evidence: Evidence) -> Iterator[str]:
    """Nobody is suspended who owes nothing."""
    for subscription, at, invoice in _pauses(evidence):
        over = evidence.over_at(invoice)
        if over is not None and over + UNDER_WAY < at:
            yield f"{subscription} suspended at {at}, {invoice} was over {over}"


def left_suspended(evidence: Evidence) -> Iterator[str]:
    """Who has paid or was let off is not left suspended."""
    for row in evidence.books["subscriptions"]:
        theirs = [i for i in evidence.cases if _subscription(evidence, i) == row["id"]]
        if not theirs or not row["pause_collection"] or row["status"] == "canceled":
            continue
        cases = [evidence.cases[invoice][0] for invoice in theirs]
        if not any(case.stage is Stage.SUSPENDED for case in cases):
            yield f"{row['id']} is suspended, its cases are {[str(case.outcome) for case in cases]}"


def _pauses(evidence: Evidence) -> Iterator[tuple[str, datetime, str]]:
    """Each time the engine suspended: subscription, moment, invoice."""
    for event in evidence.books["events"]:
        told, before = event["data"]["object"], event["data"].get("previous_attributes") or {}
        own = (event["request"]["idempotency_key"] or "").startswith(OWN_CALLS)
        changed = told["object"] == "subscription" and "pause_collection" in before
        if own and changed and told["pause_collection"]:
            theirs = [i for i in evidence.cases if _subscription(evidence, i) == told["id"]]
            yield from ((told["id"], _moment(event["created"]), invoice) for invoice in theirs)


def _subscription(evidence: Evidence, invoice: str) -> str | None:
    cases = evidence.cases[invoice]
    return cases[0].subscription if cases else None


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)

