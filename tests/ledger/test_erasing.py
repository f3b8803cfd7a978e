"""What a customer's erasure takes, and what it leaves, on both databases."""

from __future__ import annotations

from datetime import date

from dunning.case import Entry, Extension, Promise
from dunning.values import Channel
from ledger import Ledger
from ledger.people import ERASED
from tests.ledger.acts import NOW, claim_case, claim_message, closing, complete, reserve, summary

WORDS = "salary comes late: divorce"
GRANTED = (Extension(days=7, at=NOW, by="maria", reason=WORDS),)


async def a_customer(ledger: Ledger) -> None:
    case = await claim_case(ledger)
    await reserve(ledger)
    await complete(ledger)
    sent = await claim_message(ledger)
    await ledger.dispatches.complete(sent.dispatch_id, "accepted", at=NOW, detail="to ada@customer.example")
    lines = [
        Entry(at=NOW, what="lever.grant_extension", text=f'7 days ("{WORDS}")', data={"reason": WORDS}),
        Entry(at=NOW, what="attempt.declined", text="attempt 1: declined"),
    ]
    promises = (Promise(on=date(2026, 3, 9), at=NOW, by="customer"),)
    told = summary(extensions=GRANTED, promises=promises, next_what=f"on hold by maria: {WORDS}")
    await ledger.cases.remember(case.case_id, 0, lines, told)
    await ledger.consents.set(
        account="", customer="cus_1", channel=Channel.SMS, state="revoked", source="sms_keyword", at=NOW,
        by="customer", text="STOP it",
    )  # fmt: skip
    await ledger.surveys.add(
        "sv_1", case_id=case.case_id, account="", customer="cus_1", at=NOW, reason="too_expensive", text=WORDS
    )
    await ledger.replies.receive(
        "SM1", at=NOW, channel=Channel.SMS, address="f1", kind="words", text=WORDS, customer="cus_1",
        account="", case_id=case.case_id,
    )  # fmt: skip


async def test_words_go_and_financial_facts_stay(ledger: Ledger) -> None:
    await a_customer(ledger)
    assert await ledger.people.erase("", "cus_1") == 7
    assert await ledger.people.erase("", "cus_1") == 0

    case = "acct/in_1/1"
    record = await ledger.cases.get(case)
    assert record is not None
    assert (record.amount, record.next_what) == (4900, "")
    assert [e.text for e in await ledger.cases.entries(case)] == [ERASED, "attempt 1: declined"]
    assert [a.outcome for a in await ledger.attempts.of_case(case)] == ["declined"]
    (sent,) = await ledger.dispatches.of_case(case)
    assert (sent.fate, sent.detail) == ("accepted", "")
    (granted,) = await ledger.people.extensions([case])
    assert (granted.days, granted.reason) == (7, "")
    (said,) = await ledger.consents.history("", "cus_1")
    assert (said.state, said.text) == ("revoked", "")
    (answer,) = await ledger.surveys.of_case(case)
    assert (answer.reason, answer.text) == ("too_expensive", "")
    (reply,) = await ledger.replies.of_case(case)
    assert (reply.text, reply.address) == (ERASED, "")
    assert [promise.state for promise in await ledger.people.promises([case])] == ["open"]


async def test_others_keep_theirs(ledger: Ledger) -> None:
    await a_customer(ledger)
    assert await ledger.people.erase("", "cus_2") == 0
    assert await ledger.people.erase("acct_1", "cus_1") == 0


async def test_why_a_person_stopped_a_case_is_their_words_too(ledger: Ledger) -> None:
    case = await claim_case(ledger)
    stopped = Entry(at=NOW, what="lever.stop", text=f'stopped ("{WORDS}")')
    await ledger.cases.remember(case.case_id, 0, [stopped], closing(closed_reason=WORDS))
    await ledger.people.erase("", "cus_1")
    record = await ledger.cases.get(case.case_id)
    assert record is not None
    assert record.closed_reason == ERASED
