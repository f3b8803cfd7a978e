"""Links to the customer's page and what customers say there, as the ledger keeps them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dunning.values import Channel
from ledger import Ledger, NotInLedger
from tests.ledger.acts import DAY, NOW, claim_case


async def make(ledger: Ledger, digest: str = "d1", case_id: str = "acct/in_1/1") -> bool:
    return await ledger.links.make(
        digest,
        purpose="page",
        case_id=case_id,
        account="",
        customer="cus_1",
        channel=Channel.EMAIL,
        at=NOW,
        expires_at=NOW + 30 * DAY,
    )


async def test_a_link_is_made_once_and_opens_until_it_expires(ledger: Ledger) -> None:
    await claim_case(ledger)
    assert await make(ledger)
    assert not await make(ledger)
    link = await ledger.links.find("d1")
    assert link is not None
    assert link.opens(NOW + 30 * DAY - timedelta(seconds=1))
    assert not link.opens(NOW + 30 * DAY)
    assert await ledger.links.find("d2") is None


async def test_revoking_ends_all_links_of_a_case_and_no_other(ledger: Ledger) -> None:
    await claim_case(ledger)
    await claim_case(ledger, "in_2")
    for digest, case_id in (("d1", "acct/in_1/1"), ("d2", "acct/in_1/1"), ("d3", "acct/in_2/1")):
        await make(ledger, digest, case_id)
    assert await ledger.links.revoke("acct/in_1/1", NOW) == 2
    assert await ledger.links.revoke("acct/in_1/1", NOW) == 0
    opens = [link.opens(NOW) for d in ("d1", "d2", "d3") if (link := await ledger.links.find(d))]
    assert opens == [False, False, True]


async def test_uses_are_counted(ledger: Ledger) -> None:
    await claim_case(ledger)
    await make(ledger)
    for _ in range(3):
        await ledger.links.used("d1")
    link = await ledger.links.find("d1")
    assert link is not None
    assert link.uses == 3


async def test_no_link_without_a_case(ledger: Ledger) -> None:
    with pytest.raises(NotInLedger):
        await make(ledger)


async def test_a_survey_sent_twice_is_one_answer(ledger: Ledger) -> None:
    await claim_case(ledger)
    said = {"case_id": "acct/in_1/1", "account": "", "customer": "cus_1", "at": NOW}
    assert await ledger.surveys.add("form-1", **said, reason="too_expensive", text="no")  # type: ignore[arg-type]
    assert not await ledger.surveys.add("form-1", **said, reason="not_needed", text="")  # type: ignore[arg-type]
    (answer,) = await ledger.surveys.of_case("acct/in_1/1")
    assert (answer.reason, answer.text) == ("too_expensive", "no")
