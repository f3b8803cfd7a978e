"""Customers who pause or cancel: what is refused, what is done, and what the case waits for then."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dunning.case import CaseState, EffectDone, Lever
from dunning.decide import decide
from dunning.decision import CancelByCustomer, PauseByCustomer
from dunning.evolve import evolve
from dunning.levers import Commanded, command
from dunning.page import offers
from dunning.policy import Policy
from dunning.policy_sections import CustomerPage, CustomerPause
from dunning.values import Outcome, Stage
from tests.dunning.cases import DAY0, STANDARD, opened

NOON = DAY0 + timedelta(hours=2)


def allowing(**page: Any) -> Policy:
    return STANDARD.model_copy(update={"page": CustomerPage(**page)})


def pulled(state: CaseState, lever: str, policy: Policy = STANDARD) -> Commanded:
    return command(state, Lever(name=lever, args=({"by": "customer"},), at=NOON), policy)


def done(state: CaseState, effect: Any, policy: Policy = STANDARD) -> CaseState:
    return evolve(state, EffectDone(effect=effect, at=NOON), policy)


def subscribed(**changes: Any) -> CaseState:
    state = opened("expired_card")
    return state.model_copy(
        update={"invoice": state.invoice.model_copy(update={"subscription": "sub_1"}), **changes}
    )


class TestPause:
    def test_is_carried_out_at_stripe_then_holds_the_case_and_moves_its_dates(self) -> None:
        asked = pulled(subscribed(), "pause").state
        action = decide(asked, STANDARD, NOON).action
        assert isinstance(action, PauseByCustomer)
        paused = done(asked, "pause_by_customer")
        assert paused.hold is not None
        assert paused.hold.until == action.until
        assert paused.answers_due[-1].startswith("paused_by_customer:")
        assert offers(paused, STANDARD, NOON).paused_until is not None
        before = paused.plan.last_day
        ended = decide(paused.model_copy(update={"answers_due": ()}), STANDARD, action.until).turn
        assert ended is not None
        assert evolve(paused, ended, STANDARD).plan.last_day > before + timedelta(days=29)

    @pytest.mark.parametrize(
        ("changes", "page", "why"),
        [
            ({}, {}, "lets no customer pause"),
            ({"stage": Stage.SUSPENDED}, {"pause": CustomerPause(days=30)}, "suspended already"),
            ({"pauses": 1}, {"pause": CustomerPause(days=30)}, "it had them"),
            ({"human": "fraud"}, {"pause": CustomerPause(days=30)}, "comes first"),
            ({"subscription_finalized": True}, {"pause": CustomerPause(days=30)}, "ended already"),
        ],
    )
    def test_is_refused_with_a_reason_and_not_offered(
        self, changes: dict[str, Any], page: dict[str, Any], why: str
    ) -> None:
        state, policy = subscribed(**changes), allowing(**page)
        answer = pulled(state, "pause", policy)
        assert not answer.accepted
        assert why in answer.text
        assert offers(state, policy, NOON).pause_until is None


class TestCancel:
    def test_now_ends_the_case(self) -> None:
        policy = allowing(cancel="now")
        asked = pulled(subscribed(), "cancel", policy).state
        assert decide(asked, policy, NOON).action == CancelByCustomer(at_period_end=False)
        left = done(asked, "cancel_by_customer", policy)
        assert (left.ending, left.leaving) == (Outcome.CANCELED, "now")

    def test_with_the_period_changes_nothing_about_the_debt(self) -> None:
        policy = allowing(cancel="at_period_end")
        asked = pulled(subscribed(), "cancel", policy).state
        assert decide(asked, policy, NOON).action == CancelByCustomer(at_period_end=True)
        left = done(asked, "cancel_by_customer", policy)
        assert (left.ending, left.leaving) == (None, "at_period_end")
        assert not pulled(left, "cancel", policy).accepted

    def test_is_refused_where_the_policy_says_never(self) -> None:
        assert "lets no customer cancel" in pulled(subscribed(), "cancel", allowing()).text
        assert offers(subscribed(), allowing(), NOON).cancel == ""

    def test_that_finds_the_invoice_paid_is_dropped(self) -> None:
        asked = pulled(subscribed(), "cancel", allowing(cancel="now")).state
        paid = asked.invoice.model_copy(update={"status": "paid", "read_at": NOON})
        event = EffectDone(effect="cancel_by_customer", at=NOON, result="not_needed", invoice=paid)
        after = evolve(asked, event, allowing(cancel="now"))
        assert decide(after, allowing(cancel="now"), NOON).action != CancelByCustomer()
