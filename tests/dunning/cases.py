"""A case run by the pure core alone: no Temporal, no provider, only time and events."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dunning.case import (
    Announcement,
    BillingEvent,
    CaseRef,
    CaseState,
    Charged,
    EffectDone,
    Event,
    InvoiceRead,
    Lever,
    MessageSent,
)
from dunning.contacts import Contact, slot
from dunning.decision import Action, Charge, Question, ReadInvoice, Send
from dunning.facts import Failure, Invoice, Method
from dunning.opening import open_case
from dunning.policy import Policy, parse_policy
from dunning.policy_change import Offers
from dunning.step import answer, applied
from dunning.values import Channel, Stage

DAY0 = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)  # a Monday
VISA = Method(id="pm_1", fingerprint="fp_visa", brand="visa", funding="credit", exp_month=4, exp_year=2029)
NEW_CARD = VISA.model_copy(update={"id": "pm_2", "fingerprint": "fp_new"})
SHIPPED = Path(__file__).parents[2] / "dunning/policies/standard.yaml"
STANDARD = parse_policy(SHIPPED.read_text(encoding="utf-8"), "standard.yaml")


def failure(code: str = "insufficient_funds", at: datetime = DAY0, method: Method | None = VISA) -> Failure:
    return Failure(at=at, charge="ch_1", code="card_declined", decline_code=code, method=method)


def invoice(code: str = "insufficient_funds", at: datetime = DAY0, **changes: object) -> Invoice:
    facts = Invoice(
        id="in_1",
        read_at=at,
        status="open",
        currency="usd",
        amount_remaining=1999,
        customer="cus_1",
        subscription="sub_1",
        subscription_status="past_due",
        billing_reason="subscription_cycle",
        method=VISA,
        failure=failure(code, at),
        channels=(Channel.EMAIL, Channel.SMS),
    )
    return facts.model_copy(update=dict(changes))


def opened(code: str = "insufficient_funds", policy: Policy = STANDARD, **changes: object) -> CaseState:
    state = open_case(
        CaseRef(case_id="acct/in_1/1", invoice_id="in_1"), invoice(code, **changes), policy, DAY0
    )
    assert isinstance(state, CaseState), state
    return state


@dataclass
class Run:
    """Runs a case; `log` is its calendar: (day, effect) for every effect carried out."""

    state: CaseState
    policy: Policy = STANDARD
    now: datetime = DAY0
    outcomes: dict[int, str] = field(default_factory=dict)  # attempt number -> decline code or "succeeded"
    world: Invoice | None = None  # what Stripe would show; None: as last read
    log: list[tuple[int, str]] = field(default_factory=list)
    actions: list[tuple[datetime, Action]] = field(default_factory=list)
    answers: list[tuple[bool, str]] = field(default_factory=list)
    announced: list[Announcement] = field(default_factory=list)
    intercept: Callable[[Action, Run], Event | None] | None = None
    inbox: list[Event] = field(default_factory=list)
    contacts: list[Contact] = field(default_factory=list)  # of the customer, in other cases too
    offers: Offers = field(default_factory=dict)  # the policies that `set_policy` may name

    def until(self, day: float, *, hours: float = 0) -> Run:
        return self.run_to(DAY0 + timedelta(days=day, hours=hours))

    def to_the_end(self) -> Run:
        return self.run_to(DAY0 + timedelta(days=400))

    def run_to(self, moment: datetime) -> Run:
        for _ in range(2000):
            step = answer(
                Question(state=self.state, inbox=tuple(self.inbox), policy=self.policy, now=self.now, seq=1),
                self.offers,
            )
            self.inbox.clear()
            self.state = applied(self.state, step)
            self.policy = step.policy or self.policy
            self.announced += step.announcements
            self.answers += [(a.accepted, a.text) for a in step.answers]
            decision = step.decision
            if decision.done:
                return self
            if decision.until is not None:
                assert decision.until > self.now
                if decision.until > moment:
                    self.now = max(moment, self.now)
                    return self
                self.now = decision.until
                continue
            assert decision.action is not None
            self.actions.append((self.now, decision.action))
            self.inbox.append(self._carry_out(decision.action))
        raise AssertionError(f"the case does not come to rest: {self.log[-10:]}")

    def lever(self, name: str, *args: object) -> tuple[bool, str]:
        """Pull a lever now; the answer of the core."""
        self.inbox.append(Lever(name=name, args=args, at=self.now, ticket=f"t{len(self.answers)}"))
        self.run_to(self.now)
        return self.answers[-1]

    def event(self, **changes: object) -> Run:
        """Something changes at Stripe now, and a webhook says so."""
        self.world = (self.world or self.state.invoice).model_copy(update=dict(changes))
        self.inbox.append(BillingEvent(type="invoice.updated", created=self.now, at=self.now))
        return self.run_to(self.now)

    def _note(self, what: str) -> None:
        self.log.append(((self.now - DAY0).days, what))

    def _read(self) -> Invoice:
        return (self.world or self.state.invoice).model_copy(update={"read_at": self.now})

    def _carry_out(self, action: Action) -> Event:
        if self.intercept is not None:
            event = self.intercept(action, self)
            if event is not None:
                return event
        match action:
            case ReadInvoice():
                return InvoiceRead(invoice=self._read())
            case Charge():
                return self._charge(action)
            case Send():
                facts = self._read()
                if action.to_debtor and facts.status == "paid":
                    return MessageSent(
                        step=action.step,
                        channel=action.channel,
                        at=self.now,
                        fate="not_needed",
                        invoice=facts,
                    )
                named = action.last_day if action.names_last_day else None
                sent = MessageSent(
                    step=action.step, channel=action.channel, at=self.now, fate="accepted", named_day=named
                )
                wanted = Contact(at=self.now, channel=action.channel, extra=action.extra)
                room = slot(wanted, self.contacts, action.limits) if action.limits else None
                if room is not None and not room.granted:
                    news = {"fate": "postponed", "retry_at": room.until, "detail": room.reason}
                    return sent.model_copy(update=news)
                self._note(f"{action.channel} {action.template}")
                self.contacts += [wanted] if action.counts else []
                return sent
            case _:
                self._note(action.kind)
                return EffectDone(effect=action.kind, at=self.now)

    def _charge(self, action: Charge) -> Charged:
        outcome = self.outcomes.get(action.number, "insufficient_funds")
        facts = self._read()
        if facts.status != "open":
            return Charged(number=action.number, at=self.now, result="not_needed", invoice=facts)
        method = facts.method
        self._note(f"charge {outcome}")
        if outcome == "succeeded":
            paid = facts.model_copy(update={"status": "paid", "amount_remaining": 0, "paying_method": method})
            self.world = paid
            return Charged(
                number=action.number,
                at=self.now,
                result="succeeded",
                blind=action.blind,
                method=method,
                invoice=paid,
            )
        why = failure(outcome, self.now, method)
        return Charged(
            number=action.number,
            at=self.now,
            result="needs_authentication" if outcome == "authentication_required" else "declined",
            blind=action.blind,
            method=method,
            failure=why,
            invoice=facts.model_copy(update={"failure": why}),
        )


def days(run: Run, only: Iterable[str] = ()) -> list[tuple[int, str]]:
    """The calendar, optionally only effects that start with one of these words."""
    words = tuple(only)
    return [entry for entry in run.log if not words or entry[1].startswith(words)]


def is_closed(run: Run) -> bool:
    return run.state.stage is Stage.CLOSED
