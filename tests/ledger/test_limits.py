"""No limit is exceeded, however many reserve at once; and charges of one customer wait for each other."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from dunning.values import DeclineClass, WaitingOn
from ledger import Ledger
from ledger.records import AttemptClaim, CaseSummary, ChargeRecord
from tests.fixtures.processes import forking, together
from tests.ledger.acts import DAY, NOW, claim_case, closing, complete, planned, reserve, summary
from tests.ledger.limits_racer import race

MINUTE = timedelta(minutes=1)
CARD = {"fingerprint": "fp_shared"}


async def cases(ledger: Ledger, number: int, **given: Any) -> None:
    """The open cases of so many invoices, a minute apart, each of another customer unless told."""
    for i in range(number):
        of = {"customer": f"cus_{i}", "subscription": None, "at": NOW - DAY + i * MINUTE}
        await claim_case(ledger, f"in_{i}", **(of | given))


async def ask(ledger: Ledger, invoice: int, at: datetime = NOW, **given: Any) -> AttemptClaim:
    """Reserve the first attempt on an invoice with the card that all of them share."""
    filled: dict[str, Any] = {"customer": f"cus_{invoice}", "charge": CARD}
    return await reserve(ledger, 1, f"in_{invoice}", at=at, **(filled | given))


async def end(ledger: Ledger, invoice: int, outcome: str = "declined", **given: Any) -> None:
    assert await complete(ledger, 1, outcome, invoice_id=f"in_{invoice}", charge_id=f"ch_{invoice}", **given)


def seen(**given: Any) -> ChargeRecord:
    """A charge of Stripe's own that the bank declined."""
    filled: dict[str, Any] = {
        "account": "",
        "charge_id": "ch_stripe",
        "invoice_id": "in_9",
        "at": NOW,
        "status": "failed",
        "amount": 4900,
        "currency": "eur",
        "scheme": "card",
        "fingerprint": "fp_shared",
        "expiry": "2029-04",
        "brand": "visa",
        "funding": "credit",
        "country": "DE",
        "decline_class": "soft",
        "reached_network": True,
        "lock": None,
    }
    return ChargeRecord(**(filled | given))


class TestConcurrently:
    async def test_one_of_many_gets_the_only_slot_of_a_card(self, ledgers: list[Ledger]) -> None:
        await cases(ledgers[0], 24)

        claims = await asyncio.gather(*(ask(ledgers[i % 4], i) for i in range(24)))

        assert sorted(c.state for c in claims) == ["new"] + ["refused"] * 23
        assert {c.refusal.rule for c in claims if c.refusal} == {"in_flight"}

    async def test_three_technical_failures_are_shared_out_among_many(self, ledgers: list[Ledger]) -> None:
        await cases(ledgers[0], 12)
        granted: list[int] = []

        async def try_until_told_to_wait_long(i: int) -> None:
            while True:
                claim = await ask(ledgers[i % 4], i)
                if claim.state == "new":
                    granted.append(i)
                    return await end(ledgers[i % 4], i, decline_class=DeclineClass.TECHNICAL)
                assert claim.refusal is not None
                if claim.refusal.rule != "in_flight":
                    return None

        await asyncio.gather(*(try_until_told_to_wait_long(i) for i in range(12)))

        assert len(granted) == 3

    async def test_one_charge_of_a_customer_at_a_time_whatever_the_card(self, ledgers: list[Ledger]) -> None:
        await cases(ledgers[0], 16, customer="cus_1")

        claims = await asyncio.gather(
            *(ask(ledgers[i % 4], i, customer="cus_1", charge={"fingerprint": f"fp_{i}"}) for i in range(16))
        )

        assert sorted(c.state for c in claims) == ["new"] + ["refused"] * 15
        assert {c.refusal.rule for c in claims if c.refusal} == {"customer_turn"}

    @forking
    async def test_two_processes_never_exceed_a_limit_in_two_weeks(
        self, database_url: str, ledger: Ledger
    ) -> None:
        granted = await together(race, (database_url, "a"), (database_url, "b"))

        assert all(granted), "both processes charged"
        made = [attempt for own in granted for attempt in own]
        for card in {card for card, _, _ in made}:
            judged = [at for used, at, cls in made if used == card and cls != DeclineClass.TECHNICAL]
            technical = [at for used, at, cls in made if used == card and cls == DeclineClass.TECHNICAL]
            assert most_within(judged, DAY) <= 1
            assert most_within(technical, DAY) <= 3
            assert most_within(judged + technical, 30 * DAY) <= 15


def most_within(moments: list[datetime], window: timedelta) -> int:
    """The largest number of moments that any window of that length holds, its very end left out."""
    return max((sum(start <= at < start + window for at in moments) for start in moments), default=0)


