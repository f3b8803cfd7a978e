"""Each fate of a case as a calendar: exactly what the engine did, day by day, in the providers' own books.

Everything runs: signed webhooks open the cases, the real SDKs charge and write, weeks pass on one clock.
Days are whole days since the renewal failed, at ten in the morning of the customer.
"""

from __future__ import annotations

from dunning.values import Outcome, RecoveredVia, Stage
from tests.fixtures.case import Case
from tests.fixtures.engine import Engine
from tests.workflows.conftest import Record

PHONE = "+12025550143"


async def whats(case: Case) -> list[str]:
    """The kinds of the timeline's lines."""
    return [entry.what for entry in await case.timeline()]


# --- the cast --------------------------------------------------------------------------------------------


async def test_the_second_retry_succeeds_in_silence(engine: Engine, record: Record) -> None:
    case = await engine.case("insufficient_funds", "insufficient_funds", "succeeded")
    closed = await case.to_the_end()
    assert await case.calendar() == {
        1: ["charge insufficient_funds"],
        3: ["charge succeeded", "email recovered"],
    }
    assert (closed.outcome, closed.recovered_via) == (Outcome.RECOVERED, RecoveredVia.ENGINE)
    await record(case, "second_retry")


async def test_a_lost_card_is_asked_for_and_the_new_one_charged_within_seconds(
    engine: Engine, record: Record
) -> None:
    case = await engine.case("lost_card")
    await case.until(6.3)
    await case.customer_replaces_card()
    closed = await case.to_the_end()
    assert await case.calendar() == {
        0: ["email payment_failed"],
        5: ["email reminder"],
        6: ["charge succeeded", "email recovered"],
    }
    assert (closed.outcome, closed.recovered_via) == (Outcome.RECOVERED, RecoveredVia.NEW_METHOD)
    await record(case, "new_card")


async def test_authentication_is_asked_for_and_never_retried(engine: Engine, record: Record) -> None:
    case = await engine.case("authentication_required")
    await case.until(1.4)
    await case.customer_authenticates()
    closed = await case.to_the_end()
    assert await case.calendar() == {0: ["email payment_failed"], 1: ["email recovered"]}
    assert (closed.outcome, closed.recovered_via) == (Outcome.RECOVERED, RecoveredVia.CUSTOMER)
    await record(case, "authentication")


async def test_paying_on_the_hosted_page_in_grace_ends_everything_with_one_thank_you(
    engine: Engine, record: Record
) -> None:
    case = await engine.case("do_not_honor")
    await case.until(17.4)
    assert (await case.status()).stage is Stage.GRACE
    await case.customer_pays()
    closed = await case.to_the_end()
    assert await case.calendar() == {
        1: ["charge do_not_honor"],
        3: ["charge do_not_honor", "email payment_failed"],
        5: ["charge do_not_honor"],  # an opaque refusal is repeated three times at most
        7: ["email reminder"],
        12: ["email impact"],
        14: ["email grace_started"],
        17: ["email recovered"],
    }
    assert (closed.outcome, closed.recovered_via) == (Outcome.RECOVERED, RecoveredVia.CUSTOMER)
    await record(case, "pays_in_grace")


async def test_an_extension_by_support_moves_the_date_and_reminds_again(
    engine: Engine, record: Record
) -> None:
    case = await engine.case("expired_card")
    await case.until(19.2)
    answer = await engine.client.grant_extension(case.invoice, days=7, reason="pays on Friday", by="mara")
    await engine.settle()
    assert answer.startswith("granted: the new last day is")
    await case.until(25.6)
    await case.customer_pays()
    closed = await case.to_the_end()
    assert await case.calendar() == {
        0: ["email payment_failed"],
        5: ["email reminder"],
        12: ["email impact"],
        14: ["email grace_started"],
        18: ["email grace_reminder"],
        19: ["email extension_granted"],
        25: ["email grace_reminder", "email recovered"],
    }
    assert closed.outcome is Outcome.RECOVERED
    await record(case, "extension")


async def test_a_suspended_customer_who_pays_is_restored_at_once(engine: Engine, record: Record) -> None:
    case = await engine.case("expired_card")
    await case.until(29.3)
    assert await case.pause_at_stripe() == "void"
    assert (await case.status()).stage is Stage.SUSPENDED
    await case.customer_pays()
    closed = await case.to_the_end()
    assert await case.calendar() == {
        0: ["email payment_failed"],
        5: ["email reminder"],
        12: ["email impact"],
        14: ["email grace_started"],
        18: ["email grace_reminder"],
        20: ["email final_notice"],
        21: ["email suspended", "pause"],
        29: ["email restored", "resume"],
    }
    assert await case.pause_at_stripe() is None
    assert (closed.outcome, closed.recovered_via) == (Outcome.RECOVERED, RecoveredVia.CUSTOMER)
    await record(case, "suspended_and_restored")


