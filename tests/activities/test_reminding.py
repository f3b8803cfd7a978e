"""The reminder before a renewal: what is read at Stripe, what goes out, and what a scan finds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from activities.reminding import Reminding
from activities.scanning import CardScan
from dunning.case import MessageSent
from dunning.expiry.scan import ScanOrder, ScanPage
from dunning.renewals.reminder import ReminderOutcome, ReminderQuestion, ReminderStart, ReminderStep
from starter.profile import profile
from tests.activities.shop import Shop

DAY = timedelta(days=1)
YEAR = 365 * DAY


async def subscriber(shop: Shop, *, interval: str = "year", **customer: Any) -> tuple[str, str]:
    """Customer and subscription of 120.00 EUR, with a card that lives long."""
    profile = {"email": "ada@customer.example", "name": "Ada Example", **customer}
    who = await shop.stripe.customers.create_async(profile)  # type: ignore[arg-type]
    given: Any = {"token": "tok_visa", "exp_year": 2060, "exp_month": 12}
    method = await shop.stripe.payment_methods.create_async({"type": "card", "card": given})
    await shop.stripe.payment_methods.attach_async(method.id, {"customer": who.id})
    price = await shop.stripe.prices.create_async(
        {"currency": "eur", "unit_amount": 12000, "recurring": {"interval": interval},
         "product_data": {"name": "Pro"}}
    )  # fmt: skip
    wanted: Any = {"customer": who.id, "items": [{"price": price.id}], "default_payment_method": method.id}
    return who.id, (await shop.stripe.subscriptions.create_async(wanted)).id


async def look(shop: Shop, subscription: str, before: timedelta, **question: Any) -> ReminderStep:
    """Look at a renewal so long before its charge."""
    found = await shop.stripe.subscriptions.retrieve_async(subscription)
    now = (await shop.control.now()).timestamp()
    ahead = timedelta(seconds=found["items"]["data"][0]["current_period_end"] - now)
    asked = {"workflow_id": f"renewal-reminder/{subscription}", "run_id": "run"} | question
    order = ReminderQuestion(start=ReminderStart(subscription_id=subscription), **asked)
    return await shop.run(Reminding(shop.deps).look_at_renewal, order, later=ahead - before)


async def send(shop: Shop, step: ReminderStep, before: timedelta) -> MessageSent:
    assert step.order is not None
    assert step.ref is not None
    later = step.ref.charge_at - await shop.control.now() - before
    return await shop.run(shop.email.send_email, step.order, later=later)


async def test_a_yearly_customer_is_told_what_will_be_taken_and_when(shop: Shop) -> None:
    _, subscription = await subscriber(shop)
    assert (await look(shop, subscription, 15 * DAY)).until is not None

    due = await look(shop, subscription, 14 * DAY)
    sent = await send(shop, due, 14 * DAY)
    ended = await look(shop, subscription, 14 * DAY, ref=due.ref, policy=due.policy, heard=(sent,))

    assert (sent.fate, ended.outcome) == ("accepted", ReminderOutcome.REMINDED)
    (mail,) = await shop.control.messages(channel="email")
    assert mail.subject is not None
    assert "renews on" in mail.subject
    assert "€120.00" in (mail.body or "")
    (known,) = await shop.ledger.reminders.of_customer("", str(ended.facets["DunningCustomer"]))
    assert (known.outcome, known.closed_reason) == (ReminderOutcome.REMINDED, "everything is said")


async def test_the_same_charge_is_never_reminded_of_twice(shop: Shop) -> None:
    _, subscription = await subscriber(shop)
    first = await look(shop, subscription, 14 * DAY)
    assert first.order is not None

    again = await look(shop, subscription, 13 * DAY, run_id="a later one")
    assert again.order is not None, "the first run was terminated before it ended"
    stopped = await look(shop, subscription, 13 * DAY, ref=first.ref, policy="standard", canceled=True)
    assert stopped.outcome is ReminderOutcome.STOPPED
    once_more = await look(shop, subscription, 12 * DAY, run_id="the last one")

    assert (once_more.outcome, once_more.order) == (ReminderOutcome.NOT_NEEDED, None)
    assert once_more.reason == "this charge had its reminder already: canceled in Temporal"


async def test_a_subscription_that_ends_meanwhile_is_not_reminded_of(shop: Shop) -> None:
    _, subscription = await subscriber(shop)
    due = await look(shop, subscription, 14 * DAY)
    await shop.stripe.subscriptions.update_async(subscription, {"cancel_at_period_end": True})

    sent = await send(shop, due, 14 * DAY)

    assert sent.fate == "not_needed"
    assert await shop.control.messages(channel="email") == []


async def test_who_unsubscribed_from_reminders_gets_none(shop: Shop) -> None:
    customer, subscription = await subscriber(shop)
    due = await look(shop, subscription, 14 * DAY)
    await shop.ledger.consents.set(
        account="", customer=customer, channel="email", group="optional", state="revoked",
        source="unsubscribe", at=await shop.control.now(), by="customer", text="",
    )  # fmt: skip

    sent = await send(shop, due, 14 * DAY)

    assert (sent.fate, sent.detail) == ("unreachable", "the customer unsubscribed from reminders")


@pytest.mark.parametrize(("interval", "wanted"), [("year", True), ("month", False)])
async def test_the_daily_scan_finds_whom_the_policy_names(shop: Shop, interval: str, wanted: bool) -> None:
    _, subscription = await subscriber(shop, interval=interval)
    period = YEAR if interval == "year" else 28 * DAY

    page = await scan(shop, period - 13 * DAY)

    assert page.found == ()
    assert page.renewals == ((subscription,) if wanted else ())


async def test_a_second_scan_names_no_renewal_twice(shop: Shop) -> None:
    _, subscription = await subscriber(shop)
    assert (await scan(shop, YEAR - 13 * DAY)).renewals == (subscription,)
    await look(shop, subscription, 13 * DAY)

    assert (await scan(shop, YEAR - 12 * DAY)).renewals == ()


async def scan(shop: Shop, later: timedelta) -> ScanPage:
    return await shop.run(CardScan(shop.deps).scan_page, ScanOrder(status="active"), later=later)


async def test_the_customers_profile_tells_of_the_reminder_and_its_message(shop: Shop) -> None:
    customer, subscription = await subscriber(shop)
    due = await look(shop, subscription, 14 * DAY)
    sent = await send(shop, due, 14 * DAY)
    await look(shop, subscription, 14 * DAY, ref=due.ref, policy=due.policy, heard=(sent,))

    known = await profile(shop.ledger, "", customer)

    (reminder,) = known["reminders"]
    assert (reminder["subscription"], reminder["outcome"]) == (subscription, "reminded")
    assert [(one["step"], one["fate"]) for one in known["messages"]] == [("renewal_upcoming", "accepted")]
    assert known["cases"] == []
