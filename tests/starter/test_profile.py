"""A customer in one view, also one of whom nothing has failed yet."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ledger import Ledger
from starter.errors import CaseNotFound
from starter.profile import profile
from tests.ledger.acts import NOW, claim_case, claim_message, said, summary
from tests.ledger.test_cards import claim as claim_card
from tests.ledger.test_cards import remember


async def test_what_was_said_before_a_charge_is_part_of_it(ledger: Ledger) -> None:
    with pytest.raises(CaseNotFound):
        await profile(ledger, "", "cus_1")
    card = await claim_card(ledger)
    await remember(ledger, card, "told in time")
    await claim_message(ledger, step="card_expiring", case_id=card.id)
    renews = datetime(2026, 4, 1, tzinfo=UTC)
    await ledger.reminders.claim(
        account="", subscription="sub_1", charge_at=renews, workflow_id="renewal", run_id="run-1",
        customer="cus_1", policy_name="standard", policy_version="1", at=NOW,
    )  # fmt: skip
    await ledger.risks.told(account="", customer="cus_1", kind="paused", key="e", at=NOW, by="stripe")

    found = await profile(ledger, "", "cus_1", timelines=True)

    assert found["cases"] == []
    assert [(c["method"], [line["text"] for line in c["timeline"]]) for c in found["cards"]] == [
        ("pm_1", ["told in time"])
    ]
    assert [(r["subscription"], r["charge_at"]) for r in found["reminders"]] == [
        ("sub_1", renews.isoformat())
    ]
    assert [sent["step"] for sent in found["messages"]] == ["card_expiring"]
    assert [told["kind"] for told in found["signals"]] == ["paused"]


async def test_a_case_tells_its_lines_only_when_asked(ledger: Ledger) -> None:
    case = await claim_case(ledger)
    await ledger.cases.remember(case.case_id, 0, said("opened"), summary())
    [told] = (await profile(ledger, "", "cus_1"))["cases"]
    assert "timeline" not in told
