"""A backup card is charged only where policy and customer agreed, once, and the default stays what it is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dunning.case import Charged, Event
from dunning.decision import Action, Charge
from dunning.policy import Policy
from dunning.values import Outcome, RecoveredVia
from tests.dunning.cases import NEW_CARD, STANDARD, VISA, Run, days, failure, opened

NONE = "none"
BACKUP = VISA.model_copy(update={"id": "pm_9", "fingerprint": "fp_backup"})


def policy(backup: str = "consented", owner: str = "engine") -> Policy:
    retries = STANDARD.retries.model_copy(update={"backup_methods": backup, "owner": owner})
    return STANDARD.model_copy(update={"retries": retries})


def case(answer: str, *, rules: Policy | None = None, code: str = "lost_card", **facts: Any) -> Run:
    """A case whose customer has a second card; `answer`: what its bank says, "none" without one."""
    rules = rules or policy()

    def second_card(action: Action, run: Run) -> Event | None:
        if not (isinstance(action, Charge) and action.backup):
            return None
        run.log.append(((run.now - run.state.opened_at).days, f"backup {answer}"))
        told: dict[str, Any] = {"number": action.number, "at": run.now, "blind": True, "backup": True}
        facts = run.state.invoice.model_copy(update={"read_at": run.now})
        if answer == NONE:
            return Charged(result="not_needed", invoice=facts, **told)
        if answer == "succeeded":
            run.world = facts.model_copy(update={"status": "paid", "amount_remaining": 0})
            return Charged(result="succeeded", method=BACKUP, invoice=run.world, **told)
        why = failure(answer, run.now, BACKUP)
        run.world = facts.model_copy(update={"failure": why})
        return Charged(result="declined", method=BACKUP, failure=why, invoice=run.world, **told)

    state = opened(code, rules, backup_consent=facts.pop("backup_consent", True), **facts)
    return Run(state, rules, intercept=second_card)


class TestWhereItIsAgreed:
    def test_the_next_card_pays_at_once_and_nothing_is_said_before(self) -> None:
        paid = case("succeeded").to_the_end()
        assert days(paid) == [(0, "backup succeeded"), (0, "email recovered")]
        assert (paid.state.outcome, paid.state.recovered_via) == (Outcome.RECOVERED, RecoveredVia.ENGINE)

    @pytest.mark.parametrize("answer", ["insufficient_funds", "stolen_card", "authentication_required", NONE])
    def test_it_is_charged_once_and_its_answer_says_nothing_of_the_default(self, answer: str) -> None:
        run = case(answer).until(2)
        assert days(run)[:2] == [(0, f"backup {answer}"), (0, "email payment_failed")]
        assert run.state.verdict is not None
        assert run.state.verdict.code == "lost_card"
        run.event()  # a later look finds the backup card's decline as the last one
        assert run.state.verdict.code == "lost_card"
        assert days(run.to_the_end(), ["backup", "charge"]) == [(0, f"backup {answer}")]

    def test_a_card_of_the_customer_s_own_choice_is_charged_after_it(self) -> None:
        run = case("insufficient_funds").until(2)
        run.outcomes = {2: "succeeded"}
        run.event(method=NEW_CARD)
        assert days(run, ["backup", "charge"]) == [(0, "backup insufficient_funds"), (2, "charge succeeded")]

    def test_a_soft_decline_waits_for_the_default(self) -> None:
        assert days(case("succeeded", code="insufficient_funds").until(20), ["backup"]) == []

    def test_it_counts_as_a_retry(self) -> None:
        assert case("insufficient_funds").until(2).state.retries_used == 1

    def test_nothing_is_moved(self) -> None:
        assert days(case("insufficient_funds").to_the_end(), ["move_default"]) == []


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(["never", "consented"]),
    st.booleans(),
    st.sampled_from(["lost_card", "insufficient_funds", "fraudulent", "revocation_of_authorization",
                     "authentication_required", "incorrect_zip", "expired_card", "processing_error"]),
    st.sampled_from(["engine", "stripe", "shared"]),
)  # fmt: skip
def test_never_without_both_and_only_after_a_hard_decline(
    backup: str, consent: bool, code: str, owner: str
) -> None:
    run = case("insufficient_funds", rules=policy(backup, owner), code=code, backup_consent=consent)
    run.to_the_end()
    charged = [what for _, what in run.log if what.startswith("backup")]
    both = backup == "consented" and consent and owner == "engine"
    assert len(charged) <= (1 if both else 0)
    if both and code in ("lost_card", "expired_card"):
        assert charged
    if code in ("fraudulent", "revocation_of_authorization", "authentication_required"):
        assert not charged


def test_a_postponement_of_one_card_does_not_hold_back_another() -> None:
    def full(action: Action, run: Run) -> Event | None:
        if isinstance(action, Charge) and action.blind:
            told: dict[str, Any] = {"number": action.number, "at": run.now, "invoice": run.state.invoice}
            return Charged(result="postponed", retry_at=run.now + timedelta(days=3), **told)
        return None

    run = Run(opened(), intercept=full, outcomes={1: "succeeded"}).until(1.5)
    assert run.state.postponed_until is not None
    run.event(method=NEW_CARD)
    assert days(run, ["charge"]) == [(1, "charge succeeded")]
