"""Each fate of a case as a calendar of the standard policy: the exact effects, day by day."""

from __future__ import annotations

from datetime import date

from dunning.values import Channel, Outcome, RecoveredVia, Stage, WaitingOn
from dunning.view import needs_human, waiting_on
from tests.dunning.cases import NEW_CARD, Run, days, opened


def test_no_money_and_the_second_retry_succeeds_in_silence() -> None:
    run = Run(opened(), outcomes={2: "succeeded"}).to_the_end()
    assert run.log == [(1, "charge insufficient_funds"), (3, "charge succeeded"), (3, "email recovered")]
    assert [at.strftime("%a %H") for at, _ in run.actions] == ["Tue 10", "Fri 09", "Fri 09"]  # pay-day
    assert run.state.outcome is Outcome.RECOVERED
    assert run.state.recovered_via is RecoveredVia.ENGINE


def test_never_pays_goes_through_the_whole_policy() -> None:
    run = Run(opened()).to_the_end()
    assert run.log == [
        (1, "charge insufficient_funds"),
        (3, "charge insufficient_funds"),
        (3, "email payment_failed"),
        (5, "charge insufficient_funds"),
        (7, "charge insufficient_funds"),
        (7, "email reminder"),
        (7, "sms reminder"),
        (9, "charge insufficient_funds"),
        (11, "charge insufficient_funds"),
        (12, "email impact"),
        (13, "charge insufficient_funds"),
        (14, "email grace_started"),
        (18, "email grace_reminder"),
        (20, "email final_notice"),
        (20, "charge insufficient_funds"),
        # Three contacts in seven days were made, so the last notice is not repeated by SMS.
        (21, "suspend"),
        (21, "email suspended"),
        (51, "mark_uncollectible"),
        (51, "cancel_subscription"),
        (51, "email survey"),
    ]
    assert run.state.outcome is Outcome.WRITTEN_OFF


def test_hard_decline_asks_at_once_and_charges_the_new_card_within_seconds() -> None:
    run = Run(opened("stolen_card"), outcomes={1: "succeeded"}).until(6)
    assert run.log == [(0, "email payment_failed"), (5, "email reminder"), (5, "sms reminder")]
    run.event(method=NEW_CARD)
    assert run.log[3:] == [(6, "charge succeeded"), (6, "email recovered")]
    assert run.state.recovered_via is RecoveredVia.NEW_METHOD


def test_authentication_is_asked_for_and_never_retried_blindly() -> None:
    run = Run(opened("authentication_required")).until(13)
    assert days(run, ["charge"]) == []
    assert days(run, ["email"]) == [(0, "email payment_failed"), (5, "email reminder"), (12, "email impact")]
    run.event(status="paid", amount_remaining=0)
    assert run.state.outcome is Outcome.RECOVERED
    assert run.state.recovered_via is RecoveredVia.CUSTOMER


def test_paying_in_grace_closes_with_one_thank_you_and_nothing_else() -> None:
    run = Run(opened("expired_card")).until(17)
    assert run.state.stage is Stage.GRACE
    before = len(run.log)
    run.event(status="paid", amount_remaining=0).to_the_end()
    assert run.log[before:] == [(17, "email recovered")]


def test_an_extension_moves_suspension_and_announces_the_new_date() -> None:
    run = Run(opened("expired_card")).until(20.5)
    accepted, text = run.lever("grant_extension", {"days": 7, "reason": "payday", "by": "ann"})
    assert accepted
    assert "Mon 30 Mar 2026" in text
    run.to_the_end()
    assert days(run, ["suspend"]) == [(28, "suspend")]
    assert (20, "email extension_granted") in run.log
    assert [d for d, what in run.log if what == "email grace_reminder"] == [18, 25]


def test_suspended_customer_who_pays_is_restored_at_once() -> None:
    run = Run(opened("expired_card")).until(30)
    assert run.state.stage is Stage.SUSPENDED
    before = len(run.log)
    run.event(status="paid", amount_remaining=0)
    assert run.log[before:] == [(30, "restore"), (30, "email restored")]
    assert run.state.outcome is Outcome.RECOVERED


