"""Steps that wait for a person, the ladder of access, and final actions with delays of their own."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dunning.access import access
from dunning.asking import asking
from dunning.case import EffectDone, EffectFailed, Event
from dunning.decision import Action
from dunning.policy import Policy, PolicyError, parse_policy
from dunning.policy_sections import Ask
from dunning.values import Outcome, Stage
from dunning.view import needs_human
from tests.dunning.cases import DAY0, STANDARD, Run, days, is_closed, opened


def varied(section: str, **changes: Any) -> Policy:
    part = getattr(STANDARD, section).model_copy(update=changes)
    return STANDARD.model_copy(update={section: part})


def asks(before: str, otherwise: str, at_least: int = 1000) -> Policy:
    ask = Ask(
        name="large",
        before=before,  # type: ignore[arg-type]
        amount_from={"usd": at_least},
        deadline=timedelta(days=3),
        otherwise=otherwise,  # type: ignore[arg-type]
    )
    return varied("human", ask_when=(ask,))


# --- a policy asks a person -------------------------------------------------------------------------------


class TestAsking:
    def test_a_large_amount_waits_for_a_person_who_lets_it_go_on(self) -> None:
        policy = asks("suspension", "stop")
        run = Run(opened("expired_card"), policy=policy).until(22)
        assert days(run, ["suspend"]) == []
        assert needs_human(run.state)
        found = asking(run.state, policy)
        assert found is not None
        assert found.what == "large: 19.99 USD are owed, a person decides before the suspension"
        assert (found.whom, found.otherwise) == ("support", "the case is stopped")
        assert found.until == DAY0.replace(hour=0) + timedelta(days=25)
        assert run.lever("release", {"by": "ann"})[0]
        assert days(run, ["suspend"]) == [(22, "suspend")]
        assert not run.state.reviewed  # that is said only of a frozen case

    @pytest.mark.parametrize(("otherwise", "suspended"), [("go_on", True), ("stop", False)])
    def test_the_stated_fallback_comes_when_nobody_answers(self, otherwise: str, suspended: bool) -> None:
        run = Run(opened("expired_card"), policy=asks("suspension", otherwise)).until(25)
        assert (run.state.stage is Stage.SUSPENDED) is suspended
        assert is_closed(run) is not suspended
        if not suspended:
            assert run.state.outcome is Outcome.STOPPED

    def test_who_paid_meanwhile_unheard_is_recovered_and_not_stopped(self) -> None:
        run = Run(opened("fraudulent")).until(3)
        assert run.state.human is not None
        paid = {"status": "paid", "amount_remaining": 0}
        run.world = run.state.invoice.model_copy(update=paid)  # and nobody told the case
        run.to_the_end()
        assert run.state.outcome is Outcome.RECOVERED

    def test_the_final_action_can_wait_for_a_person_too(self) -> None:
        run = Run(opened("expired_card"), policy=asks("final_action", "go_on")).until(52)
        assert days(run, ["mark_uncollectible"]) == []
        run.to_the_end()
        assert days(run, ["mark_uncollectible", "cancel"]) == [
            (54, "mark_uncollectible"),
            (54, "cancel_subscription"),
        ]

    def test_a_small_amount_and_another_currency_ask_nobody(self) -> None:
        policy = asks("suspension", "stop", at_least=5000)
        assert days(Run(opened("expired_card"), policy=policy).to_the_end(), ["suspend"]) == [(21, "suspend")]
        euros = Run(opened("expired_card", currency="eur"), policy=asks("suspension", "stop"))
        assert days(euros.to_the_end(), ["suspend"]) == [(21, "suspend")]

    def test_a_risky_customer_can_be_asked_about_whatever_is_owed(self) -> None:
        ask = Ask(
            name="risky", before="suspension", risk_from="high", deadline=timedelta(days=3), otherwise="stop"
        )
        policy = varied("human", ask_when=(ask,))
        risky = opened("expired_card").model_copy(update={"risk": "high"})
        assert days(Run(risky, policy=policy).until(23), ["suspend"]) == []
        usual = opened("expired_card").model_copy(update={"risk": "elevated"})
        assert days(Run(usual, policy=policy).until(23), ["suspend"]) == [(21, "suspend")]

    def test_the_third_extension_asks_a_person(self) -> None:
        run = Run(opened("expired_card")).until(15)
        wish = {"days": 7, "by": "customer"}
        assert [run.lever("request_extension", wish)[1][:7] for _ in range(3)] == [
            "granted", "granted", "a perso",
        ]  # fmt: skip
        found = asking(run.state, STANDARD)
        assert found is not None
        assert (found.whom, found.otherwise) == ("support", "the request expires")

    def test_what_the_policy_does_not_allow_in_all_asks_a_person(self) -> None:
        run = Run(opened("expired_card")).until(15)
        assert run.lever("grant_extension", {"days": 24, "reason": "flood", "by": "support"})[0]
        assert run.lever("request_extension", {"days": 7, "by": "customer"})[1].startswith("a person answers")
        assert run.lever("grant_extension", {"days": 6, "reason": "flood", "by": "support"})[0]

    def test_a_provider_that_does_not_answer_is_an_operators(self) -> None:
        def down(action: Action, run: Run) -> Event | None:
            return EffectFailed(effect=action.key, at=run.now, error="503") if action.kind == "send" else None

        run = Run(opened("expired_card"), intercept=down).until(0.1)
        found = asking(run.state, STANDARD)
        assert found is not None
        assert found.whom == "operator"
        assert "send fails" in found.what

    def test_two_questions_of_one_name_are_refused(self) -> None:
        question = "{name: a, before: suspension, amount_from: {usd: 1}, deadline: 1d, otherwise: stop}"
        text = f"name: x\nhuman: {{deadline: 14d, ask_when: [{question}, {question}]}}\n"
        with pytest.raises(PolicyError, match="a stands twice"):
            parse_policy(text, "x.yaml")


# --- access -----------------------------------------------------------------------------------------------


class TestAccess:
    def test_the_standard_ladder_takes_access_with_the_suspension_alone(self) -> None:
        run = Run(opened("expired_card")).until(15)
        assert access(run.state, STANDARD) == "full"
        run.until(22)
        assert access(run.state, STANDARD) == "none"
        run.event(status="paid", amount_remaining=0)
        assert access(run.state, STANDARD) == "full"

    def test_a_policy_may_take_it_in_steps(self) -> None:
        ladder = {"grace": "limited", "suspended": "limited", "none_after": timedelta(days=5)}
        policy = varied("access", **ladder)
        run = Run(opened("expired_card"), policy=policy)
        seen = [(day, access(run.until(day).state, policy)) for day in (13, 15, 22, 25, 27, 45)]
        assert [level for _, level in seen] == ["full", "limited", "limited", "limited", "none", "none"]
        assert run.lever("restore_now", {"reason": "x", "by": "ann"})[0]
        assert access(run.state, policy) == "limited"  # in grace again

    def test_access_that_grows_with_the_debt_is_refused(self) -> None:
        for wrong in ("{grace: limited, suspended: full}", "{suspended: none, none_after: 3d}"):
            with pytest.raises(PolicyError, match=r"access"):
                parse_policy(f"name: x\naccess: {wrong}\n", "x.yaml")


# --- kinds of suspension and the end ----------------------------------------------------------------------


def canceling(action: Action, run: Run) -> Event | None:
    """A world in which the suspension cancels the subscription."""
    if action.kind != "suspend":
        return None
    run.log.append(((run.now - DAY0).days, "suspend"))
    run.world = run.state.invoice.model_copy(update={"subscription_status": "canceled"})
    return EffectDone(effect="suspend", at=run.now, ended=True)


class TestTheEnd:
    def test_a_suspension_by_cancellation_is_not_taken_for_somebody_elses(self) -> None:
        policy = varied("suspension", how="cancel")
        run = Run(opened("expired_card"), policy=policy, intercept=canceling).until(22)
        run.event()
        assert run.state.stage is Stage.SUSPENDED
        assert access(run.state, policy) == "none"
        assert "final" in run.lever("restore_now", {"reason": "x", "by": "ann"})[1]
        run.to_the_end()
        assert days(run, ["mark", "cancel"]) == [(51, "mark_uncollectible")]
        assert run.state.outcome is Outcome.WRITTEN_OFF

    def test_money_after_the_cancellation_waits_for_a_person(self) -> None:
        policy = varied("suspension", how="cancel")
        run = Run(opened("expired_card"), policy=policy, intercept=canceling).until(22)
        run.event(status="paid", amount_remaining=0)
        assert not is_closed(run)
        assert "paid after the subscription was canceled" in (run.state.human or "")
        assert "email restored" not in [what for _, what in run.log]
        assert "email recovered" in [what for _, what in run.log]
        assert run.lever("release", {"by": "ann"})[0]
        assert run.state.outcome is Outcome.RECOVERED

    def test_and_is_closed_by_itself_when_nobody_looks(self) -> None:
        policy = varied("suspension", how="cancel")
        run = Run(opened("expired_card"), policy=policy, intercept=canceling).until(22)
        run.event(status="paid", amount_remaining=0).to_the_end()
        assert run.state.outcome is Outcome.RECOVERED

    def test_each_final_action_has_its_own_delay(self) -> None:
        delays = {"invoice_after": timedelta(days=60), "subscription_after": timedelta(days=10)}
        run = Run(opened("expired_card"), policy=varied("final_action", **delays)).to_the_end()
        assert days(run, ["mark", "cancel"]) == [(31, "cancel_subscription"), (81, "mark_uncollectible")]

    def test_a_policy_that_leaves_both_ends_after_the_delay(self) -> None:
        policy = varied("final_action", invoice="leave", subscription="leave")
        run = Run(opened("expired_card"), policy=policy).to_the_end()
        assert days(run, ["mark", "cancel"]) == []
        assert run.log[-1] == (51, "email survey")