async def test_who_never_pays_goes_through_the_whole_policy(engine: Engine, record: Record) -> None:
    case = await engine.case("insufficient_funds", phone=PHONE, consent=True)
    closed = await case.to_the_end()
    assert await case.calendar() == {
        1: ["charge insufficient_funds"],
        3: ["charge insufficient_funds", "email payment_failed"],
        5: ["charge insufficient_funds"],
        7: ["charge insufficient_funds", "email reminder", "sms reminder"],
        9: ["charge insufficient_funds"],
        11: ["charge insufficient_funds"],
        12: ["email impact"],
        13: ["charge insufficient_funds"],
        14: ["email grace_started"],
        18: ["email grace_reminder"],
        20: ["charge insufficient_funds", "email final_notice"],  # SMS: no room
        21: ["email suspended", "pause"],
        51: ["cancel subscription", "email survey", "mark uncollectible"],
    }
    assert closed.outcome is Outcome.WRITTEN_OFF
    await record(case, "written_off")


async def test_an_invoice_that_is_voided_closes_its_case_without_a_word(
    engine: Engine, record: Record
) -> None:
    case = await engine.case("insufficient_funds")
    await case.until(4.5)
    await case.business_voids()
    closed = await case.to_the_end()
    assert await case.calendar() == {
        1: ["charge insufficient_funds"],
        3: ["charge insufficient_funds", "email payment_failed"],
    }
    assert closed.outcome is Outcome.VOIDED
    await record(case, "voided")


# --- who is not as usual ---------------------------------------------------------------------------------


async def test_a_customer_nobody_can_reach_is_charged_and_never_suspended(
    engine: Engine, record: Record
) -> None:
    case = await engine.case("insufficient_funds", email=None)
    closed = await case.to_the_end()
    assert await case.calendar() == {
        day: ["charge insufficient_funds"] for day in (1, 3, 5, 7, 9, 11, 13, 20)
    }
    assert closed.outcome is Outcome.STOPPED
    assert "no notice that names the last day could be delivered" in closed.reason
    assert await case.pause_at_stripe() is None
    await record(case, "unreachable")


async def test_an_invoice_without_a_subscription_is_dunned_and_nothing_is_paused(engine: Engine) -> None:
    customer, email = await engine.customer()
    await engine.card(customer, "expired_card")
    case = await engine.start(await engine.one_off(customer, email))
    closed = await case.to_the_end()
    assert await case.calendar() == {
        0: ["email payment_failed"],
        5: ["email reminder"],
        12: ["email impact"],
        14: ["email grace_started"],
        18: ["email grace_reminder"],
        20: ["email final_notice"],
        21: ["email suspended"],
        51: ["email survey", "mark uncollectible"],
    }
    assert closed.outcome is Outcome.WRITTEN_OFF


async def test_a_subscription_that_others_cancel_closes_the_case(engine: Engine, record: Record) -> None:
    case = await engine.case("insufficient_funds")
    await case.until(4.5)
    await case.business_cancels()
    closed = await case.to_the_end()
    assert await case.calendar() == {
        1: ["charge insufficient_funds"],
        3: ["charge insufficient_funds", "email payment_failed"],
    }
    assert (closed.outcome, closed.reason) == (Outcome.CANCELED, "somebody else canceled the subscription")
    await record(case, "canceled")


# --- no case ---------------------------------------------------------------------------------------------


async def refused(engine: Engine, case: Case) -> str:
    """Why the invoice gets no case. Nothing was done."""
    await engine.start(case)
    closed = await case.result()
    assert closed.outcome is Outcome.NOT_APPLICABLE
    assert f"## Closed: not applicable\n\n{closed.reason}" == await case.details()
    assert await case.calendar() == {}
    return closed.reason


async def test_invoices_that_owe_nothing_get_no_case_and_are_told_why(engine: Engine, record: Record) -> None:
    customer, email = await engine.customer()
    await engine.card(customer, "insufficient_funds")

    draft = await engine.one_off(customer, email, charged=False)
    assert await refused(engine, draft) == f"invoice {draft.invoice} is a draft: it was never due"

    paid = await engine.one_off(customer, email)
    await engine.stripe.invoices.pay_async(paid.invoice, {"paid_out_of_band": True})
    assert await refused(engine, paid) == f"invoice {paid.invoice} is paid already"

    void = await engine.one_off(customer, email)
    await void.business_voids()
    assert await refused(engine, void) == f"invoice {void.invoice} is void: nothing is owed"

    given_up = await engine.one_off(customer, email)
    await engine.stripe.invoices.mark_uncollectible_async(given_up.invoice)
    assert "is marked uncollectible" in await refused(engine, given_up)
    await record(void, "not_applicable")


