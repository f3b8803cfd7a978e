"""Three ways to live with Stripe's own retries (`retries.owner`), and the method that is really charged."""

from __future__ import annotations

from datetime import timedelta

from dunning.case import BillingEvent
from dunning.policy import Policy
from dunning.values import Outcome, RecoveredVia, Stage
from tests.dunning.cases import DAY0, NEW_CARD, STANDARD, VISA, Run, days, opened


def owned_by(owner: str) -> Policy:
    retries = STANDARD.retries.model_copy(update={"owner": owner})
    return STANDARD.model_copy(update={"retries": retries})


def test_the_engine_turns_stripes_own_retries_off_before_anything_else() -> None:
    run = Run(opened(auto_advance=True)).until(2)
    assert run.log == [(0, "take_over"), (1, "charge insufficient_funds")]
    assert run.state.found_auto_advance is True


def test_the_engine_leaves_alone_what_stripe_does_not_retry() -> None:
    assert Run(opened(auto_advance=False)).until(2).log == [(1, "charge insufficient_funds")]


def test_the_one_who_stops_a_case_may_give_the_invoice_back() -> None:
    run = Run(opened(auto_advance=True)).until(2)
    assert run.lever("stop", {"reason": "ours again", "by": "ann", "give_back": True})[0]
    assert run.log[-1] == (2, "give_back")
    assert run.state.outcome is Outcome.STOPPED


def test_a_stopped_case_gives_nothing_back_unasked() -> None:
    run = Run(opened(auto_advance=True)).until(2)
    run.lever("stop", {"reason": "x", "by": "ann"})
    assert "give_back" not in [what for _, what in run.log]


def test_in_stripe_mode_nothing_is_charged_and_grace_waits_for_the_last_retry() -> None:
    policy = owned_by("stripe")
    attempts = [DAY0 + timedelta(days=d) for d in (3, 10, 20)]
    run = Run(opened(policy=policy, auto_advance=True, next_payment_attempt=attempts[0]), policy=policy)
    for this, following in zip(attempts, [*attempts[1:], None], strict=True):
        run.run_to(this + timedelta(minutes=1))
        assert run.state.stage is Stage.RECOVERING
        run.event(next_payment_attempt=following)
    assert run.state.stage is Stage.GRACE
    run.to_the_end()
    assert days(run, ["charge", "take_over"]) == []
    assert days(run, ["suspend"]) == [(27, "suspend")]


def test_in_stripe_mode_a_recovery_by_its_retry_is_stripes() -> None:
    policy = owned_by("stripe")
    attempt = DAY0 + timedelta(days=3)
    run = Run(opened(policy=policy, next_payment_attempt=attempt), policy=policy).run_to(attempt)
    run.now += timedelta(minutes=1)
    run.event(status="paid", amount_remaining=0, next_payment_attempt=None)
    assert run.state.recovered_via is RecoveredVia.STRIPE


def test_in_stripe_mode_a_retry_by_hand_is_refused() -> None:
    policy = owned_by("stripe")
    accepted, text = Run(opened(policy=policy), policy=policy).lever("retry_now", {"by": "ann"})
    assert not accepted
    assert "Stripe" in text


def test_in_shared_mode_only_a_customers_action_charges() -> None:
    policy = owned_by("shared")
    run = Run(
        opened(policy=policy, next_payment_attempt=DAY0 + timedelta(days=9)),
        policy=policy,
        outcomes={1: "succeeded"},
    ).until(6)
    assert days(run, ["charge"]) == []
    run.event(method=NEW_CARD)
    assert days(run, ["charge"]) == [(6, "charge succeeded")]


def test_a_replaced_card_takes_the_place_of_the_failed_one_where_that_was_set() -> None:
    run = Run(opened("expired_card", method_set_on="subscription"), outcomes={1: "succeeded"}).until(2)
    run.world = run.state.invoice.model_copy(update={"customer_method": NEW_CARD})

    def moved(action, run):  # type: ignore[no-untyped-def]
        from dunning.case import EffectDone

        if action.kind != "move_default":
            return None
        assert (action.set_on, action.failed, action.to) == ("subscription", VISA.id, NEW_CARD.id)
        run.world = run.world.model_copy(update={"method": NEW_CARD, "customer_method": None})
        return EffectDone(effect="move_default", at=run.now, detail=action.to)

    run.intercept = moved
    run.inbox.append(BillingEvent(type="customer.updated", created=run.now, at=run.now))
    run.run_to(run.now)
    assert run.log[-2:] == [(2, "charge succeeded"), (2, "email recovered")]


def test_a_subscriptions_own_method_that_did_not_fail_is_left_alone() -> None:
    run = Run(opened("expired_card", method_set_on="subscription"), outcomes={1: "succeeded"}).until(2)
    run.event(method=NEW_CARD, customer_method=VISA.model_copy(update={"id": "pm_3", "fingerprint": "fp_3"}))
    assert "move_default" not in [what for _, what in run.log]


def test_a_card_that_the_ledger_locked_is_not_charged_and_the_customer_is_asked() -> None:
    run = Run(opened()).until(0.5)
    run.event(method_lock="Mastercard says: do not try again")
    run.to_the_end()
    assert days(run, ["charge"]) == []
    assert days(run, ["email"])[0] == (0, "email payment_failed")


def test_a_charge_that_the_budget_postponed_waits_until_a_slot_is_free() -> None:
    from dunning.case import Charged

    free = DAY0 + timedelta(days=2, hours=3)

    def full(action, run):  # type: ignore[no-untyped-def]
        if action.kind == "charge" and run.now < free:
            return Charged(
                number=action.number, at=run.now, result="postponed", retry_at=free, words="1 in 24 h"
            )
        return None

    run = Run(opened(), outcomes={1: "succeeded"}, intercept=full).to_the_end()
    assert run.actions[1][0] == free
    assert run.log == [(2, "charge succeeded"), (2, "email recovered")]


def test_a_new_card_that_must_not_be_charged_is_tried_once_and_not_again() -> None:
    from dunning.case import Charged

    def forbidden(action, run):  # type: ignore[no-untyped-def]
        if action.kind == "charge":
            return Charged(
                number=action.number,
                at=run.now,
                result="forbidden",
                method=NEW_CARD,
                blind=False,
                words="locked",
            )
        return None

    run = Run(opened("stolen_card"), intercept=forbidden).until(1)
    run.event(method=NEW_CARD).until(3)
    assert [a.kind for _, a in run.actions].count("charge") == 1
