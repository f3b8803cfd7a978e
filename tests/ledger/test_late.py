"""What is told of a payment after its case has closed: whose it was, and a line added to the timeline."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dunning.case import Entry
from ledger import Ledger, NotInLedger
from ledger.cases import LATE
from ledger.records import ChargeRecord
from tests.ledger.acts import DAY, NOW, claim_case, closing, complete, reserve, said, summary

CASE = "acct/in_1/1"


def refund(id: str = "re_1", **data: Any) -> Entry:
    """The line of a refund."""
    told = {"id": id, "amount": 500, "currency": "eur", **data}
    return Entry(
        at=NOW + DAY, what="recovery.refunded", text="a payment was refunded", by="stripe", data=told
    )


async def closed(ledger: Ledger) -> None:
    """The first case of in_1 has come and gone."""
    await claim_case(ledger)
    await ledger.cases.remember(CASE, 0, said("opened", "closed"), closing())


async def texts(ledger: Ledger) -> list[str]:
    return [entry.text for entry in await ledger.cases.entries(CASE)]


async def test_a_line_is_added_after_all_others(ledger: Ledger) -> None:
    await closed(ledger)
    assert await ledger.cases.append_entry(CASE, refund(), once="re_1")
    entries = await ledger.cases.entries(CASE)
    assert [entry.text for entry in entries] == ["opened", "closed", "a payment was refunded"]
    assert entries[-1].data == {"id": "re_1", "amount": 500, "currency": "eur"}


async def test_the_same_report_is_added_once_and_others_beside_it(ledger: Ledger) -> None:
    await closed(ledger)
    assert await ledger.cases.append_entry(CASE, refund(), once="re_1")
    assert not await ledger.cases.append_entry(CASE, refund(), once="re_1")
    assert await ledger.cases.append_entry(CASE, refund("re_2"), once="re_2")
    failed = refund().model_copy(update={"what": "recovery.refund_failed"})
    assert await ledger.cases.append_entry(CASE, failed, once="re_1")
    assert len(await texts(ledger)) == 5


async def test_deliveries_at_once_add_one_line(ledger: Ledger) -> None:
    await closed(ledger)
    added = await asyncio.gather(
        *(ledger.cases.append_entry(CASE, refund(), once="re_1") for _ in range(6)),
        *(ledger.cases.append_entry(CASE, refund("re_2"), once="re_2") for _ in range(6)),
    )
    assert sum(added) == 2
    assert len(await texts(ledger)) == 4


async def test_an_open_case_tells_its_story_itself(ledger: Ledger) -> None:
    await claim_case(ledger)
    await ledger.cases.remember(CASE, 0, said("opened"), summary())
    assert not await ledger.cases.append_entry(CASE, refund(), once="re_1")
    assert await texts(ledger) == ["opened"]


async def test_an_unknown_case_is_refused(ledger: Ledger) -> None:
    with pytest.raises(NotInLedger, match="acct/in_9/1"):
        await ledger.cases.append_entry("acct/in_9/1", refund(), once="re_1")


async def test_a_repeat_of_the_last_step_leaves_the_added_line(ledger: Ledger) -> None:
    await closed(ledger)
    await ledger.cases.append_entry(CASE, refund(), once="re_1")
    await ledger.cases.remember(CASE, 0, said("opened", "closed"), closing())
    assert await texts(ledger) == ["opened", "closed", "a payment was refunded"]


async def test_a_claim_counts_on_from_what_the_case_said_itself(ledger: Ledger) -> None:
    await closed(ledger)
    await ledger.cases.append_entry(CASE, refund(), once="re_1")
    again = await claim_case(ledger)
    assert (again.case_id, again.next_seq) == (CASE, 2)
    assert (await ledger.cases.entries(CASE))[-1].seq == LATE


class TestTraces:
    async def test_of_a_charge_of_the_engine(self, ledger: Ledger) -> None:
        await claim_case(ledger)
        await reserve(ledger, charge={"fingerprint": "fp_ours"})
        await complete(ledger, charge_id="ch_ours")
        trace = await ledger.charges.trace("", "ch_ours")
        assert trace is not None
        assert (trace.invoice_id, trace.fingerprint) == ("in_1", "fp_ours")

    async def test_of_a_charge_of_others(self, ledger: Ledger) -> None:
        await ledger.charges.saw(
            ChargeRecord(
                account="acct_9",
                charge_id="ch_theirs",
                invoice_id="in_7",
                at=NOW,
                status="succeeded",
                amount=4900,
                currency="eur",
                scheme="card",
                fingerprint=None,
                expiry=None,
                brand=None,
                funding=None,
                country=None,
                decline_class=None,
                reached_network=True,
                lock=None,
            )
        )
        trace = await ledger.charges.trace("acct_9", "ch_theirs")
        assert trace is not None
        assert (trace.invoice_id, trace.fingerprint) == ("in_7", None)
        assert await ledger.charges.trace("", "ch_theirs") is None

    async def test_of_an_unknown_charge_is_none(self, ledger: Ledger) -> None:
        assert await ledger.charges.trace("", "ch_1") is None