async def test_an_invoice_that_stripe_does_not_know_gets_no_case(engine: Engine) -> None:
    case = Case(engine, "in_nobody_knows", "cus_none", "", "", await engine.now())
    engine.cases.append(case)
    reason = await refused(engine, case)
    assert reason == "Stripe knows no invoice in_nobody_knows: check the id, the account and the key's mode"


async def test_a_subscription_that_is_canceled_already_gets_no_case(engine: Engine) -> None:
    case = await engine.unannounced()
    await case.business_cancels()
    assert "is canceled already: there is nothing left to suspend" in await refused(engine, case)


async def test_a_second_workflow_for_the_same_invoice_is_told_who_works_on_it(engine: Engine) -> None:
    case = await engine.case("expired_card")
    second = await engine.temporal.start_workflow(
        "InvoiceDunning", {"invoice_id": case.invoice}, id="invoice-dunning/by-hand", task_queue="dunning"
    )
    closed = await second.result()
    assert closed["outcome"] == "not_applicable"
    assert f"has an open case already: workflow {case.workflow_id} works on it" in closed["reason"]
    await case.until(1)
    assert await case.calendar() == {0: ["email payment_failed"]}
    assert (await case.status()).stage is Stage.RECOVERING


# --- shadow and halt -------------------------------------------------------------------------------------


async def test_a_policy_in_shadow_records_everything_and_does_nothing(engine: Engine, record: Record) -> None:
    shadow = engine.write_policy("shadow", ("shadow: false", "shadow: true"))
    case = await engine.unannounced("insufficient_funds", phone=PHONE, consent=True)
    await engine.start(case, policy=shadow)
    closed = await case.to_the_end()
    assert await case.calendar() == {}
    assert closed.outcome is Outcome.WRITTEN_OFF
    done = await whats(case)
    assert done.count("attempt.shadow") == 8
    assert done.count("message.shadow") == 9  # the last notice finds no room for its SMS
    assert {"suspend.shadow", "mark_uncollectible.shadow", "cancel_subscription.shadow"} <= set(done)
    told = await engine.stripe.invoices.retrieve_async(case.invoice)
    assert (told.status, await case.pause_at_stripe()) == ("open", None)
    await record(case, "shadow")


async def test_a_halt_holds_every_effect_and_lifting_it_goes_on_where_it_was(
    engine: Engine, record: Record
) -> None:
    case = await engine.case("insufficient_funds")
    await case.until(2)
    await engine.ledger.switches.halt("ops", "outage", await engine.now())
    await case.until(3.1)
    assert await case.calendar() == {1: ["charge insufficient_funds"]}
    assert "attempt.held" in await whats(case)
    await engine.lift()
    await case.until(5.5)
    assert await case.calendar() == {
        1: ["charge insufficient_funds"],
        3: ["charge insufficient_funds", "email payment_failed"],
        5: ["charge insufficient_funds"],
    }
    await record(case, "halted")


# --- more than one case ----------------------------------------------------------------------------------


async def test_a_payment_after_the_write_off_opens_a_new_episode_that_tells_a_person(engine: Engine) -> None:
    case = await engine.case("expired_card")
    closed = await case.to_the_end()
    assert closed.outcome is Outcome.WRITTEN_OFF
    before = await engine.now()
    await case.customer_pays()
    status = await case.status()  # the subscription was canceled, and that is final
    assert status.needs_human
    assert "paid after the subscription was canceled" in status.reason
    await engine.client.release(case.invoice, by="mara")
    closed = await case.to_the_end()
    assert (closed.outcome, closed.recovered_via) == (Outcome.RECOVERED, RecoveredVia.CUSTOMER)
    late = await case.calendar(since=before)
    assert list(late.values()) == [["email recovered"]]
    record = await case.record()
    assert record is not None
    assert record.episode == 2


async def test_a_renewal_that_fails_meanwhile_adopts_the_dates_of_the_older_case(engine: Engine) -> None:
    older = await engine.case("expired_card")
    await engine.client.grant_extension(older.invoice, days=7, reason="was promised", by="mara")
    newer = await engine.renewal(older.customer, older.subscription, older.email)
    await engine.settle()
    older_status, newer_status = await older.status(), await newer.status()
    assert newer_status.last_day == older_status.last_day
    await newer.until(28.6)
    # One conversation: the customer hears each step once, and the one subscription is paused once.
    days = [(await case.calendar())[28] for case in (older, newer)]
    assert sorted(days) == [["email suspended", "pause"], ["pause"]]
    said = [*await whats(older), *await whats(newer)]
    assert said.count("message.merged") == 6
    await older.customer_pays()
    assert await older.pause_at_stripe() == "void"  # the other invoice is still owed
    await newer.customer_pays()
    assert await older.pause_at_stripe() is None