def test_a_voided_invoice_closes_the_case_without_a_word() -> None:
    run = Run(opened()).until(4)
    before = len(run.log)
    run.event(status="void", amount_remaining=0).to_the_end()
    assert run.log[before:] == []
    assert run.state.outcome is Outcome.VOIDED


def test_a_technical_failure_is_retried_within_hours() -> None:
    run = Run(opened("processing_error"), outcomes={1: "processing_error", 2: "succeeded"}).to_the_end()
    assert run.log == [(0, "charge processing_error"), (0, "charge succeeded"), (0, "email recovered")]


def test_a_soft_decline_that_turns_hard_changes_the_column_and_repeats_no_message() -> None:
    run = Run(opened(), outcomes={3: "stolen_card"}).to_the_end()
    assert days(run, ["charge"]) == [
        (1, "charge insufficient_funds"),
        (3, "charge insufficient_funds"),
        (5, "charge stolen_card"),
    ]
    emails = [what for _, what in days(run, ["email"])]
    assert len(emails) == len(set(emails))


def test_fraud_is_frozen_nothing_is_said_and_a_person_decides() -> None:
    run = Run(opened("fraudulent")).until(10)
    assert run.log == []
    assert run.state.human is not None
    run.to_the_end()
    assert run.log == []
    assert run.state.outcome is Outcome.STOPPED


def test_a_code_that_nobody_knows_is_tried_twice_at_most_and_shown_to_a_person() -> None:
    run = Run(opened("brand_new_code"), outcomes=dict.fromkeys(range(1, 20), "brand_new_code")).until(10)
    assert days(run, ["charge"]) == [(1, "charge brand_new_code"), (3, "charge brand_new_code")]
    assert needs_human(run.state)
    assert waiting_on(run.state) is not WaitingOn.HUMAN  # the case goes on without an answer


def test_revoked_authorisation_is_asked_once_and_then_a_person_decides() -> None:
    run = Run(opened("revocation_of_authorization")).to_the_end()
    assert run.log == [(0, "email payment_failed")]
    assert run.state.outcome is Outcome.STOPPED


def test_a_customer_nobody_can_reach_is_never_suspended() -> None:
    run = Run(opened("expired_card", channels=())).to_the_end()
    assert run.log == []
    assert run.state.outcome is Outcome.STOPPED
    assert "no notice" in run.state.closed_reason


def test_a_hold_gives_its_time_back() -> None:
    run = Run(opened("expired_card")).until(2)
    assert run.lever("hold", {"reason": "outage", "by": "ops"})[0]
    run.until(6)
    assert run.log == [(0, "email payment_failed")]
    assert run.lever("release", {"by": "ops"})[0]
    run.to_the_end()
    assert days(run, ["suspend"]) == [(25, "suspend")]
    assert (9, "email reminder") in run.log


def test_a_hold_without_an_end_ends_by_itself() -> None:
    run = Run(opened("expired_card")).until(2)
    run.lever("hold", {"reason": "outage", "by": "ops"})
    run.until(17)
    assert run.state.hold is None


def test_a_customer_gets_two_extensions_at_once_and_the_third_waits_for_a_person() -> None:
    run = Run(opened("expired_card")).until(15)
    ask = {"days": 7, "reason": "salary", "by": "customer"}
    assert run.lever("request_extension", ask)[0]
    assert run.lever("request_extension", ask)[0]
    accepted, text = run.lever("request_extension", ask)
    assert accepted
    assert "a person answers by" in text
    assert run.state.request is not None
    assert run.lever("deny_extension", {"reason": "twice already", "by": "ann"})[0]
    run.to_the_end()
    assert days(run, ["suspend"]) == [(35, "suspend")]
    assert (15, "email extension_denied") in run.log


