"""Suspending, restoring, the final action: what was there comes back, and who has paid is left alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from activities.stripe_objects import Subscription
from activities.suspending import possible
from dunning.case import CaseState
from dunning.decision import Action, CancelSubscription, MarkUncollectible, Restore, Suspend
from dunning.values import Outcome, Stage
from tests.activities.shop import Renewal, Shop, before, order

UPDATE = r"/v1/subscriptions/[^/]+$"


async def opened(shop: Shop) -> tuple[Renewal, CaseState]:
    renewal = await shop.renewal("insufficient_funds")
    return renewal, await shop.open(renewal.invoice)


async def paused(shop: Shop, subscription: str) -> dict[str, Any] | None:
    told = (await shop.stripe.subscriptions.retrieve_async(subscription)).to_dict()
    value: dict[str, Any] | None = told["pause_collection"]
    return {name: given for name, given in value.items() if given is not None} if value else None


async def own_keys(shop: Shop, path: str) -> list[str]:
    events = (await shop.control.stripe_books())["events"]
    keys = [(row["request"] or {}).get("idempotency_key") for row in events if row["type"] == path]
    return [key for key in keys if key and key.startswith("dunning-")]


# --- suspend and restore ------------------------------------------------------------------------------


async def test_a_suspension_pauses_collection_and_its_end_unsets_it(shop: Shop) -> None:
    renewal, case = await opened(shop)
    assert (await shop.run(shop.billing.suspend, order(case.ref, Suspend()))).result == "done"
    assert await paused(shop, renewal.subscription) == {"behavior": "void"}
    record = await shop.ledger.suspensions.active("", renewal.subscription)
    assert record is not None
    assert (record.state, record.previous) == ("active", {"pause_collection": None})

    await shop.pay_by_hand(renewal.invoice)
    assert (await shop.run(shop.billing.restore, order(case.ref, Restore()))).result == "done"
    assert await paused(shop, renewal.subscription) is None
    assert await shop.ledger.suspensions.active("", renewal.subscription) is None
    assert len(await own_keys(shop, "customer.subscription.updated")) == 2  # echoes that can be recognised


async def test_what_was_paused_before_is_paused_again_exactly_so(shop: Shop) -> None:
    renewal, case = await opened(shop)
    until = int((await shop.control.now() + timedelta(days=60)).timestamp())
    await shop.stripe.subscriptions.update_async(
        renewal.subscription, {"pause_collection": {"behavior": "keep_as_draft", "resumes_at": until}}
    )
    await shop.run(shop.billing.suspend, order(case.ref, Suspend()))
    assert await paused(shop, renewal.subscription) == {"behavior": "void"}
    await shop.run(shop.billing.restore, order(case.ref, Restore()))
    assert await paused(shop, renewal.subscription) == {"behavior": "keep_as_draft", "resumes_at": until}


async def test_an_earlier_pause_that_would_be_over_by_now_is_not_put_back(shop: Shop) -> None:
    renewal, case = await opened(shop)
    until = int((await shop.control.now() + timedelta(days=2)).timestamp())
    await shop.stripe.subscriptions.update_async(
        renewal.subscription, {"pause_collection": {"behavior": "keep_as_draft", "resumes_at": until}}
    )
    await shop.run(shop.billing.suspend, order(case.ref, Suspend()))
    await shop.control.advance(5 * 86400)
    await shop.run(shop.billing.restore, order(case.ref, Restore()))
    assert await paused(shop, renewal.subscription) is None


async def test_a_pause_that_somebody_changed_meanwhile_is_left_alone(shop: Shop) -> None:
    renewal, case = await opened(shop)
    await shop.run(shop.billing.suspend, order(case.ref, Suspend()))
    await shop.stripe.subscriptions.update_async(
        renewal.subscription, {"pause_collection": {"behavior": "mark_uncollectible"}}
    )
    done = await shop.run(shop.billing.restore, order(case.ref, Restore()))
    assert "somebody changed pause_collection" in done.detail
    assert await paused(shop, renewal.subscription) == {"behavior": "mark_uncollectible"}


async def test_two_invoices_of_a_subscription_suspend_it_once_and_restore_it_together(shop: Shop) -> None:
    renewal, first = await opened(shop)
    second = await shop.open((await shop.control.renew(renewal.subscription))["id"])
    for case in (first, second):
        assert (await shop.run(shop.billing.suspend, order(case.ref, Suspend()))).result == "done"
    assert len(await own_keys(shop, "customer.subscription.updated")) == 1

    await shop.pay_by_hand(second.ref.invoice_id)
    done = await shop.run(shop.billing.restore, order(second.ref, Restore()))
    assert (done.result, done.detail) == ("not_needed", f"still owed: {first.ref.invoice_id}")
    assert await paused(shop, renewal.subscription) == {"behavior": "void"}

    await shop.pay_by_hand(first.ref.invoice_id)
    assert (await shop.run(shop.billing.restore, order(first.ref, Restore()))).result == "done"
    assert await paused(shop, renewal.subscription) is None


@pytest.mark.parametrize("fault", ["drop_before", "drop_after", "status_after"])
async def test_a_suspension_that_got_lost_is_carried_on_with_and_keeps_the_first_previous_value(
    shop: Shop, fault: Any
) -> None:
    renewal, case = await opened(shop)
    await shop.control.fault(fault, service="stripe", method="POST", path=UPDATE, times=3)
    with pytest.raises(ApplicationError):
        await shop.run(shop.billing.suspend, order(case.ref, Suspend()))
    done = await shop.run(shop.billing.suspend, order(case.ref, Suspend()), attempt=2)
    assert done.result == "done"
    assert await paused(shop, renewal.subscription) == {"behavior": "void"}
    await shop.run(shop.billing.restore, order(case.ref, Restore()))
    assert await paused(shop, renewal.subscription) is None  # and not our own `void`


async def test_a_restoration_that_got_lost_is_carried_on_with(shop: Shop) -> None:
    renewal, case = await opened(shop)
    await shop.run(shop.billing.suspend, order(case.ref, Suspend()))
    await shop.control.fault("drop_before", service="stripe", method="POST", path=UPDATE, times=3)
    with pytest.raises(ApplicationError):
        await shop.run(shop.billing.restore, order(case.ref, Restore()))
    assert (await shop.run(shop.billing.restore, order(case.ref, Restore()), attempt=2)).result == "done"
    assert await paused(shop, renewal.subscription) is None


async def test_suspended_restored_and_suspended_again_within_a_day(shop: Shop) -> None:
    renewal, case = await opened(shop)
    for expected in ({"behavior": "void"}, None, {"behavior": "void"}):
        action = Suspend() if expected else Restore()
        activity = shop.billing.suspend if expected else shop.billing.restore
        assert (await shop.run(activity, order(case.ref, action))).result == "done"
        assert await paused(shop, renewal.subscription) == expected


async def test_a_policy_that_only_tells_changes_nothing_at_stripe(shop: Shop) -> None:
    renewal, case = await opened(shop)
    done = await shop.run(shop.billing.suspend, order(case.ref, Suspend(how="event_only")))
    assert done.result == "done"
    assert await paused(shop, renewal.subscription) is None
    assert (await shop.run(shop.billing.restore, order(case.ref, Restore()))).result == "done"


async def test_an_invoice_without_a_subscription_is_suspended_in_the_ledger_alone(shop: Shop) -> None:
    who = await shop.stripe.customers.create_async({"email": "bo@customer.example"})
    method = await shop.card(who.id, "insufficient_funds")
    await shop.stripe.customers.update_async(who.id, {"invoice_settings": {"default_payment_method": method}})
    draft = await shop.stripe.invoices.create_async({"customer": who.id, "auto_advance": False})
    await shop.stripe.invoice_items.create_async(
        {"customer": who.id, "invoice": draft.id, "amount": 500, "currency": "usd"}
    )
    await shop.stripe.invoices.finalize_invoice_async(draft.id)
    case = await shop.open(draft.id)
    assert (await shop.run(shop.billing.suspend, order(case.ref, Suspend()))).result == "done"
    record = await shop.ledger.suspensions.active("", draft.id)
    assert record is not None
    assert (record.how, record.invoices) == ("event_only", (draft.id,))
    cancel = await shop.run(shop.billing.cancel_subscription, order(case.ref, CancelSubscription()))
    assert (cancel.result, cancel.detail) == ("not_needed", "the invoice has no subscription")


async def test_who_has_paid_is_not_suspended(shop: Shop) -> None:
    renewal, case = await opened(shop)
    await shop.pay_by_hand(renewal.invoice)
    done = await shop.run(shop.billing.suspend, order(case.ref, Suspend()))
    assert (done.result, done.invoice and done.invoice.status) == ("not_needed", "paid")
    assert await paused(shop, renewal.subscription) is None


async def test_a_subscription_that_somebody_canceled_is_not_suspended(shop: Shop) -> None:
    renewal, case = await opened(shop)
    await shop.stripe.subscriptions.cancel_async(renewal.subscription)
    done = await shop.run(shop.billing.suspend, order(case.ref, Suspend()))
    assert (done.result, done.detail) == ("not_needed", "the subscription is canceled already")
    assert done.invoice is not None
    assert done.invoice.subscription_status == "canceled"


async def test_who_was_never_suspended_needs_no_restoration(shop: Shop) -> None:
    _, case = await opened(shop)
    assert (await shop.run(shop.billing.restore, order(case.ref, Restore()))).result == "not_needed"


async def test_a_payment_of_a_suspended_and_closed_case_opens_an_episode_that_restores(shop: Shop) -> None:
    renewal, case = await opened(shop)
    await shop.run(shop.billing.suspend, order(case.ref, Suspend()))
    await shop.close(case, Outcome.WRITTEN_OFF)
    await shop.pay_by_hand(renewal.invoice)
    again = await shop.open(renewal.invoice, run_id="second run")
    assert (again.stage, again.ref.episode) == (Stage.SUSPENDED, 2)
    assert (await shop.run(shop.billing.restore, order(again.ref, Restore()))).result == "done"
    assert await paused(shop, renewal.subscription) is None


# --- held, late, shadow -------------------------------------------------------------------------------

EFFECTS = ["suspend", "restore", "mark_uncollectible", "cancel_subscription"]
ACTIONS: dict[str, Action] = {
    "suspend": Suspend(),
    "restore": Restore(),
    "mark_uncollectible": MarkUncollectible(),
    "cancel_subscription": CancelSubscription(),
}


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("condition", ["held", "too_late", "shadow"])
async def test_nothing_leaves_the_house_when_it_must_not(shop: Shop, effect: str, condition: str) -> None:
    renewal, case = await opened(shop)
    conditions: dict[str, Any] = {"shadow": condition == "shadow"}
    if condition == "held":
        await shop.ledger.switches.halt("kim", "an incident", await shop.control.now())
    if condition == "too_late":
        conditions["not_after"] = before(await shop.control.now())
    before_it = (await shop.control.stripe_books())["events"]
    done = await shop.run(getattr(shop.billing, effect), order(case.ref, ACTIONS[effect], **conditions))
    assert (done.effect, done.result) == (effect, condition)
    assert (await shop.control.stripe_books())["events"] == before_it
    assert await shop.ledger.suspensions.active("", renewal.subscription) is None


# --- the final action ---------------------------------------------------------------------------------


async def test_the_final_action_gives_the_invoice_up_and_ends_the_subscription(shop: Shop) -> None:
    _, case = await opened(shop)
    for _ in range(2):  # the second time the worker had died before it could report
        marked = await shop.run(shop.billing.mark_uncollectible, order(case.ref, MarkUncollectible()))
        canceled = await shop.run(shop.billing.cancel_subscription, order(case.ref, CancelSubscription()))
        assert (marked.result, canceled.result) == ("done", "done")
    invoice = await shop.read(case.ref)
    assert (invoice.status, invoice.subscription_status) == ("uncollectible", "canceled")
    assert len(await own_keys(shop, "invoice.marked_uncollectible")) == 1
    assert len((await shop.control.stripe_books())["invoices"]) == 2  # no last invoice was made


@pytest.mark.parametrize("effect", ["mark_uncollectible", "cancel_subscription"])
async def test_who_paid_in_time_loses_nothing(shop: Shop, effect: str) -> None:
    renewal, case = await opened(shop)
    await shop.pay_by_hand(renewal.invoice)
    done = await shop.run(getattr(shop.billing, effect), order(case.ref, ACTIONS[effect]))
    assert (done.result, done.invoice and done.invoice.status) == ("not_needed", "paid")
    assert (await shop.read(case.ref)).subscription_status == "active"


@pytest.mark.parametrize("effect", ["mark_uncollectible", "cancel_subscription"])
async def test_a_final_action_whose_answer_got_lost_is_found_done(shop: Shop, effect: str) -> None:
    _, case = await opened(shop)
    path = r"/mark_uncollectible$" if effect == "mark_uncollectible" else UPDATE
    method = "POST" if effect == "mark_uncollectible" else "DELETE"
    await shop.control.fault("status_after", service="stripe", method=method, path=path, times=1)
    await shop.control.fault("drop_before", service="stripe", method=method, path=path, times=2)
    with pytest.raises(ApplicationError):
        await shop.run(getattr(shop.billing, effect), order(case.ref, ACTIONS[effect]))
    done = await shop.run(getattr(shop.billing, effect), order(case.ref, ACTIONS[effect]), attempt=2)
    assert done.detail.endswith("already")


# --- other ways to suspend ----------------------------------------------------------------------------


async def status_of(shop: Shop, subscription: str) -> str:
    return (await shop.stripe.subscriptions.retrieve_async(subscription)).status


async def test_stripes_own_pause_credits_nothing_and_its_end_bills_anew(shop: Shop) -> None:
    renewal, case = await opened(shop)
    how = order(case.ref, Suspend(how="pause_subscription"))
    assert (await shop.run(shop.billing.suspend, how)).detail == ""
    assert await status_of(shop, renewal.subscription) == "paused"
    assert (await shop.run(shop.billing.suspend, how, attempt=2)).result == "done"
    (asked,) = await shop.control.requests(service="stripe", path=r"/v1/subscriptions/[^/]+/pause$")
    assert "bill_for[unused_time_from][type]" in str(asked)

    before_it = {
        row.id for row in (await shop.stripe.invoices.list_async({"customer": renewal.customer})).data
    }
    await shop.pay_by_hand(renewal.invoice)
    done = await shop.run(shop.billing.restore, order(case.ref, Restore()))
    assert "a new period begins" in done.detail
    assert await status_of(shop, renewal.subscription) != "paused"
    after = {row.id for row in (await shop.stripe.invoices.list_async({"customer": renewal.customer})).data}
    assert len(after - before_it) == 1


async def test_a_subscription_that_ends_by_itself_is_not_paused_but_its_collection_is(shop: Shop) -> None:
    renewal, case = await opened(shop)
    await shop.stripe.subscriptions.update_async(renewal.subscription, {"cancel_at_period_end": True})
    done = await shop.run(shop.billing.suspend, order(case.ref, Suspend(how="pause_subscription")))
    assert done.detail == "it ends by itself, so Stripe cannot pause it: its collection is paused instead"
    assert await paused(shop, renewal.subscription) == {"behavior": "void"}
    ended = await shop.run(shop.billing.cancel_subscription, order(case.ref, CancelSubscription()))
    assert "ends by itself on" in ended.detail
    assert await status_of(shop, renewal.subscription) != "canceled"


async def test_a_suspension_by_cancellation_is_final_also_when_its_answer_got_lost(shop: Shop) -> None:
    renewal, case = await opened(shop)
    how = order(case.ref, Suspend(how="cancel"))
    done = await shop.run(shop.billing.suspend, how)
    assert (done.result, done.ended) == ("done", True)
    assert await status_of(shop, renewal.subscription) == "canceled"
    again = await shop.run(shop.billing.suspend, how, attempt=2)
    assert (again.result, again.ended) == ("done", True)
    await shop.pay_by_hand(renewal.invoice)
    restored = await shop.run(shop.billing.restore, order(case.ref, Restore()))
    assert "has ended" in restored.detail


def test_which_subscriptions_stripe_can_pause() -> None:
    flexible = Subscription.model_validate(
        {"id": "s", "status": "active", "billing_mode": {"type": "flexible"}}
    )
    classic = flexible.model_copy(update={"billing_mode": None})
    scheduled = flexible.model_copy(update={"schedule": "sub_sched_1"})
    sent = flexible.model_copy(update={"collection_method": "send_invoice"})
    assert possible("pause_subscription", flexible) == ("pause_subscription", "")
    for other, why in (
        (classic, "billing mode is classic"),
        (scheduled, "schedule"),
        (sent, "sent, not charged"),
    ):
        how, detail = possible("pause_subscription", other)
        assert how == "pause_collection"
        assert why in detail
    assert possible("cancel", None)[0] == "event_only"
