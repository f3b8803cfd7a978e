"""Cards that expire before their charge: what is read at Stripe, and what is said or not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from activities.cards import StripeCards
from dunning.case import CaseRef, MessageSent
from dunning.decision import NextCharge, Order, Send
from dunning.expiry.card import CardFacts, CardOpened, CardOpenOrder, CardOrder, CardStart, CardState
from dunning.values import Channel
from tests.activities.shop import Shop

DAY = timedelta(days=1)


@dataclass
class Subscriber:
    """A monthly subscriber whose card is valid through this month only."""

    customer: str
    method: str
    subscription: str
    expiry: str


async def subscriber(shop: Shop, *, on: str = "subscription", **customer: Any) -> Subscriber:
    now = await shop.control.now()
    profile = {"email": "ada@customer.example", "name": "Ada Example", **customer}
    who = await shop.stripe.customers.create_async(profile)  # type: ignore[arg-type]
    method = await card(shop, who.id, now.year, now.month)
    if on == "customer":
        await default(shop, who.id, method)
    price = await shop.stripe.prices.create_async(
        {"currency": "usd", "unit_amount": 1900, "recurring": {"interval": "month"},
         "product_data": {"name": "Pro"}}
    )  # fmt: skip
    given: Any = {"customer": who.id, "items": [{"price": price.id}]}
    if on == "subscription":
        given["default_payment_method"] = method
    subscription = await shop.stripe.subscriptions.create_async(given)
    return Subscriber(who.id, method, subscription.id, f"{now.year:04d}-{now.month:02d}")


async def card(shop: Shop, customer: str, year: int, month: int) -> str:
    given: Any = {"token": "tok_visa", "exp_year": year, "exp_month": month}
    method = await shop.stripe.payment_methods.create_async({"type": "card", "card": given})
    await shop.stripe.payment_methods.attach_async(method.id, {"customer": customer})
    return method.id


async def default(shop: Shop, customer: str, method: str) -> None:
    settings: Any = {"default_payment_method": method}
    await shop.stripe.customers.update_async(customer, {"invoice_settings": settings})


async def opened(shop: Shop, who: Subscriber, *, run: str = "run", **start: Any) -> CardOpened:
    order = CardOpenOrder(
        start=CardStart(payment_method_id=who.method, **start),
        workflow_id=f"card-expiry/{who.method}/{who.expiry}",
        run_id=run,
    )
    return await shop.run(StripeCards(shop.deps).open_card_case, order)


async def case(shop: Shop, who: Subscriber) -> CardState:
    state = (await opened(shop, who)).state
    assert state is not None
    return state


async def read(shop: Shop, state: CardState, later: timedelta = timedelta()) -> CardFacts:
    order = CardOrder(ref=state.ref)
    return (await shop.run(StripeCards(shop.deps).read_card, order, later=later)).card


async def say(shop: Shop, state: CardState, channel: Channel = Channel.EMAIL, **more: Any) -> MessageSent:
    ref, at = state.ref, state.charge_at
    send = Send(
        step="card_expiring",
        template="card_expiring",
        channel=channel,
        charge=NextCharge(at=at, on=at.date(), method=ref.method, expiry=ref.expiry),
    )
    order = Order(ref=CaseRef(case_id=ref.case_id, invoice_id=""), action=send, policy="standard", **more)
    sender = shop.email.send_email if channel is Channel.EMAIL else shop.sms.send_sms
    return await shop.run(sender, order)


class TestOpening:
    @pytest.mark.parametrize("place", ["subscription", "customer"])
    async def test_a_card_that_stripe_would_charge(self, shop: Shop, place: str) -> None:
        who = await subscriber(shop, on=place)

        state = await case(shop, who)

        assert state.ref.case_id == f"card/acct/{who.method}/{who.expiry}/1"
        assert state.card.customer == who.customer
        assert [r.subscription for r in state.card.renewals] == [who.subscription]
        assert state.charge_at == state.card.renewals[0].at

    async def test_one_case_for_many_subscriptions(self, shop: Shop) -> None:
        who = await subscriber(shop, on="customer")
        found = await shop.stripe.subscriptions.retrieve_async(who.subscription)
        price = found["items"]["data"][0]["price"]["id"]
        await shop.stripe.subscriptions.create_async({"customer": who.customer, "items": [{"price": price}]})

        assert len((await case(shop, who)).card.renewals) == 2

    async def test_an_earlier_place_in_stripes_order_makes_it_needless(self, shop: Shop) -> None:
        """The customer's default expires, but the subscription has a card of its own."""
        who = await subscriber(shop)
        now = await shop.control.now()
        dying = await card(shop, who.customer, now.year, now.month)
        await default(shop, who.customer, dying)

        refused = (await opened(shop, Subscriber(who.customer, dying, "", ""))).refused

        assert "no charge falls after" in refused
        assert (await opened(shop, who)).state is not None

    async def test_a_backup_that_works_makes_it_needless(self, shop: Shop) -> None:
        who = await subscriber(shop)
        backup = await card(shop, who.customer, 2040, 1)
        await default(shop, who.customer, backup)

        assert f"another payment method ({backup})" in (await opened(shop, who)).refused

    async def test_the_same_run_gets_the_same_case_and_another_workflow_none(self, shop: Shop) -> None:
        who = await subscriber(shop)
        first, again = await opened(shop, who), await opened(shop, who)
        order = CardOpenOrder(start=CardStart(payment_method_id=who.method), workflow_id="other", run_id="r")
        other = await shop.run(StripeCards(shop.deps).open_card_case, order)

        assert first.state is not None
        assert again.state is not None
        assert first.state.ref == again.state.ref
        assert "works on this card already" in other.refused

    async def test_a_card_that_stripe_does_not_know(self, shop: Shop) -> None:
        assert "no card that expires" in (await opened(shop, Subscriber("", "pm_none", "", ""))).refused

    async def test_a_policy_that_does_not_exist(self, shop: Shop) -> None:
        with pytest.raises(ApplicationError, match="no policy called"):
            await opened(shop, await subscriber(shop), policy="none")


