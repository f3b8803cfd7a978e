"""What the ledger tells of a customer's past, and the risk that is remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from dunning.case import Announcement, Promise
from dunning.risk import Assessment, Flag, Level, RiskRules, assess, rises
from dunning.values import Channel, Outcome
from ledger import Ledger
from ledger.outgoing import Outgoing
from tests.ledger.acts import DAY, NOW, claim_case, closing, complete, reserve, summary


async def test_a_past_of_failures_is_told_with_the_row_behind_each_fact(ledger: Ledger) -> None:
    await claim_case(ledger)
    card = {"fingerprint": "fp_1", "expiry": "2026-03", "funding": "prepaid"}
    for number in (1, 2, 3):
        at = NOW + number * 2 * DAY
        await reserve(ledger, number, at=at, customer="cus_1", charge=card)
        await complete(ledger, number, "succeeded" if number == 3 else "declined", at=at)
    await ledger.cases.remember("acct/in_1/1", 0, [], closing(NOW + 6 * DAY, outcome=Outcome.RECOVERED))
    await ledger.consents.set(
        account="", customer="cus_1", channel=Channel.SMS, state="revoked", source="x", at=NOW, by="customer"
    )
    await ledger.risks.told(
        account="", customer="cus_1", kind="disputed", key="evt_1", at=NOW, by="stripe"
    )

    found = assess(await ledger.risks.history("", "cus_1"), RiskRules(), NOW + 10 * DAY)

    facts = {flag.name: flag.facts for flag in found.flags}
    attempts = tuple(f"attempts/in_1/{number}" for number in (3, 2, 1))
    assert facts["card_expiring"] == facts["prepaid_card"] == attempts[:1]
    assert facts["failed_recently"] == ("cases/acct/in_1/1",)
    assert facts["hard_to_recover"] == ("cases/acct/in_1/1", *attempts)
    assert facts["disputed"] == ("signals/disputed/evt_1",)
    assert [name.split("/")[0] for name in facts["unreachable"]] == ["consents"]
    assert "soft_declines" not in facts  # two are not three
    assert found.level == "high"


async def test_of_the_promises_only_the_broken_ones_count(ledger: Ledger) -> None:
    await claim_case(ledger)
    states: tuple[Any, ...] = ("open", "kept", "broken", "ended")
    promises = tuple(Promise(on=NOW.date(), at=NOW, by="customer", state=state) for state in states)
    await ledger.cases.remember("acct/in_1/1", 0, [], summary(promises=promises))
    broken = (await ledger.risks.history("", "cus_1")).broken_promises
    assert [promise.fact for promise in broken] == ["promises/acct/in_1/1/2"]


async def test_nothing_is_known_of_another_customer(ledger: Ledger) -> None:
    await claim_case(ledger)
    assert assess(await ledger.risks.history("", "cus_2"), RiskRules(), NOW) == Assessment()
    assert assess(await ledger.risks.history("acct_1", "cus_1"), RiskRules(), NOW) == Assessment()


async def test_a_flag_of_the_same_name_replaces_the_one_before(ledger: Ledger) -> None:
    for text, days in (("used half", 1), ("used a third", 2)):
        at = NOW + days * DAY
        await ledger.risks.told(
            account="", customer="cus_1", kind="backend", key="usage", at=at, by="crm", text=text
        )
    [signal] = (await ledger.risks.history("", "cus_1")).signals
    assert (signal.text, signal.at) == ("used a third", NOW + 2 * DAY)


async def test_an_assessment_is_remembered_with_the_level_before_it(ledger: Ledger) -> None:
    flag = Flag(name="disputed", weight=3, text="disputed a payment", facts=("signals/disputed/evt_1",))
    elevated = Assessment(level="elevated", score=3, flags=(flag,))
    assert await ledger.risks.assessed("", "cus_1", elevated, at=NOW) is None
    assert await ledger.risks.assessed("", "cus_1", Assessment(), at=NOW + DAY) == "elevated"
    assert await ledger.risks.assessed("", "cus_2", elevated, at=NOW) is None

    [listed] = await ledger.risks.at_least("elevated")
    assert (listed.customer, listed.flags) == ("cus_2", (flag,))
    assert {record.customer for record in await ledger.risks.at_least("none")} == {"cus_1", "cus_2"}


async def test_all_customers_are_found_a_page_at_a_time(ledger: Ledger) -> None:
    for number in range(3):
        await claim_case(ledger, f"in_{number}", customer=f"cus_{number}", account="acct_1")
    at = NOW - timedelta(days=1)
    await ledger.risks.told(account="", customer="cus_9", kind="paused", key="e", at=at, by="stripe")
    seen: list[tuple[str, str]] = []
    while page := await ledger.risks.customers(seen[-1] if seen else ("", ""), 3):
        seen += page
    assert seen == [("", "cus_9"), *(("acct_1", f"cus_{number}") for number in range(3))]


async def assessed(ledger: Ledger, level: Level, days: int) -> None:
    """The customer is assessed on a day; the backend hears of a rise."""
    at = NOW + days * DAY

    def outgoing(before: Level | None) -> Sequence[Outgoing]:
        told = Announcement(id=f"evt_{at}", type="risk.raised", at=at, data={"before": before})
        return [Outgoing(announcement=told, endpoints=("backend",))] if rises(before, level) else []

    await ledger.risks.assessed("", "cus_1", Assessment(level=level), at=at, outgoing=outgoing)


async def heard(ledger: Ledger) -> list[str | None]:
    """From which level the customer rose, each time that this was told; none of it is of a case."""
    events = await ledger.outbox.events()
    assert {event.case_id for event in events} <= {None}
    return [event.announcement.data["before"] for event in reversed(events)]


async def test_each_rise_is_told_once(ledger: Ledger) -> None:
    for day, level in enumerate(("none", "high", "high", "none", "elevated")):
        await assessed(ledger, level, day)  # type: ignore[arg-type]
    assert await heard(ledger) == ["none", "none"]


async def test_a_straggler_lowers_nothing_so_that_the_next_look_tells_nothing_again(ledger: Ledger) -> None:
    await assessed(ledger, "high", 2)
    await assessed(ledger, "none", 1)
    await assessed(ledger, "high", 3)
    assert await heard(ledger) == [None]


async def test_two_workers_that_see_the_same_rise_tell_it_once(ledgers: list[Ledger]) -> None:
    await asyncio.gather(*(assessed(ledger, "high", day) for day, ledger in enumerate(ledgers)))
    assert await heard(ledgers[0]) == [None]
