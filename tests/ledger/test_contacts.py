"""No contact limit is exceeded, however many cases of a customer speak at once."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text

from dunning.policy import ContactLimits
from dunning.values import Channel
from ledger import Ledger
from ledger.contacts import Terms, conversation
from ledger.database import Database
from ledger.records import DispatchClaim
from tests.ledger.acts import DAY, NOW, claim_case, claim_message

LIMITS = ContactLimits(sms_per_day=1, sms_per_7_days=2, contacts_per_7_days=3)
SMS, EMAIL = Channel.SMS, Channel.EMAIL


async def cases(ledger: Ledger, number: int, **given: Any) -> None:
    """The open cases of so many invoices of one customer."""
    for i in range(number):
        await claim_case(ledger, f"in_{i}", **given)


async def say(
    ledger: Ledger,
    invoice: int,
    channel: Channel = EMAIL,
    at: datetime = NOW,
    step: str = "reminder",
    **terms: Any,
) -> DispatchClaim:
    """Claim a message of the invoice's case within the limits."""
    kept: dict[str, Any] = {"limits": LIMITS} | terms
    return await ledger.dispatches.claim(
        case_id=f"acct/in_{invoice}/1", step=step, channel=channel, template=step, customer="cus_1", at=at,
        terms=Terms(**kept),
    )  # fmt: skip


async def revoke(ledger: Ledger, **given: Any) -> bool:
    """The customer wants no more SMS."""
    said: dict[str, Any] = {
        "account": "", "customer": "cus_1", "channel": SMS, "state": "revoked", "source": "sms_keyword",
        "at": NOW, "by": "customer",
    }  # fmt: skip
    return await ledger.consents.set(**(said | given))


class TestConcurrently:
    async def test_three_of_many_get_a_word_in(self, ledgers: list[Ledger]) -> None:
        await cases(ledgers[0], 24)

        claims = await asyncio.gather(*(say(ledgers[i % 4], i) for i in range(24)))

        assert sorted(c.state for c in claims) == ["new"] * 3 + ["refused"] * 21
        assert {c.refusal.until for c in claims if c.refusal} == {NOW + 7 * DAY}

    async def test_no_window_is_exceeded_in_two_weeks(self, ledgers: list[Ledger]) -> None:
        await cases(ledgers[0], 8)
        first = await say(ledgers[0], 0, SMS, NOW)  # else mails alone may win the race
        assert first.state == "new"
        made: list[tuple[datetime, Channel]] = [(NOW, SMS)]

        async def talk(i: int) -> None:
            at = NOW
            for n in range(6):
                channel = SMS if (i + n) % 2 else EMAIL
                claim = await say(ledgers[i % 4], i, channel, at, step=f"step_{n}")
                if claim.state == "new":
                    made.append((at, channel))
                elif claim.refusal is not None and claim.refusal.until is not None and n % 2:
                    at = claim.refusal.until
                at += timedelta(hours=7 * i + 5)

        await asyncio.gather(*(talk(i) for i in range(8)))

        texts = [at for at, channel in made if channel is SMS]
        assert len(made) > len(texts)
        assert most_within(texts, DAY) == 1
        assert most_within(texts, 7 * DAY) <= 2
        assert most_within([at for at, _ in made], 7 * DAY) == 3


def most_within(moments: list[datetime], window: timedelta) -> int:
    """The largest number of moments that any window of that length holds, its very end left out."""
    return max((sum(start <= at < start + window for at in moments) for start in moments), default=0)


