"""What a case does within seconds when something happens at Stripe, in each of the three modes.

The five seconds are real ones, from the customer's act to the charge in the sandbox's books.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import pytest

from dunning.values import Outcome, RecoveredVia
from tests.fixtures.case import OWN_CALLS, Case
from tests.fixtures.engine import Engine
from tests.fixtures.temporal import eventually
from tests.workflows.deliveries import deliver, pay_on_page

SECONDS = 5.0

Act = Callable[[Engine, Case], Awaitable[None]]


async def owned_by(engine: Engine, owner: str, *outcomes: str, **subscriber: Any) -> Case:
    """A failed renewal whose case goes by a policy of that mode."""
    policy = engine.write_policy(f"mode-{owner}", ("owner: engine ", f"owner: {owner} "))
    return await engine.start(await engine.unannounced(*outcomes, **subscriber), policy=policy)


async def another_invoice(engine: Engine, case: Case, owner: str) -> Case:
    """The next renewal fails as well, and has a case of the same mode."""
    fault = await engine.control.webhook_fault("drop", service="stripe", times=0)
    newer = await engine.renewal(case.customer, case.subscription, case.email)
    await engine.control.drain()
    await engine.control.remove_fault(fault)
    return await engine.start(newer, policy=f"mode-{owner}")


async def only(engine: Engine, *types: str) -> None:
    """Of all that Stripe reports from now on, only these events arrive."""
    named = "|".join(types).replace(".", r"\.")
    await engine.control.webhook_fault(
        "drop", service="stripe", times=0, event=rf'(?m)^  "type": "(?!(?:{named})")[^"]+"'
    )


async def lost(engine: Engine) -> int:
    """How many webhooks were dropped so far."""
    return len(await engine.control.deliveries(state="dropped"))


async def ours(engine: Engine) -> list[dict[str, Any]]:
    """The charges that the engine made, oldest first."""
    books = await engine.control.stripe_books("charges", "doubly_charged")
    assert not books["doubly_charged"]
    return [row for row in books["charges"] if (row["idempotency_key"] or "").startswith(OWN_CALLS)]


async def seconds_until(engine: Engine, charges: int, act: Awaitable[None]) -> float:
    """Real seconds from the act until so many charges of the engine stand in the books."""
    begun = monotonic()
    await act

    async def charged() -> bool:
        return len(await ours(engine)) >= charges

    await eventually(charged, f"{charges} charges of the engine", seconds=3 * SECONDS)
    return monotonic() - begun


async def attached(engine: Engine, customer: str) -> str:
    """A card that works, attached; nothing says yet that it shall be used."""
    method = await engine.stripe.payment_methods.create_async({"type": "card", "card": {"token": "tok_visa"}})
    await engine.stripe.payment_methods.attach_async(method.id, {"customer": customer})
    return method.id


async def make_default(engine: Engine, customer: str, method: str) -> None:
    """The method becomes the one that the customer's invoices are charged to."""
    settings: Any = {"invoice_settings": {"default_payment_method": method}}
    await engine.stripe.customers.update_async(customer, settings)


# --- what customers do -----------------------------------------------------------------------------------


async def new_default_of_the_customer(engine: Engine, case: Case) -> None:
    await make_default(engine, case.customer, await attached(engine, case.customer))


async def new_default_of_the_subscription(engine: Engine, case: Case) -> None:
    method = await attached(engine, case.customer)
    await engine.stripe.subscriptions.update_async(case.subscription, {"default_payment_method": method})


async def card_updater(engine: Engine, case: Case) -> None:
    customer = await engine.stripe.customers.retrieve_async(case.customer)
    assert customer.invoice_settings is not None
    method = str(customer.invoice_settings.default_payment_method)
    await engine.control.automatic_update(method, 11, 2031, outcomes="succeeded")


async def finished_setup(engine: Engine, case: Case) -> None:
    """A page of the business: the card is attached and the default before its set-up is confirmed."""
    method = await attached(engine, case.customer)
    await make_default(engine, case.customer, method)
    await engine.stripe.setup_intents.create_async(
        {"customer": case.customer, "payment_method": method, "confirm": True}
    )


async def attached_before_the_news_of_it(engine: Engine, case: Case) -> None:
    """The events are not in order: the news of the attached card comes when it is the default already."""
    late = r'"type": "payment_method\.attached"'
    await engine.control.webhook_fault("delay", service="stripe", event=late, seconds=0.3)
    await make_default(engine, case.customer, await attached(engine, case.customer))


ACTS: dict[str, Act] = {
    "customer.updated": new_default_of_the_customer,
    "customer.subscription.updated": new_default_of_the_subscription,
    "payment_method.automatically_updated": card_updater,
    "payment_method.attached": attached_before_the_news_of_it,
    "setup_intent.succeeded": finished_setup,
}


