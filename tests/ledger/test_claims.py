"""A claim is given out once: to one of several tasks, engines and processes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from dunning.values import Channel
from ledger import Ledger, NotInLedger
from tests.fixtures.processes import forking, together
from tests.ledger.acts import DAY, NOW, claim_case, claim_message, complete, heard, reserve
from tests.ledger.racer import ROUNDS, race


def times(states: Sequence[str], state: str) -> int:
    return list(states).count(state)


class TestConcurrently:
    async def test_one_of_many_reserves_an_attempt(self, ledgers: list[Ledger]) -> None:
        await claim_case(ledgers[0])

        claims = await asyncio.gather(*(reserve(ledgers[i % 4], params={"racer": i}) for i in range(24)))

        assert times([c.state for c in claims], "new") == 1
        assert times([c.state for c in claims], "reserved") == 23
        [winner] = [c for c in claims if c.state == "new"]
        assert all(c.params == winner.params for c in claims)

    async def test_one_of_many_claims_a_message(self, ledgers: list[Ledger]) -> None:
        await claim_case(ledgers[0])

        claims = await asyncio.gather(*(claim_message(ledgers[i % 4]) for i in range(24)))

        assert times([c.state for c in claims], "new") == 1
        assert len({c.dispatch_id for c in claims}) == 1

    async def test_one_of_many_claims_an_effect(self, ledgers: list[Ledger]) -> None:
        claims = await asyncio.gather(
            *(ledgers[i % 4].effects.claim("cancel/acct/in_1/1", {"n": i}, at=NOW) for i in range(24))
        )

        assert times([c.state for c in claims], "new") == 1

    async def test_one_of_many_workflows_opens_the_case(self, ledgers: list[Ledger]) -> None:
        claims = await asyncio.gather(
            *(claim_case(ledgers[i % 4], workflow_id=f"workflow-{i}") for i in range(24))
        )

        [winner] = [c for c in claims if c.held_by is None]
        assert winner.fresh
        assert {c.held_by for c in claims} == {None, winner.case.workflow_id}
        assert {c.case_id for c in claims} == {"acct/in_1/1"}

    async def test_one_of_many_suspends_and_all_are_kept(self, ledgers: list[Ledger]) -> None:
        records = await asyncio.gather(
            *(
                ledgers[i % 4].suspensions.begin(
                    account="",
                    subscription="sub_1",
                    invoice_id=f"in_{i}",
                    how="pause_collection",
                    previous={"n": i},
                    at=NOW,
                )
                for i in range(12)
            )
        )

        assert [r.first for r in records].count(True) == 1
        held = await ledgers[0].suspensions.active("", "sub_1")
        assert held is not None
        assert sorted(held.invoices) == sorted(f"in_{i}" for i in range(12))

    async def test_different_claims_do_not_wait_for_ever(self, ledgers: list[Ledger]) -> None:
        claims = await asyncio.gather(*(claim_case(ledgers[i % 4], f"in_{i}") for i in range(40)))

        assert all(c.fresh for c in claims)

    @forking
    async def test_two_processes_share_attempts_and_messages(self, database_url: str, ledger: Ledger) -> None:
        await claim_case(ledger)

        won = await together(race, [database_url], [database_url])

        for kind in ("attempts", "messages"):
            assert sorted(won[0][kind] + won[1][kind]) == list(range(1, ROUNDS + 1))


class TestAttempt:
    async def test_repeat_before_the_end_gets_the_first_parameters(self, ledger: Ledger) -> None:
        await claim_case(ledger)
        await reserve(ledger, params={"z": 1, "a": "ü"})

        again = await reserve(ledger, params={"z": 2}, at=NOW + DAY)

        assert (again.state, again.params, again.reserved_at) == ("reserved", {"z": 1, "a": "ü"}, NOW)
        assert list(again.params) == ["z", "a"]

    async def test_repeat_after_the_end_gets_the_result(self, ledger: Ledger) -> None:
        await claim_case(ledger)
        await reserve(ledger)
        assert await complete(ledger, result={"charge": "ch_1", "at": NOW})

        again = await reserve(ledger)

        assert again.state == "done"
        assert again.result == {"charge": "ch_1", "at": "2026-03-02T09:30:00Z"}

    async def test_final_outcome_stays_and_unknown_is_replaced(self, ledger: Ledger) -> None:
        await claim_case(ledger)
        await reserve(ledger)

        assert await complete(ledger, outcome="unknown")
        assert await complete(ledger, outcome="succeeded")
        assert not await complete(ledger, outcome="declined")

        attempt = await ledger.attempts.get("", "in_1", 1)
        assert attempt is not None
        assert (attempt.outcome, attempt.charge_id, attempt.completed_at) == ("succeeded", "ch_1", NOW)

    async def test_what_was_never_claimed_is_refused(self, ledger: Ledger) -> None:
        with pytest.raises(NotInLedger, match="attempt 1 of invoice in_1 was never reserved"):
            await complete(ledger)
        with pytest.raises(NotInLedger, match="acct/in_1/1 is not in the ledger"):
            await reserve(ledger)
        with pytest.raises(NotInLedger, match="acct/in_1/1 is not in the ledger"):
            await claim_message(ledger)
        with pytest.raises(NotInLedger, match="effect cancel was never claimed"):
            await ledger.effects.complete("cancel", {}, at=NOW)


class TestMessage:
    async def test_each_channel_of_a_step_is_a_message(self, ledger: Ledger) -> None:
        await claim_case(ledger)

        email = await claim_message(ledger, channel=Channel.EMAIL)
        sms = await claim_message(ledger, channel=Channel.SMS)

        assert (email.state, sms.state) == ("new", "new")
        messages = await ledger.dispatches.of_case("acct/in_1/1")
        assert {m.channel for m in messages} == {Channel.EMAIL, Channel.SMS}

    async def test_found_claimed_then_done(self, ledger: Ledger) -> None:
        await claim_case(ledger)
        first = await claim_message(ledger)

        assert (await claim_message(ledger)).state == "claimed"
        await ledger.dispatches.complete(first.dispatch_id, "accepted", provider_id="SM1", at=NOW)

        again = await claim_message(ledger)
        assert (again.state, again.fate, again.provider_id) == ("done", "accepted", "SM1")
        by_provider = await ledger.dispatches.by_provider_id("SM1")
        assert by_provider is not None
        assert by_provider.id == first.dispatch_id

    async def test_refused_message_can_be_claimed_again(self, ledger: Ledger) -> None:
        await claim_case(ledger)
        first = await claim_message(ledger)

        assert await ledger.dispatches.release(first.dispatch_id)

        second = await claim_message(ledger)
        assert second.state == "new"
        assert not await ledger.dispatches.release(first.dispatch_id)

    async def test_message_with_a_fate_is_not_released(self, ledger: Ledger) -> None:
        await claim_case(ledger)
        first = await claim_message(ledger)
        await ledger.dispatches.complete(first.dispatch_id, "unknown", at=NOW)

        assert not await ledger.dispatches.release(first.dispatch_id)
        assert (await claim_message(ledger)).state == "done"

    async def test_message_that_a_provider_told_of_is_not_released(self, ledger: Ledger) -> None:
        await claim_case(ledger)
        first = await claim_message(ledger)
        await ledger.dispatches.heard(first.dispatch_id, heard("sent", provider="twilio"))

        assert not await ledger.dispatches.release(first.dispatch_id)

    async def test_later_word_replaces_unknown_only(self, ledger: Ledger) -> None:
        await claim_case(ledger)
        message = await claim_message(ledger)
        complete = ledger.dispatches.complete

        assert await complete(message.dispatch_id, "unknown", at=NOW)
        assert await complete(message.dispatch_id, "accepted", provider_id="m1", at=NOW + DAY)
        assert not await complete(message.dispatch_id, "failed", at=NOW + 2 * DAY)

        record = await ledger.dispatches.by_id(message.dispatch_id)
        assert record is not None
        assert (record.fate, record.provider_id, record.completed_at) == ("accepted", "m1", NOW + DAY)

    async def test_same_news_twice_is_kept_once(self, ledger: Ledger) -> None:
        await claim_case(ledger)
        message = await claim_message(ledger)
        tell = ledger.dispatches.heard
        soon = NOW + timedelta(seconds=3)

        assert await tell(message.dispatch_id, heard("delivered", at=soon))
        assert await tell(message.dispatch_id, heard("processed", at=NOW))
        assert not await tell(message.dispatch_id, heard("delivered", at=soon))
        with pytest.raises(NotInLedger):
            await tell("dsp_none", heard("delivered"))

        told = await ledger.dispatches.events(message.dispatch_id)
        assert [e.event for e in told] == ["processed", "delivered"]


class TestEffect:
    async def test_new_then_reserved_then_done(self, ledger: Ledger) -> None:
        assert (await ledger.effects.claim("k", {"a": 1}, at=NOW)).state == "new"
        reserved = await ledger.effects.claim("k", {"a": 2}, at=NOW + DAY)
        assert (reserved.state, reserved.params, reserved.claimed_at) == ("reserved", {"a": 1}, NOW)

        assert await ledger.effects.complete("k", {"result": "done"}, at=NOW)
        assert not await ledger.effects.complete("k", {"result": "other"}, at=NOW)

        done = await ledger.effects.claim("k", {}, at=NOW)
        assert (done.state, done.result) == ("done", {"result": "done"})
