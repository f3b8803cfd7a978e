"""A card that expires before its charge, on a real server: what is said, what ends it, what comes after."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from activities.interface import TASK_QUEUE
from dunning.expiry.view import CardStatus
from tests.fixtures.case import Case
from tests.fixtures.engine import Engine
from tests.workflows.conftest import Record
from workflows.ids import card_expiry_id, card_of

DAY = timedelta(days=1)


@dataclass
class Card:
    """A subscriber whose card is valid through this month, and whose next charge comes after it."""

    engine: Engine
    method: str
    customer: str
    subscription: str
    email: str
    charge_at: datetime
    workflow_id: str

    @property
    def handle(self) -> WorkflowHandle[Any, Any]:
        return self.engine.temporal.get_workflow_handle(self.workflow_id)

    async def at(self, moment: datetime) -> None:
        """Let the world's time pass."""
        await self.engine.time.advance(moment, [self.workflow_id])

    async def status(self) -> CardStatus:
        return CardStatus.model_validate(await self.handle.query("status"))

    async def result(self) -> dict[str, Any]:
        found: dict[str, Any] = await self.handle.result()
        return found

    async def texts(self) -> list[str]:
        case = (await self.engine.ledger.cards.concerned("", method=self.method)) or ()
        return [entry.text for entry in await self.engine.ledger.cases.entries(case[0].id)]


async def dying_card(engine: Engine, *outcomes: str, start: bool = True) -> Card:
    now = await engine.now()
    customer, email = await engine.customer()
    method = await engine.card(customer, "succeeded", *(outcomes or ("expired_card",)))
    given: Any = {"exp_year": now.year, "exp_month": now.month}
    await engine.stripe.payment_methods.update_async(method, {"card": given})
    subscription = await engine.subscription(customer)
    found = await engine.stripe.subscriptions.retrieve_async(subscription)
    end = found["items"]["data"][0]["current_period_end"]
    workflow_id = card_expiry_id(method, f"{now:%Y-%m}")
    card = Card(
        engine, method, customer, subscription, email, datetime.fromtimestamp(end, now.tzinfo), workflow_id
    )
    if start:
        await engine.temporal.start_workflow(
            "CardExpiry", {"payment_method_id": method}, id=workflow_id, task_queue=TASK_QUEUE
        )
        await engine.time.settle([workflow_id])
    return card


async def said(engine: Engine, email: str) -> list[str]:
    mails = await engine.control.messages(channel="email", to=email)
    return [mail.subject or "" for mail in mails]


async def test_told_twice_then_charged_in_vain_and_not_told_again(engine: Engine, record: Record) -> None:
    card = await dying_card(engine)
    await card.at(card.charge_at - 13 * DAY)
    assert len(await said(engine, card.email)) == 1
    await card.at(card.charge_at - 2 * DAY)
    assert len(await said(engine, card.email)) == 2

    await card.at(card.charge_at)
    invoice: Case = await engine.renewal(card.customer, card.subscription, card.email)
    await engine.settle()
    await card.at(card.charge_at + timedelta(hours=3))

    assert (await card.result())["outcome"] == "expired"
    await record(card, "card_expired")
    told = (await invoice.timeline())[0].text
    assert "that the card expires: first notice is not repeated" in told
    assert len(await said(engine, card.email)) == 2  # nothing within minutes, as for other hard declines


async def test_renewed_by_the_network_it_ends_within_seconds(engine: Engine, record: Record) -> None:
    card = await dying_card(engine)

    await engine.control.automatic_update(card.method, 5, 2040)
    await engine.control.drain()

    result = await card.result()
    assert result == {"outcome": "updated", "reason": "the card was renewed: it expires in 2040-05 now"}
    await record(card, "card_updated")
    assert await said(engine, card.email) == []


async def test_removed_without_a_word_of_whose_it_was_it_ends_too(engine: Engine) -> None:
    card = await dying_card(engine)

    await engine.stripe.payment_methods.detach_async(card.method)
    await engine.control.drain()

    assert (await card.result())["outcome"] == "ended"


async def test_what_arrives_malformed_is_refused_and_does_no_harm(engine: Engine) -> None:
    card = await dying_card(engine)
    await card.handle.signal("stop", args=[1, 2, 3])
    await card.handle.signal("grant_extension", {"days": 7})
    await card.handle.signal("billing_event", "garbage")
    with pytest.raises(WorkflowUpdateFailedError) as refusal:
        await card.handle.execute_update("stop", {"by": "kim"})
    assert isinstance(refusal.value.cause, ApplicationError)
    assert "reason: Field required" in refusal.value.cause.message
    assert sum("refused" in text for text in await card.texts()) == 3
    assert (await card.status()).payment_method_id == card.method

    answer = await card.handle.execute_update("stop", {"reason": "they called", "by": "kim"})

    assert answer == {"accepted": True, "text": "stopped: they called"}
    assert (await card.result())["outcome"] == "ended"


async def test_a_card_that_needs_no_case_and_an_input_that_is_none(engine: Engine) -> None:
    customer, _ = await engine.customer()
    method = await engine.card(customer, "succeeded")
    await engine.subscription(customer)

    async def run(given: Any) -> Any:
        return await engine.temporal.execute_workflow(
            "CardExpiry", given, id=card_expiry_id(method, "x"), task_queue=TASK_QUEUE
        )

    assert "no charge falls after the last day" in (await run({"payment_method_id": method}))["reason"]
    with pytest.raises(WorkflowFailureError) as failure:
        await run({"invoice_id": "in_1"})
    assert "invoice_id: is not a field of the input" in str(failure.value.cause)


def test_the_workflow_id_names_card_and_expiry() -> None:
    assert card_of(card_expiry_id("pm_1", "2031-09")) == ("pm_1", "2031-09")
    assert card_of("invoice-dunning/in_1") is None
    assert card_of("card-expiry/pm_1") is None
