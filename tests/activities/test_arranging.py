"""Who charges an invoice, and with what: Stripe's own retries off and on, a replaced default moved."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from temporalio.exceptions import ApplicationError

from dunning.case import CaseState
from dunning.decision import GiveBack, MoveDefault, TakeOver
from tests.activities.shop import Renewal, Shop, before, order

INVOICE = r"/v1/invoices/[^/]+$"
SUBSCRIPTION = r"/v1/subscriptions/[^/]+$"


async def opened(shop: Shop) -> tuple[Renewal, CaseState]:
    renewal = await shop.renewal("insufficient_funds")
    return renewal, await shop.open(renewal.invoice)


async def told(shop: Shop, renewal: Renewal) -> dict[str, Any]:
    return dict((await shop.stripe.invoices.retrieve_async(renewal.invoice)).to_dict())


async def replaced(shop: Shop, renewal: Renewal) -> str:
    """The customer adds a card in the portal, which becomes the customer's default and no more."""
    new = await shop.card(renewal.customer, "succeeded")
    await shop.stripe.customers.update_async(
        renewal.customer, {"invoice_settings": {"default_payment_method": new}}
    )
    return new


def moving(renewal: Renewal, to: str, set_on: Literal["invoice", "subscription"] = "subscription") -> Any:
    return MoveDefault(set_on=set_on, failed=renewal.method, to=to)


# --- Stripe's own retries -----------------------------------------------------------------------------


async def test_stripe_s_own_retries_are_turned_off_and_given_back_as_found(shop: Shop) -> None:
    renewal, case = await opened(shop)
    assert case.invoice.auto_advance is True
    await shop.control.schedule_retries(renewal.invoice, [await shop.control.now()])

    assert (await shop.run(shop.billing.take_over, order(case.ref, TakeOver()))).result == "done"
    assert (await told(shop, renewal))["auto_advance"] is False
    assert (await told(shop, renewal))["next_payment_attempt"] is None
    kept = await shop.ledger.effects.get(f"{case.ref.case_id}/take_over")
    assert kept is not None
    assert (kept.params, kept.state) == ({"auto_advance": True}, "done")

    assert (await shop.run(shop.billing.give_back, order(case.ref, GiveBack()))).result == "done"
    assert (await told(shop, renewal))["auto_advance"] is True


async def test_a_take_over_whose_answer_got_lost_still_knows_what_was_found(shop: Shop) -> None:
    renewal, case = await opened(shop)
    await shop.control.fault("drop_after", service="stripe", method="POST", path=INVOICE, times=3)
    with pytest.raises(ApplicationError):
        await shop.run(shop.billing.take_over, order(case.ref, TakeOver()))
    assert (await told(shop, renewal))["auto_advance"] is False

    assert (await shop.run(shop.billing.take_over, order(case.ref, TakeOver()), attempt=2)).result == "done"
    given = await shop.run(shop.billing.give_back, order(case.ref, GiveBack(auto_advance=False)))
    assert given.result == "done"
    assert (await told(shop, renewal))["auto_advance"] is True  # the ledger's word counts


async def test_what_stripe_does_not_retry_needs_no_take_over(shop: Shop) -> None:
    renewal, case = await opened(shop)
    await shop.stripe.invoices.update_async(renewal.invoice, {"auto_advance": False})
    assert (await shop.run(shop.billing.take_over, order(case.ref, TakeOver()))).result == "not_needed"
    back = await shop.run(shop.billing.give_back, order(case.ref, GiveBack(auto_advance=False)))
    assert back.result == "not_needed"


async def test_a_paid_invoice_is_nobody_s_any_more(shop: Shop) -> None:
    renewal, case = await opened(shop)
    await shop.pay_by_hand(renewal.invoice)
    new = await replaced(shop, renewal)
    for activity, action in (
        (shop.billing.take_over, TakeOver()),
        (shop.billing.give_back, GiveBack()),
        (shop.billing.move_default, moving(renewal, new)),
    ):
        done = await shop.run(activity, order(case.ref, action))
        assert done.result == "not_needed"
        assert done.invoice is not None
        assert done.invoice.status == "paid"


async def test_shadow_halt_and_lateness_change_nothing(shop: Shop) -> None:
    renewal, case = await opened(shop)
    late = before(await shop.control.now())
    shadow = await shop.run(shop.billing.take_over, order(case.ref, TakeOver(), shadow=True))
    too_late = await shop.run(shop.billing.take_over, order(case.ref, TakeOver(), not_after=late))
    await shop.ledger.switches.halt("kim", "an incident", await shop.control.now())
    held = await shop.run(shop.billing.take_over, order(case.ref, TakeOver()))
    assert (shadow.result, too_late.result, held.result) == ("shadow", "too_late", "held")
    assert (await told(shop, renewal))["auto_advance"] is True


# --- the method -----------------------------------------------------------------------------------------


async def test_a_replaced_card_takes_the_failed_one_s_place_on_the_subscription(shop: Shop) -> None:
    renewal, case = await opened(shop)
    new = await replaced(shop, renewal)
    seen = await shop.read(case.ref)
    assert seen.method is not None
    assert seen.customer_method is not None
    assert (seen.method_set_on, seen.method.id) == ("subscription", renewal.method)
    assert seen.customer_method.id == new

    done = await shop.run(shop.billing.move_default, order(case.ref, moving(renewal, new)))
    assert (done.result, done.detail) == ("done", new)
    after = await shop.read(case.ref)
    assert after.method is not None
    assert (after.method_set_on, after.method.id) == ("subscription", new)


async def test_an_invoice_s_own_card_is_replaced_on_the_invoice(shop: Shop) -> None:
    renewal, case = await opened(shop)
    await shop.stripe.invoices.update_async(renewal.invoice, {"default_payment_method": renewal.method})
    new = await replaced(shop, renewal)
    done = await shop.run(shop.billing.move_default, order(case.ref, moving(renewal, new, "invoice")))
    assert done.result == "done"
    assert (await told(shop, renewal))["default_payment_method"] == new
    held = (await shop.stripe.subscriptions.retrieve_async(renewal.subscription)).to_dict()
    assert held["default_payment_method"] == renewal.method


async def test_a_move_whose_answer_got_lost_is_done_when_tried_again(shop: Shop) -> None:
    renewal, case = await opened(shop)
    new = await replaced(shop, renewal)
    await shop.control.fault("drop_after", service="stripe", method="POST", path=SUBSCRIPTION, times=3)
    with pytest.raises(ApplicationError):
        await shop.run(shop.billing.move_default, order(case.ref, moving(renewal, new)))
    done = await shop.run(shop.billing.move_default, order(case.ref, moving(renewal, new)), attempt=2)
    assert (done.result, done.detail) == ("done", new)


async def test_a_default_that_somebody_changed_meanwhile_is_left_alone(shop: Shop) -> None:
    renewal, case = await opened(shop)
    new, other = await replaced(shop, renewal), await shop.card(renewal.customer, "succeeded")
    await shop.stripe.subscriptions.update_async(renewal.subscription, {"default_payment_method": other})
    done = await shop.run(shop.billing.move_default, order(case.ref, moving(renewal, new)))
    assert done.result == "not_needed"
    assert "left as it is" in done.detail


async def test_a_card_that_is_not_the_customer_s_choice_any_more_is_not_moved(shop: Shop) -> None:
    renewal, case = await opened(shop)
    first = await replaced(shop, renewal)
    await replaced(shop, renewal)
    done = await shop.run(shop.billing.move_default, order(case.ref, moving(renewal, first)))
    assert done.result == "not_needed"
    assert "nothing was moved" in done.detail
