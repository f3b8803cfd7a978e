"""What customers agreed to, and the stop that an operator throws."""

from __future__ import annotations

import asyncio
from datetime import datetime

from dunning.values import Channel
from ledger import Ledger
from ledger.records import ConsentState, Halt
from tests.ledger.acts import DAY, NOW


async def says(ledger: Ledger, state: ConsentState, at: datetime, source: str = "sms_keyword") -> bool:
    return await ledger.consents.set(
        account="",
        customer="cus_1",
        channel=Channel.SMS,
        state=state,
        source=source,
        at=at,
        by="customer",
        text="STOP",
    )


class TestConsents:
    async def test_newest_statement_counts_and_all_are_kept(self, ledger: Ledger) -> None:
        await says(ledger, "granted", NOW)
        await says(ledger, "revoked", NOW + DAY)

        assert await ledger.consents.state("", "cus_1") == {Channel.SMS: "revoked"}
        assert [c.state for c in await ledger.consents.history("", "cus_1")] == ["granted", "revoked"]

    async def test_older_statement_that_arrives_late_does_not_win(self, ledger: Ledger) -> None:
        await says(ledger, "revoked", NOW + DAY)
        await says(ledger, "granted", NOW)

        assert await ledger.consents.state("", "cus_1") == {Channel.SMS: "revoked"}

    async def test_same_webhook_twice_is_one_statement(self, ledger: Ledger) -> None:
        assert await says(ledger, "revoked", NOW)
        assert not await says(ledger, "revoked", NOW)

    async def test_nothing_said_is_nothing_known(self, ledger: Ledger) -> None:
        assert await ledger.consents.state("", "cus_1") == {}


class TestHalt:
    async def test_holds_everywhere_until_it_is_lifted(self, ledgers: list[Ledger]) -> None:
        here, there = ledgers[0], ledgers[1]
        assert await here.switches.halted() is None

        await here.switches.halt("Anna", "wrong prices", NOW)

        halt = Halt(by="Anna", reason="wrong prices", at=NOW)
        assert await here.switches.halted() == halt
        assert await there.switches.halted() == halt

        assert await there.switches.lift("Ben", NOW + DAY)
        assert await there.switches.halted() is None
        assert await here.switches.halted(max_age=0) is None
        assert not await here.switches.lift("Anna", NOW + DAY)

    async def test_second_halt_leaves_the_first_in_force(self, ledger: Ledger) -> None:
        first = await ledger.switches.halt("Anna", "wrong prices", NOW)

        assert await ledger.switches.halt("Ben", "me too", NOW + DAY) == first

    async def test_two_people_halt_at_once(self, ledgers: list[Ledger]) -> None:
        halts = await asyncio.gather(*(one.switches.halt(f"p{i}", "", NOW) for i, one in enumerate(ledgers)))

        assert len(set(halts)) == 1

    async def test_what_is_known_may_be_a_second_old(self, ledgers: list[Ledger]) -> None:
        here, there = ledgers[0], ledgers[1]
        assert await here.switches.halted() is None

        await there.switches.halt("Anna", "", NOW)

        assert await here.switches.halted(max_age=3600) is None
        assert await here.switches.halted(max_age=0) is not None