class TestConsent:
    async def test_a_stop_that_is_kept_before_the_claim_counts(self, ledger: Ledger) -> None:
        await cases(ledger, 1)
        assert (await say(ledger, 0, SMS, step="before")).state == "new"
        await revoke(ledger)

        stopped = await say(ledger, 0, SMS)

        assert (stopped.state, stopped.why) == (
            "unwelcome",
            "the customer wants no more messages on this channel",
        )
        assert (await say(ledger, 0, EMAIL)).state == "new"
        texts = [row.step for row in await ledger.dispatches.of_case("acct/in_0/1") if row.channel is SMS]
        assert texts == ["before"]

    async def test_who_unsubscribed_from_reminders_hears_the_rest(self, ledger: Ledger) -> None:
        await cases(ledger, 1)
        await revoke(ledger, channel=EMAIL, group="optional")
        assert (await say(ledger, 0, step="nudge", group="optional")).state == "unwelcome"
        assert (await say(ledger, 0, step="final", group="critical")).state == "new"

    async def test_of_another_account_or_customer_is_no_word_on_this_one(self, ledger: Ledger) -> None:
        await cases(ledger, 1)
        await revoke(ledger, account="acct_2")
        await revoke(ledger, customer="cus_2")
        assert (await say(ledger, 0, SMS)).state == "new"

    async def test_an_address_that_died_since_takes_nothing(self, ledger: Ledger) -> None:
        await cases(ledger, 2)
        first = await claim_message(ledger, case_id="acct/in_0/1", address="abc")
        await ledger.addresses.failed(first.dispatch_id, at=NOW, reason="bounce", for_good=True)
        assert (await claim_message(ledger, case_id="acct/in_1/1", address="abc")).state == "unwelcome"
        assert (await claim_message(ledger, case_id="acct/in_1/1", address="def")).state == "new"

    async def test_an_address_is_dead_from_its_second_failure_on_this_channel_alone(
        self, ledger: Ledger
    ) -> None:
        await cases(ledger, 2)
        used = {EMAIL: "abc", SMS: "abc"}  # fingerprints
        for invoice, dead in ((0, frozenset()), (1, frozenset({EMAIL}))):
            said = await claim_message(ledger, case_id=f"acct/in_{invoice}/1", address="abc")
            await ledger.addresses.failed(said.dispatch_id, at=NOW, reason="full", for_good=False)
            assert await ledger.addresses.dead(used) == dead
        assert await ledger.addresses.dead({EMAIL: "def"}) == frozenset()

    async def test_after_a_stop_nothing_is_claimed_however_many_cases_speak(
        self, ledgers: list[Ledger]
    ) -> None:
        await cases(ledgers[0], 24)
        kept: list[DispatchClaim] = []

        async def talk(i: int) -> None:
            if i == 8:
                await revoke(ledgers[i % 4])
            known = (await ledgers[i % 4].consents.state("", "cus_1")).get(SMS) == "revoked"
            claim = await say(ledgers[i % 4], i, SMS, limits=None)
            if known:
                kept.append(claim)

        await asyncio.gather(*(talk(i) for i in range(24)))
        assert kept
        assert {claim.state for claim in kept} == {"unwelcome"}

    async def test_a_stop_waits_for_a_claim_in_the_making(self, ledger: Ledger, database_url: str) -> None:
        claiming = Database(database_url)
        async with claiming.write() as session:  # as `Dispatches.claim` begins
            await session.execute(text("SELECT 1"))
            await claiming.alone(session, conversation("cus_1"))
            stop = asyncio.create_task(revoke(ledger))
            assert not (await asyncio.wait([stop], timeout=0.3))[0]
        assert await stop
        await claiming.close()

    async def test_what_metadata_say_never_overrides_a_stop(self, ledger: Ledger) -> None:
        await revoke(ledger)
        assert not await revoke(ledger, state="granted", at=NOW + DAY, unless_said=True)
        assert (await ledger.consents.state("", "cus_1"))[SMS] == "revoked"


class TestRoom:
    async def test_what_did_not_leave_the_house_takes_no_room(self, ledger: Ledger) -> None:
        await cases(ledger, 4)
        for i, fate in enumerate(("failed", "unreachable", "shadow")):
            claim = await say(ledger, i, SMS)
            await ledger.dispatches.complete(claim.dispatch_id, fate, at=NOW)

        assert (await say(ledger, 3, SMS)).state == "new"

    async def test_what_may_have_left_takes_room(self, ledger: Ledger) -> None:
        await cases(ledger, 3)
        first = await say(ledger, 0, SMS)
        await ledger.dispatches.complete(first.dispatch_id, "unknown", at=NOW)

        refused = await say(ledger, 1, SMS, NOW + timedelta(hours=1))

        assert refused.refusal is not None
        assert (refused.refusal.rule, refused.refusal.until) == ("sms_per_day", NOW + DAY)

    async def test_a_release_gives_the_room_back(self, ledger: Ledger) -> None:
        await cases(ledger, 2)
        claim = await say(ledger, 0, SMS)
        await ledger.dispatches.release(claim.dispatch_id)

        assert (await say(ledger, 1, SMS)).state == "new"

    async def test_answers_neither_need_nor_take_room(self, ledger: Ledger) -> None:
        await cases(ledger, 5)
        for i in range(4):
            assert (await say(ledger, i, counts=False, limits=None)).state == "new"

        assert (await say(ledger, 4)).state == "new"

    async def test_the_message_that_was_claimed_is_found_whatever_the_limits_say(
        self, ledger: Ledger
    ) -> None:
        await cases(ledger, 1)
        first = await say(ledger, 0, SMS)

        assert (await say(ledger, 0, SMS)).dispatch_id == first.dispatch_id

    async def test_another_customer_or_account_has_limits_of_its_own(self, ledger: Ledger) -> None:
        await cases(ledger, 1)
        await claim_case(ledger, "in_9", account="acct_2")
        await say(ledger, 0, SMS)

        other = await ledger.dispatches.claim(
            case_id="acct_2/in_9/1", step="reminder", channel=SMS, template="reminder", customer="cus_1",
            at=NOW, terms=Terms(limits=LIMITS),
        )  # fmt: skip
        assert other.state == "new"

    async def test_a_shadow_counts_for_other_shadows_only(self, ledger: Ledger) -> None:
        await cases(ledger, 3)
        claim = await say(ledger, 0, SMS, shadow=True)
        await ledger.dispatches.complete(claim.dispatch_id, "shadow", at=NOW)

        assert (await say(ledger, 1, SMS, shadow=True)).state == "refused"
        assert (await say(ledger, 2, SMS)).state == "new"