def test_an_unanswered_request_holds_the_suspension_for_three_days_at_most() -> None:
    run = Run(opened("expired_card")).until(21)
    assert run.lever("request_extension", {"days": 20, "reason": "x", "by": "customer"})[0]
    run.to_the_end()
    assert days(run, ["suspend"]) == [(24, "suspend")]


def test_no_suspension_without_a_notice_that_a_provider_accepted() -> None:
    def lost(action, run):  # type: ignore[no-untyped-def]
        from dunning.case import MessageSent

        if action.kind == "send" and action.names_last_day and (run.now.date() < date(2026, 3, 24)):
            return MessageSent(step=action.step, channel=action.channel, at=run.now, fate="unknown")
        return None

    run = Run(opened("expired_card"), intercept=lost).to_the_end()
    [(day, _)] = days(run, ["suspend"])
    assert day > 21
    named = [s for s in run.state.sent if s.fate == "accepted" and s.named_day == run.state.plan.last_day]
    assert named
    assert run.state.suspended_at is not None
    assert (run.state.suspended_at - named[0].at).total_seconds() >= 48 * 3600


def test_a_retry_by_hand_respects_the_gap_between_attempts() -> None:
    run = Run(opened(), outcomes={1: "insufficient_funds", 2: "succeeded"}).until(1.5)
    accepted, text = run.lever("retry_now", {"by": "ann"})
    assert accepted
    assert "the earliest the networks allow" in text
    run.to_the_end()
    assert run.log[:2] == [(1, "charge insufficient_funds"), (2, "charge succeeded")]


def test_a_card_that_must_not_be_charged_is_not_charged_by_hand_either() -> None:
    run = Run(opened("stolen_card")).until(1)
    accepted, text = run.lever("retry_now", {"by": "ann"})
    assert not accepted
    assert "another card" in text


def test_stop_closes_the_case_and_never_as_recovered() -> None:
    run = Run(opened()).until(2)
    assert not run.lever("stop", {"outcome": "recovered", "reason": "x", "by": "ann"})[0]
    assert run.lever("stop", {"outcome": "stopped", "reason": "goodwill", "by": "ann"})[0]
    assert run.state.outcome is Outcome.STOPPED
    assert run.to_the_end().log == [(1, "charge insufficient_funds")]


def test_sms_keeps_quiet_hours_in_the_customers_zone() -> None:
    run = Run(opened("expired_card", zone="America/Los_Angeles", channels=(Channel.SMS,))).until(6)
    sent = [at for at, action in run.actions if action.kind == "send"]
    assert sent
    assert all(16 <= at.hour <= 23 or at.hour < 4 for at in sent)


def test_a_malformed_lever_is_refused_with_a_sentence_and_harms_nothing() -> None:
    run = Run(opened()).until(2)
    before = run.state
    for args, word in (
        (({"days": "seven", "reason": "x", "by": "y"},), "days"),
        ((), "nothing"),
        (({"days": 1}, {"days": 2}), "2 inputs"),
        (([7],), "another shape"),
        ((None,), "another shape"),
        (({"days": 7.5, "reason": "x", "by": "y"},), "days"),
        (({"days": -3, "reason": "x", "by": "y"},), "days"),
        (({"days": True, "reason": "x", "by": "y"},), "days"),
        (({"days": 7, "until": "2026-12-01", "reason": "x", "by": "y"},), "either"),
        (({"until": "2020-01-01", "reason": "x", "by": "y"},), "not after"),
        (({"days": 300, "reason": "x", "by": "y"},), "too many"),
    ):
        accepted, text = run.lever("grant_extension", *args)
        assert not accepted
        assert word in text
    assert run.state == before


def test_the_same_request_id_twice_grants_once() -> None:
    run = Run(opened("expired_card")).until(15)
    grant = {"days": 7, "reason": "x", "by": "y", "request_id": "r1"}
    run.lever("grant_extension", grant)
    day = run.state.plan.last_day
    accepted, text = run.lever("grant_extension", grant)
    assert accepted
    assert "already answered" in text
    assert run.state.plan.last_day == day