class TestSlot:
    async def test_refusal_reserves_nothing_and_says_until_when(self, ledger: Ledger) -> None:
        await cases(ledger, 2)
        await ask(ledger, 0)
        await end(ledger, 0, charged_at=NOW)

        claim = await ask(ledger, 1, NOW + MINUTE)

        assert claim.state == "refused"
        assert claim.refusal is not None
        assert (claim.refusal.rule, claim.refusal.until) == ("one_decline_a_day", NOW + DAY)
        assert await ledger.attempts.get("", "in_1", 1) is None
        assert (await ask(ledger, 1, NOW + DAY)).state == "new"

    async def test_what_did_not_reach_the_network_is_given_back(self, ledger: Ledger) -> None:
        await cases(ledger, 2)
        await ask(ledger, 0)
        await end(ledger, 0, reached_network=False)

        assert (await ask(ledger, 1)).state == "new"

    async def test_unfinished_attempt_keeps_its_slot(self, ledger: Ledger) -> None:
        await cases(ledger, 2)
        await ask(ledger, 0)

        claim = await ask(ledger, 1, NOW + 60 * MINUTE)

        assert claim.refusal is not None
        assert claim.refusal.rule == "one_decline_a_day"

    async def test_lock_holds_for_every_invoice_for_ever(self, ledger: Ledger) -> None:
        await cases(ledger, 2)
        await ask(ledger, 0)
        await end(ledger, 0, lock="card", charged_at=NOW)

        claim = await ask(ledger, 1, NOW + 400 * DAY)

        assert claim.refusal is not None
        assert (claim.refusal.rule, claim.refusal.until) == ("lock_card", None)
        assert not (await ledger.attempts.slot("", planned("in_7", NOW + DAY, **CARD))).granted
        assert (await ledger.attempts.slot("acct_2", planned("in_7", NOW + DAY, **CARD))).granted

    async def test_nothing_to_charge_needs_no_slot(self, ledger: Ledger) -> None:
        await cases(ledger, 2)
        await ask(ledger, 0)

        assert (await ask(ledger, 1, nothing_to_charge=True)).state == "new"

    async def test_known_attempt_is_found_whatever_the_limits_say(self, ledger: Ledger) -> None:
        await cases(ledger, 1)
        await ask(ledger, 0)

        assert (await ask(ledger, 0, NOW + MINUTE)).state == "reserved"
        await end(ledger, 0, lock="card")
        assert (await ask(ledger, 0, NOW + MINUTE)).state == "done"


class TestChargesOfOthers:
    async def test_charge_of_stripe_counts(self, ledger: Ledger) -> None:
        await cases(ledger, 1)
        assert await ledger.charges.saw(seen())
        assert not await ledger.charges.saw(seen())

        claim = await ask(ledger, 0, NOW + MINUTE)

        assert claim.refusal is not None
        assert claim.refusal.rule == "one_decline_a_day"

    async def test_later_word_replaces_the_earlier(self, ledger: Ledger) -> None:
        await ledger.charges.saw(seen(status="pending", decline_class=None))
        await ledger.charges.saw(seen(lock="card"))

        record = await ledger.charges.get("", "ch_stripe")
        assert record == seen(lock="card")
        assert await ledger.charges.of_invoice("", "in_9") == (record,)

    async def test_own_charge_that_was_taken_for_stripe_s_counts_once(self, ledger: Ledger) -> None:
        await cases(ledger, 2)
        for i in range(2):
            at = NOW + i * 2 * DAY
            await ask(ledger, i, at)
            await end(ledger, i, charged_at=at)
            await ledger.charges.saw(seen(charge_id=f"ch_{i}", at=at))

        slot = await ledger.attempts.slot("", planned("in_2", NOW + 4 * DAY, **CARD))
        assert "2 of 15 in 30 days" in slot.reason