# --- a new card ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("owner", ["engine", "shared"])
@pytest.mark.parametrize("event", ACTS)
async def test_a_new_card_is_charged_once_within_seconds_by_this_event_alone(
    engine: Engine, owner: str, event: str
) -> None:
    case = await owned_by(engine, owner, "expired_card")
    before = await lost(engine)
    await only(engine, event)
    assert await seconds_until(engine, 1, ACTS[event](engine, case)) < SECONDS
    await engine.settle()
    assert await lost(engine) > before, "all events arrived"
    assert (await case.calendar())[0] == ["charge succeeded", "email payment_failed", "email recovered"]
    closed = await case.result()
    assert (closed.outcome, closed.recovered_via) == (Outcome.RECOVERED, RecoveredVia.NEW_METHOD)


@pytest.mark.parametrize("event", ACTS)
async def test_a_new_card_waits_for_stripe_where_stripe_charges(engine: Engine, event: str) -> None:
    case = await owned_by(engine, "stripe", "expired_card")
    await ACTS[event](engine, case)
    await case.until(1)
    assert await ours(engine) == []
    assert (await case.status()).stage == "recovering"


async def test_a_card_that_is_attached_and_not_the_default_is_not_charged(engine: Engine) -> None:
    case = await owned_by(engine, "engine", "expired_card")
    await attached(engine, case.customer)
    await engine.settle()
    assert await ours(engine) == []


@pytest.mark.parametrize("owner", ["engine", "shared"])
async def test_a_new_card_pays_every_open_invoice_once_and_the_oldest_first(
    engine: Engine, owner: str
) -> None:
    older = await owned_by(engine, owner, "expired_card")
    newer = await another_invoice(engine, older, owner)
    method = await attached(engine, older.customer)
    await engine.settle()
    for case in (older, newer):
        await case.until(1)  # the clocks of the cases and of the sandbox agree again
    assert await seconds_until(engine, 2, make_default(engine, older.customer, method)) < SECONDS
    await engine.settle()
    assert [row["invoice"] for row in await ours(engine)] == [older.invoice, newer.invoice]
    for case in (older, newer):
        closed = await case.result()
        assert (closed.outcome, closed.recovered_via) == (Outcome.RECOVERED, RecoveredVia.NEW_METHOD)


async def test_every_event_twice_and_out_of_order_charges_once(engine: Engine) -> None:
    case = await owned_by(engine, "engine", "expired_card")
    for kind in ("duplicate", "reorder"):
        await engine.control.webhook_fault(kind, service="stripe", times=0)
    await new_default_of_the_customer(engine, case)
    await engine.control.clear_faults()
    await engine.settle()
    assert [row["invoice"] for row in await ours(engine)] == [case.invoice]
    assert (await case.result()).outcome is Outcome.RECOVERED


# --- at the same instant ---------------------------------------------------------------------------------


async def test_a_customer_who_pays_while_a_charge_is_on_its_way_pays_once(engine: Engine) -> None:
    case = await owned_by(engine, "engine", "expired_card")
    pause = await engine.control.fault("pause", service="stripe", method="POST", path=r"/pay$")
    await new_default_of_the_customer(engine, case)
    await engine.control.held(pause)
    await pay_on_page(engine, case.invoice)
    await engine.control.release(pause)
    await engine.settle()
    assert await ours(engine) == []
    closed = await case.result()
    assert (closed.outcome, closed.recovered_via) == (Outcome.RECOVERED, RecoveredVia.CUSTOMER)
    assert (await case.calendar())[0] == ["email payment_failed", "email recovered"]


async def test_the_same_failure_delivered_many_times_at_once_is_one_case(engine: Engine) -> None:
    case = await engine.unannounced("expired_card")
    books = await engine.control.stripe_books()
    failed = next(
        event
        for event in books["events"]
        if event["type"] == "invoice.payment_failed" and event["data"]["object"]["id"] == case.invoice
    )
    answers = await asyncio.gather(*(deliver(engine, failed) for _ in range(8)))
    assert {answer.json()["result"] for answer in answers} == {"woken"}
    await engine.settle()
    page = await engine.ledger.cases.find(invoice=case.invoice)
    assert [found.episode for found in page.cases] == [1]
    assert await case.calendar() == {0: ["email payment_failed"]}


async def test_a_failure_that_is_told_after_the_payment_opens_nothing(engine: Engine) -> None:
    case = await engine.case("expired_card")
    books = await engine.control.stripe_books()
    failed = next(event for event in books["events"] if event["type"] == "invoice.payment_failed")
    await case.customer_pays()
    assert (await case.result()).outcome is Outcome.RECOVERED
    answer = await deliver(engine, failed)
    assert answer.json()["result"] == "ignored"
    assert answer.json()["why"] == "the case was closed after this event"
    record = await case.record()
    assert record is not None
    assert (record.episode, record.outcome) == (1, Outcome.RECOVERED)
