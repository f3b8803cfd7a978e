"""A card's case run by the pure core alone: only time, what Stripe would show, and events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from dunning.case import BillingEvent, EffectFailed, Lever, MessageSent
from dunning.decision import Send
from dunning.expiry.card import CardEvent, CardFacts, CardQuestion, CardRead, CardRef, CardState, Renewal
from dunning.expiry.decide import open_card
from dunning.expiry.step import answer
from dunning.expiry.timing import worth_saying
from dunning.policy import Policy
from dunning.values import Channel
from tests.dunning.cases import STANDARD

EXPIRY = "2026-08"
CHARGE = datetime(2026, 9, 10, 8, 0, tzinfo=UTC)  # a Thursday
REF = CardRef(case_id="card/acct/pm_1/2026-08/1", method="pm_1", expiry=EXPIRY)
HOUR = timedelta(hours=1)


def renewal(at: datetime = CHARGE, **changes: Any) -> Renewal:
    return Renewal(subscription="sub_1", at=at, method="pm_1", amount=1900).model_copy(update=changes)


def card(read_at: datetime, *renewals: Renewal, **changes: Any) -> CardFacts:
    facts = CardFacts(
        method="pm_1",
        read_at=read_at,
        expiry=EXPIRY,
        customer="cus_1",
        channels=(Channel.EMAIL,),
        renewals=renewals or (renewal(),),
    )
    return facts.model_copy(update=changes)


def opened(facts: CardFacts, policy: Policy = STANDARD) -> CardState:
    state = open_card(REF, facts, policy, facts.read_at)
    assert isinstance(state, CardState), state
    return state


@dataclass
class CardRun:
    """Runs a case to its end, hour by hour of decisions; `log` is its calendar."""

    world: Callable[[datetime], CardFacts]  # what Stripe would show at a moment
    now: datetime
    policy: Policy = STANDARD
    fates: dict[int, str] = field(default_factory=dict)
    hints: list[datetime] = field(default_factory=list)  # webhooks that arrive
    log: list[tuple[date, str]] = field(default_factory=list)
    sends: list[tuple[datetime, Send]] = field(default_factory=list)
    inbox: list[CardEvent] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = opened(self.world(self.now), self.policy)
        self._effects = 0

    def run(self, until: datetime) -> CardRun:
        for _ in range(200):
            step = answer(
                CardQuestion(
                    state=self.state, inbox=tuple(self.inbox), policy=self.policy, now=self.now, seq=1
                )
            )
            self.inbox = []
            self.state, decision = step.state, step.decision
            self.answers += [a.text for a in step.answers]
            if self.state.outcome is not None:
                assert self.state.closed_at is not None
                self._note(self.state.closed_at, str(self.state.outcome))
                return self
            if decision.action is not None:
                self.inbox.append(self._act(decision.action))
                continue
            assert decision.until is not None
            assert decision.until > self.now
            hint = min((h for h in self.hints if h > self.now), default=None)
            upto = min(decision.until, until, hint or until)
            if upto == until and until < decision.until and (hint is None or hint > until):
                self.now = until
                return self
            self.now = upto
            if upto == hint:
                self.inbox.append(BillingEvent(type="payment_method.updated", created=upto, at=upto))
        raise AssertionError("the case does not come to rest")

    def lever(self, name: str, payload: Any) -> None:
        self.inbox.append(Lever(name=name, args=(payload,), at=self.now, ticket="t"))

    def _act(self, action: Any) -> CardEvent:
        self._effects += 1
        fate = self.fates.get(self._effects)
        if fate == "down":
            return EffectFailed(effect=action.key, at=self.now, error="nobody answers")
        facts = self.world(self.now)
        if action.kind == "read_card":
            return CardRead(card=facts)
        sent = {"step": action.step, "channel": action.channel, "at": self.now}
        if not worth_saying(facts, action.charge):
            return MessageSent.model_validate({**sent, "fate": "not_needed"})
        if fate is None or fate == "accepted":
            self._note(self.now, f"{action.channel} {action.step}")
            self.sends.append((self.now, action))
        return MessageSent.model_validate({**sent, "fate": fate or "accepted"})

    def _note(self, at: datetime, what: str) -> None:
        self.log.append((at.date(), what))
