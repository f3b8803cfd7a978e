"""The whole plan against the limits of the cards: whatever banks answer, none breaks and the case ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from dunning.budget import Lock, PastAttempt, Planned, check, limits_at
from dunning.case import Charged, Event
from dunning.decision import Action, Charge
from dunning.declines import classify
from dunning.facts import Failure, Method
from dunning.forecast import forecast
from dunning.policy import Policy
from dunning.retries import next_retry
from dunning.values import RETRYABLE, DeclineClass
from tests.dunning.cases import DAY0, NEW_CARD, STANDARD, VISA, Run, invoice, is_closed, opened

DAY = timedelta(days=1)
#: What a bank says, and with which advice: soft, technical, hard, revoked, and Mastercard's waits and bans.
ANSWERS: tuple[tuple[str, str | None], ...] = (
    ("insufficient_funds", None), ("insufficient_funds", "26"), ("do_not_honor", "30"),
    ("do_not_honor", None), ("processing_error", None), ("issuer_not_available", "02"),
    ("expired_card", None), ("lost_card", None), ("new_account_information_available", "01"),
    ("generic_decline", "03"), ("generic_decline", "21"), ("authentication_required", None),
    ("fraudulent", None), ("no_such_code", None),
)  # fmt: skip
CARDS = st.sampled_from([VISA, VISA.model_copy(update={"brand": "mastercard", "funding": "debit"}),
                         VISA.model_copy(update={"brand": "amex", "country": "IN"})])  # fmt: skip


def said(answer: tuple[str, str | None], at: datetime, method: Method) -> Failure:
    code, advice = answer
    return Failure(at=at, charge=f"ch_{at:%d%H%M}", code="card_declined", decline_code=code,
                   network_advice_code=advice, method=method)  # fmt: skip


@dataclass
class Bank:
    """Answers in order, the last one again and again, and keeps to the limits as the ledger does."""

    answers: Sequence[tuple[str, str | None]]
    past: list[PastAttempt] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    blind: list[datetime] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)  # the rules that the plan ran into

    def __call__(self, action: Action, run: Run) -> Event | None:
        if not isinstance(action, Charge):
            return None
        facts = (run.world or run.state.invoice).model_copy(update={"read_at": run.now})
        method = facts.method
        assert method is not None
        planned = Planned(at=run.now, fingerprint=method.fingerprint, brand=method.brand, expiry="2029-04",
                          country=method.country, funding=method.funding, amount=facts.amount_remaining,
                          currency="usd", invoice_id="in_1", customer_present=not action.blind)  # fmt: skip
        slot = check(planned, self.past, limits_at(run.now.date()))
        told = {"number": action.number, "at": run.now, "blind": action.blind, "method": method}
        if not slot.granted:
            self.refused.add(slot.rule)
            result = "forbidden" if slot.until is None else "postponed"
            return Charged(result=result, invoice=facts, retry_at=slot.until, words=slot.reason, **told)  # type: ignore[arg-type]
        failure = said(self.answers[min(len(self.past), len(self.answers) - 1)], run.now, method)
        self.remember(failure)
        if action.blind:
            self.blind.append(run.now)
        facts = facts.model_copy(update={"failure": failure})
        return Charged(result="declined", failure=failure, invoice=facts, **told)  # type: ignore[arg-type]

    def remember(self, failure: Failure) -> None:
        assert failure.method is not None
        verdict = classify(failure)
        lock: Lock | None = "card" if verdict.locked else None
        self.failures.append(failure)
        self.past.append(PastAttempt(at=failure.at, fingerprint=failure.method.fingerprint, expiry="2029-04",
                                     brand=failure.method.brand, amount=1999, currency="usd", succeeded=False,
                                     reached_network=True, cls=verdict.cls, lock=lock,
                                     invoice_id="in_1"))  # fmt: skip


def played(
    card: Method, answers: list[tuple[str, str | None]], policy: Policy, new_card: int | None
) -> tuple[Run, Bank]:
    bank = Bank(answers)
    first = said(answers[0], DAY0, card)
    bank.remember(first)
    state = opened(policy=policy, method=card, failure=first)
    run = Run(state, policy, intercept=bank)
    if new_card is not None:
        run.until(new_card)
        if not is_closed(run):
            run.event(method=NEW_CARD)
    return run.to_the_end(), bank


POLICIES = st.builds(
    lambda paydays, last, most: STANDARD.model_copy(
        update={"retries": STANDARD.retries.model_copy(
            update={"paydays": paydays, "max": most} | ({} if last else {"last_morning": None})
        )}
    ),
    st.booleans(), st.booleans(), st.sampled_from([0, 2, 8, 15]),
)  # fmt: skip
PLAYS = given(
    card=CARDS,
    answers=st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=20),
    policy=POLICIES,
    new_card=st.none() | st.integers(0, 20),
)


@settings(max_examples=40, deadline=None)
@PLAYS
def test_whatever_banks_answer_no_limit_breaks_and_the_case_ends(
    card: Method, answers: list[tuple[str, str | None]], policy: Policy, new_card: int | None
) -> None:
    run, bank = played(card, answers, policy, new_card)
    assert is_closed(run)
    assert len(bank.blind) <= policy.retries.max
    for one in (VISA, NEW_CARD):
        mine = [past for past in bank.past if past.fingerprint == one.fingerprint]
        judged = [past.at for past in mine if past.cls is not DeclineClass.TECHNICAL]
        technical = [past.at for past in mine if past.cls is DeclineClass.TECHNICAL]
        assert most(judged, DAY) <= 1
        assert most(technical, DAY) <= 3
        assert most([past.at for past in mine], 30 * DAY) <= 15


@settings(max_examples=40, deadline=None)
@PLAYS
def test_a_card_is_charged_again_only_when_every_answer_allows_it(
    card: Method, answers: list[tuple[str, str | None]], policy: Policy, new_card: int | None
) -> None:
    _, bank = played(card, answers, policy, new_card)
    for before, after in zip(bank.failures, bank.failures[1:], strict=False):
        assert before.method is not None
        assert after.method is not None
        if before.method.fingerprint == after.method.fingerprint:
            verdict = classify(before)
            assert not verdict.locked
            assert verdict.cls in RETRYABLE
            assert after.at >= (verdict.not_before or before.at)


@settings(max_examples=40, deadline=None)
@PLAYS
def test_nothing_is_planned_into_the_past_or_after_the_last_day(
    card: Method, answers: list[tuple[str, str | None]], policy: Policy, new_card: int | None
) -> None:
    first = said(answers[0], DAY0, card)
    state = opened(policy=policy, method=card, failure=first)
    run = Run(state, policy, intercept=Bank(answers, [], [first]))
    for day in (0, 1, 3, new_card or 7, 12, 18, 20.9):
        run.run_to(max(run.now, DAY0 + timedelta(days=day)))
        expected = [step.at for step in forecast(run.state, policy, run.now)]
        assert expected == sorted(expected)
        assert all(at >= run.now for at in expected)
        retry = next_retry(run.state, policy, run.now)
        if retry is not None and retry.blind:
            assert retry.at.date() <= run.state.plan.last_day + DAY


def most(moments: list[datetime], window: timedelta) -> int:
    """The most moments that any rolling window holds."""
    return max((sum(1 for m in moments if at - window < m <= at) for at in moments), default=0)


def test_the_play_is_a_real_one() -> None:
    """The premise of this file: a case that is only refused goes through its retries."""
    _, bank = played(VISA, [("insufficient_funds", None)], STANDARD, None)
    assert len(bank.blind) == STANDARD.retries.max
    assert invoice().amount_remaining == 1999