class TestTurn:
    async def test_the_next_invoice_waits_and_goes_when_the_answer_is_there(self, ledger: Ledger) -> None:
        await cases(ledger, 2, customer="cus_1")
        own: dict[str, Any] = {"customer": "cus_1"}
        await ask(ledger, 0, **own, charge={"fingerprint": "fp_a"})

        waits = await ask(ledger, 1, **own, charge={"fingerprint": "fp_b"})

        assert waits.refusal is not None
        assert (waits.refusal.rule, waits.refusal.until) == ("customer_turn", NOW + MINUTE)
        await end(ledger, 0)
        assert (await ask(ledger, 1, **own, charge={"fingerprint": "fp_b"})).state == "new"

    async def test_nobody_waits_for_ever(self, ledger: Ledger) -> None:
        await cases(ledger, 2, customer="cus_1")
        own: dict[str, Any] = {"customer": "cus_1"}
        await ask(ledger, 0, **own, charge={"fingerprint": "fp_a"})

        assert (await ask(ledger, 1, NOW + 9 * MINUTE, **own, charge=CARD)).state == "refused"
        assert (await ask(ledger, 1, NOW + 11 * MINUTE, **own, charge=CARD)).state == "new"

    async def test_the_older_invoice_goes_first_when_it_is_due(self, ledger: Ledger) -> None:
        await cases(ledger, 2, customer="cus_1")
        own: dict[str, Any] = {"customer": "cus_1"}
        due = summary(waiting_on=WaitingOn.RETRY, next_at=NOW)
        await ledger.cases.remember("acct/in_0/1", 0, [], due)

        waits = await ask(ledger, 1, **own)

        assert waits.refusal is not None
        assert waits.refusal.reason == "the customer's older invoice in_0 is charged first"
        await ledger.cases.remember("acct/in_0/1", 0, [], summary(next_at=NOW, next_action="charge"))
        assert (await ask(ledger, 0, **own)).state == "new"

    async def test_the_older_invoice_goes_first_while_it_is_looked_at(self, ledger: Ledger) -> None:
        await cases(ledger, 2, customer="cus_1")
        looking = summary(next_at=NOW, next_action="read_invoice")
        await ledger.cases.remember("acct/in_0/1", 0, [], looking)

        assert (await ask(ledger, 1, customer="cus_1")).state == "refused"

    async def test_the_older_invoice_goes_first_if_it_decided_a_moment_later(self, ledger: Ledger) -> None:
        await cases(ledger, 2, customer="cus_1")
        moment = timedelta(milliseconds=20)
        looking = summary(at=NOW + moment, next_at=NOW + moment, next_action="read_invoice")
        await ledger.cases.remember("acct/in_0/1", 0, [], looking)

        assert (await ask(ledger, 1, NOW, customer="cus_1")).state == "refused"

    async def test_the_older_invoice_goes_first_if_both_are_woken_and_it_is_slower(
        self, ledger: Ledger
    ) -> None:
        await cases(ledger, 2, customer="cus_1")
        await ledger.cases.remember("acct/in_0/1", 0, [], summary(waiting_on=WaitingOn.CUSTOMER))
        await ledger.turns.woken(["acct/in_0/1", "acct/in_1/1"], NOW)

        assert (await ask(ledger, 1, customer="cus_1")).state == "refused"
        assert (await ask(ledger, 1, NOW + 2 * MINUTE, customer="cus_1")).state == "new"  # it never looked

    async def test_a_case_that_was_woken_and_has_decided_holds_nobody_up(self, ledger: Ledger) -> None:
        await cases(ledger, 2, customer="cus_1")
        await ledger.turns.woken(["acct/in_0/1", "acct/in_1/1"], NOW)
        await ledger.cases.remember("acct/in_0/1", 0, [], summary(waiting_on=WaitingOn.CUSTOMER))

        assert (await ask(ledger, 1, customer="cus_1")).state == "new"

    async def test_older_invoice_that_waits_for_something_else_holds_nobody_up(self, ledger: Ledger) -> None:
        await cases(ledger, 5, customer="cus_1")
        remember = ledger.cases.remember
        await remember("acct/in_0/1", 0, [], summary(waiting_on=WaitingOn.CUSTOMER, next_at=NOW))
        await remember("acct/in_1/1", 0, [], summary(waiting_on=WaitingOn.RETRY, next_at=NOW + DAY))
        await remember("acct/in_2/1", 0, [], summary(next_action="send", next_at=NOW))
        await remember("acct/in_3/1", 0, [], closing(next_action="charge", next_at=NOW))

        assert (await ask(ledger, 4, customer="cus_1")).state == "new"


class TestMovedOn:
    """A try that Temporal gave up for lost begins nothing once its case has decided anew."""

    async def test_what_the_case_decided_begins(self, ledger: Ledger) -> None:
        await cases(ledger, 1)
        await ledger.cases.remember("acct/in_0/1", 0, [], summary(next_at=NOW, next_action="charge"))
        assert (await ask(ledger, 0)).state == "new"

    @pytest.mark.parametrize(
        "decided",
        [
            summary(waiting_on=WaitingOn.RETRY, next_at=NOW + DAY),  # put off by the next try
            summary(waiting_on=WaitingOn.HOLD, next_at=NOW + DAY),
            summary(next_at=NOW, next_action="send"),
            closing(),
        ],
        ids=["put_off", "on_hold", "speaks", "closed"],
    )
    async def test_what_it_has_given_up_does_not(self, ledger: Ledger, decided: CaseSummary) -> None:
        await cases(ledger, 1)
        await ledger.cases.remember("acct/in_0/1", 0, [], summary(next_at=NOW, next_action="charge"))
        await ledger.cases.remember("acct/in_0/1", 1, [], decided)

        late = await ask(ledger, 0)

        assert late.refusal is not None
        assert (late.state, late.refusal.rule, late.refusal.until) == ("refused", "moved_on", NOW + MINUTE)
        assert await ledger.attempts.get("", "in_0", 1) is None

    async def test_what_had_begun_goes_on(self, ledger: Ledger) -> None:
        await cases(ledger, 1)
        await ask(ledger, 0)
        await ledger.cases.remember("acct/in_0/1", 0, [], closing())
        assert (await ask(ledger, 0)).state == "reserved"
