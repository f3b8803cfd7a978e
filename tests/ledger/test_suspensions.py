"""One suspension for a subscription, however many invoices cause it."""

from __future__ import annotations

from typing import Literal

import pytest

from ledger import Ledger, NotInLedger
from ledger.records import SuspensionRecord
from tests.ledger.acts import DAY, NOW, lift, suspend


async def completed(ledger: Ledger, to: Literal["active", "lifted"]) -> SuspensionRecord:
    return await ledger.suspensions.completed(account="", subscription="sub_1", to=to, at=NOW)


async def test_one_invoice_from_suspension_to_restoration(ledger: Ledger) -> None:
    begun = await suspend(ledger, "in_1", {"pause_collection": None})
    assert (begun.first, begun.state, begun.unconfirmed) == (True, "reserved", True)

    active = await completed(ledger, "active")
    assert (active.state, active.unconfirmed) == ("active", False)

    lifting = await lift(ledger, "in_1")
    assert lifting is not None
    assert (lifting.state, lifting.invoices) == ("lifting", ())
    assert lifting.previous == {"pause_collection": None}

    assert (await completed(ledger, "lifted")).state == "lifted"
    assert await ledger.suspensions.active("", "sub_1") is None


async def test_second_invoice_joins_and_the_first_payment_does_not_restore(ledger: Ledger) -> None:
    await suspend(ledger, "in_1", {"pause_collection": None})
    await completed(ledger, "active")

    second = await suspend(ledger, "in_2", {"pause_collection": {"behavior": "void"}})
    assert (second.first, second.state, second.unconfirmed) == (False, "active", False)
    assert second.invoices == ("in_1", "in_2")
    assert second.previous == {"pause_collection": None}

    after_first = await lift(ledger, "in_1")
    assert after_first is not None
    assert (after_first.state, after_first.invoices) == ("active", ("in_2",))

    after_second = await lift(ledger, "in_2")
    assert after_second is not None
    assert (after_second.state, after_second.invoices) == ("lifting", ())


async def test_repeat_after_a_lost_answer_calls_the_provider_again(ledger: Ledger) -> None:
    await suspend(ledger, "in_1", {"pause_collection": None})

    again = await suspend(ledger, "in_1", {"pause_collection": {"behavior": "void"}})

    assert (again.first, again.unconfirmed, again.invoices) == (True, True, ("in_1",))
    assert again.previous == {"pause_collection": None}


async def test_repeated_lift_is_still_to_be_confirmed_and_then_nothing_is_left(ledger: Ledger) -> None:
    await suspend(ledger, "in_1")
    await completed(ledger, "active")
    await lift(ledger, "in_1")

    again = await lift(ledger, "in_1")
    assert again is not None
    assert again.unconfirmed

    await completed(ledger, "lifted")
    assert await lift(ledger, "in_1") is None


async def test_customer_pays_while_the_suspension_is_on_its_way(ledger: Ledger) -> None:
    await suspend(ledger, "in_1")
    await lift(ledger, "in_1")

    late = await completed(ledger, "active")

    assert late.state == "lifting"


async def test_new_failure_while_the_restoration_is_on_its_way(ledger: Ledger) -> None:
    await suspend(ledger, "in_1", {"pause_collection": None})
    await completed(ledger, "active")
    await lift(ledger, "in_1")

    begun = await suspend(ledger, "in_2", {"pause_collection": {"behavior": "void"}})
    late = await completed(ledger, "lifted")

    assert (begun.first, begun.invoices) == (True, ("in_2",))
    assert begun.previous == {"pause_collection": None}
    assert late.state == "reserved"


async def test_suspended_again_after_a_restoration_reads_the_values_anew(ledger: Ledger) -> None:
    await suspend(ledger, "in_1", {"n": 1})
    await completed(ledger, "active")
    await lift(ledger, "in_1")
    await completed(ledger, "lifted")

    again = await suspend(ledger, "in_2", {"n": 2}, at=NOW + DAY)

    assert (again.first, again.state, again.invoices) == (True, "reserved", ("in_2",))
    assert (again.previous, again.begun_at) == ({"n": 2}, NOW + DAY)


async def test_what_was_never_suspended(ledger: Ledger) -> None:
    assert await lift(ledger, "in_1") is None
    assert await ledger.suspensions.active("", "sub_1") is None
    with pytest.raises(NotInLedger, match="sub_1 was never suspended"):
        await completed(ledger, "active")