class TestReading:
    async def test_after_the_network_renewed_it(self, shop: Shop) -> None:
        who = await subscriber(shop)
        state = await case(shop, who)
        await shop.control.automatic_update(who.method, 5, 2040)

        assert (await read(shop, state)).expiry == "2040-05"

    async def test_after_it_was_removed(self, shop: Shop) -> None:
        who = await subscriber(shop)
        state = await case(shop, who)
        await shop.stripe.payment_methods.detach_async(who.method)

        facts = await read(shop, state)

        assert facts.expiry is None
        assert [r.method for r in facts.renewals] == [None]

    async def test_a_subscription_that_ends_charges_nothing(self, shop: Shop) -> None:
        who = await subscriber(shop)
        state = await case(shop, who)
        await shop.stripe.subscriptions.update_async(who.subscription, {"cancel_at_period_end": True})

        assert [r.charges for r in (await read(shop, state)).renewals] == [False]


class TestMessage:
    async def test_names_the_card_its_last_month_and_the_day(self, shop: Shop) -> None:
        state = await case(shop, await subscriber(shop, preferred_locales=["en"]))

        sent = await say(shop, state)

        [mail] = await shop.control.messages(channel="email")
        last_month = datetime.strptime(state.ref.expiry, "%Y-%m").strftime("%B %Y")  # noqa: DTZ007
        assert sent.fate == "accepted"
        assert "ending in 4242" in mail.body
        assert last_month in mail.body
        assert f"{state.charge_at:%B} {state.charge_at.day}" in mail.body

    async def test_goes_out_once(self, shop: Shop) -> None:
        state = await case(shop, await subscriber(shop))

        assert [(await say(shop, state)).fate for _ in range(2)] == ["accepted", "accepted"]
        assert len(await shop.control.messages(channel="email")) == 1

    @pytest.mark.parametrize("what", ["renewed", "replaced", "backup", "removed", "canceled", "ending"])
    async def test_is_not_sent_when_stripe_shows_that_it_is_needless(self, shop: Shop, what: str) -> None:
        who = await subscriber(shop)
        state = await case(shop, who)
        if what == "renewed":
            await shop.control.automatic_update(who.method, 5, 2040)
        elif what in ("replaced", "backup"):
            other = await card(shop, who.customer, 2040, 1)
            await default(shop, who.customer, other)
            if what == "replaced":
                given: Any = {"default_payment_method": other}
                await shop.stripe.subscriptions.update_async(who.subscription, given)
        elif what == "removed":
            await shop.stripe.payment_methods.detach_async(who.method)
        elif what == "canceled":
            await shop.stripe.subscriptions.cancel_async(who.subscription)
        else:
            await shop.stripe.subscriptions.update_async(who.subscription, {"cancel_at_period_end": True})

        assert (await say(shop, state)).fate == "not_needed"
        assert await shop.control.messages(channel="email") == []

    async def test_is_not_sent_while_an_invoice_of_the_customer_is_dunned(self, shop: Shop) -> None:
        who = await subscriber(shop)
        state = await case(shop, who)
        await shop.ledger.cases.claim(
            account="", invoice_id="in_1", workflow_id="w", run_id="r", customer=who.customer,
            subscription=None, currency="usd", amount=1, policy_name="standard", policy_version="1",
            at=await shop.control.now(),
        )  # fmt: skip

        assert (await say(shop, state)).fate == "not_needed"
        assert (await read(shop, state)).dunned

    async def test_keeps_to_consent_halt_and_shadow(self, shop: Shop) -> None:
        state = await case(shop, await subscriber(shop, phone="+15005550123"))

        assert (await say(shop, state, Channel.SMS)).fate == "unreachable"
        assert (await say(shop, state, shadow=True)).fate == "shadow"
        await shop.ledger.switches.halt("ops", "test", await shop.control.now())
        assert (await say(shop, state, Channel.SMS)).fate == "held"
