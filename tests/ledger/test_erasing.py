"""What a customer's erasure takes, and what it leaves, on both databases."""

from __future__ import annotations

from datetime import date

from dunning.case import Entry, Extension, Promise
from dunning.expiry.card import CardDecision, CardFacts, CardOutcome, CardRef, CardState
from dunning.forgetting import NO_WORDS
from dunning.reconciliation import Finding, Kind
from dunning.risk import RiskRules, assess
from dunning.values import Channel
from ledger import Ledger
from tests.ledger.acts import NOW, claim_case, claim_message, closing, complete, reserve, summary
from tests.ledger.test_cards import claim as claim_card

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
    assert [e.text for e in await ledger.cases.entries(case)] == [NO_WORDS, "attempt 1: declined"]
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
    assert (reply.text, reply.address) == (NO_WORDS, "")
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
    assert record.closed_reason == NO_WORDS


async def test_a_step_under_way_brings_nothing_back_for_long(ledger: Ledger) -> None:
    await a_customer(ledger)
    await ledger.people.erase("", "cus_1")
    case, words = "acct/in_1/1", Entry(at=NOW, what="lever.add_note", text=f"noted: {WORDS}")
    await ledger.cases.remember(case, 2, [words], summary())  # it had begun before
    after = Entry(at=NOW, what="lever.add_note", text="noted: called back")
    await ledger.cases.remember(case, 3, [after], summary())  # the step that forgets
    await ledger.people.forget(case)
    told = [entry.text for entry in await ledger.cases.entries(case)]
    assert told == [NO_WORDS, "attempt 1: declined", NO_WORDS, "noted: called back"]


async def test_what_watches_over_customers_forgets_the_words_too(ledger: Ledger) -> None:
    case = await claim_case(ledger)
    await ledger.risks.told(
        account="", customer="cus_1", kind="backend", key="mood", at=NOW, by="crm", text=f"mood: {WORDS}"
    )
    found = assess(await ledger.risks.history("", "cus_1"), RiskRules(), NOW)
    await ledger.risks.assessed("", "cus_1", found, at=NOW)
    overdue = Finding(kind=Kind.CASE_OVERDUE, subject=case.case_id, case_id=case.case_id, words=WORDS)
    await ledger.reconciliations.begin("r1", dry_run=False, importing=False, at=NOW)
    await ledger.reconciliations.found("r1", overdue, NOW)

    await ledger.people.erase("", "cus_1")

    known = await ledger.risks.get("", "cus_1")
    assert known is not None
    [_, flag] = known.flags
    assert (known.level, flag.facts) == ("elevated", ("signals/backend/mood",))
    assert flag.text == "a flag of the business's own"
    assert assess(await ledger.risks.history("", "cus_1"), RiskRules(), NOW).flags == known.flags
    assert [finding.words for finding in await ledger.reconciliations.findings("r1")] == [NO_WORDS]


async def test_why_a_person_stopped_the_case_of_a_card(ledger: Ledger) -> None:
    case = await claim_card(ledger)
    ended = CardState(
        ref=CardRef(case_id=case.id, method=case.method, expiry=case.expiry),
        card=CardFacts(method=case.method, read_at=NOW),
        opened_at=NOW,
        charge_at=NOW,
        outcome=CardOutcome.ENDED,
        closed_at=NOW,
        closed_reason=WORDS,
        stopped=True,
    )
    line = Entry(at=NOW, what="lever.stop", text=f'stopped ("{WORDS}")')
    await ledger.cards.remember(ended, CardDecision(reason=WORDS), [line], seq=0, run_id=case.run_id, at=NOW)
    await ledger.people.erase("", "cus_1")
    [record] = await ledger.cards.of_customer("", "cus_1")
    assert (record.closed_reason, record.next_what) == (NO_WORDS, "")
    assert [entry.text for entry in await ledger.cases.entries(case.id)] == [NO_WORDS]
