"""Cases: episodes, holders, what a step leaves behind, and how cases are found again."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from dunning.case import Entry, Extension
from dunning.values import Channel, Outcome, RecoveredVia, Stage, WaitingOn
from ledger import Ledger, LedgerError, NotInLedger
from tests.ledger.acts import DAY, NOW, claim_case, claim_message, closing, complete, reserve, said, summary


class TestClaim:
    async def test_first_claim_opens_episode_one(self, ledger: Ledger) -> None:
        claim = await claim_case(ledger)

        assert (claim.case_id, claim.episode, claim.fresh, claim.held_by) == ("acct/in_1/1", 1, True, None)
        assert (claim.next_number, claim.next_seq) == (1, 0)
        assert (claim.case.stage, claim.case.amount_remaining, claim.case.opened_at) == (
            Stage.RECOVERING,
            4900,
            NOW,
        )

    async def test_repeated_claim_gets_the_same_case(self, ledger: Ledger) -> None:
        first = await claim_case(ledger)
        again = await claim_case(ledger, at=NOW + DAY, amount=1, policy_version="other")

        assert again == first

    async def test_connected_accounts_are_apart(self, ledger: Ledger) -> None:
        await claim_case(ledger)
        connected = await claim_case(ledger, account="acct_9")

        assert connected.fresh
        assert connected.case_id == "acct_9/in_1/1"

    async def test_new_run_takes_over_after_the_old_one_was_terminated(self, ledger: Ledger) -> None:
        await claim_case(ledger)
        await ledger.cases.remember("acct/in_1/1", 0, said("opened", "waiting"), summary())

        taken = await claim_case(ledger, run_id="run-2", policy_version="newer", at=NOW + DAY)

        assert (taken.case_id, taken.fresh, taken.next_seq) == ("acct/in_1/1", False, 2)
        assert (taken.case.run_id, taken.policy_version) == ("run-2", "abc123")

    async def test_straggler_of_the_terminated_run_changes_nothing(self, ledger: Ledger) -> None:
        claim = await claim_case(ledger)
        await ledger.cases.remember(claim.case_id, 0, said("opened", "waiting"), summary())
        taken = await claim_case(ledger, run_id="run-2", at=NOW + DAY)

        late = await ledger.cases.remember(claim.case_id, 1, said("too late"), closing(NOW + 2 * DAY))

        assert not late
        assert taken.case == await ledger.cases.get(claim.case_id)
        assert [e.text for e in await ledger.cases.entries(claim.case_id)] == ["opened", "waiting"]

    async def test_new_run_counts_from_zero_and_continues_the_timeline(self, ledger: Ledger) -> None:
        remember, case_id = ledger.cases.remember, "acct/in_1/1"
        await claim_case(ledger)
        await remember(case_id, 0, said("opened", "waiting"), summary(), run_id="run-1")
        await claim_case(ledger, run_id="run-2", at=NOW + DAY)

        assert await remember(
            case_id, 0, said("taken over"), summary(at=NOW + DAY, stage=Stage.GRACE), run_id="run-2"
        )
        assert not await remember(case_id, 9, said("too late"), closing(NOW + 9 * DAY), run_id="run-1")

        case = await ledger.cases.get(case_id)
        assert case is not None
        assert (case.stage, case.run_id) == (Stage.GRACE, "run-2")
        lines = [(e.seq, e.text) for e in await ledger.cases.entries(case_id)]
        assert lines == [(0, "opened"), (1, "waiting"), (2, "taken over")]

    async def test_reset_run_rewrites_what_was_undone(self, ledger: Ledger) -> None:
        remember, case_id = ledger.cases.remember, "acct/in_1/1"
        await claim_case(ledger)
        await remember(case_id, 0, said("opened"), summary(), run_id="run-1")
        await remember(case_id, 1, said("retry"), summary(at=NOW + DAY), run_id="run-1")
        await remember(case_id, 2, said("stopped"), closing(NOW + 2 * DAY), run_id="run-1")

        assert await remember(case_id, 1, said("retry again"), summary(), run_id="run-1-reset")

        case = await ledger.cases.get(case_id)
        assert case is not None
        assert (case.open, case.run_id) == (True, "run-1-reset")
        assert [e.text for e in await ledger.cases.entries(case_id)] == ["opened", "retry again"]
        assert not await remember(case_id, 3, said("late"), closing(NOW + 3 * DAY), run_id="run-1")

    async def test_another_workflow_is_told_who_holds_the_case(self, ledger: Ledger) -> None:
        await claim_case(ledger)

        other = await claim_case(ledger, workflow_id="by-hand", run_id="run-9")

        assert (other.held_by, other.fresh) == ("invoice-dunning/in_1", False)
        held = await ledger.cases.by_invoice("", "in_1")
        assert held is not None
        assert (held.workflow_id, held.run_id) == ("invoice-dunning/in_1", "run-1")

    async def test_failure_after_the_end_opens_the_next_episode(self, ledger: Ledger) -> None:
        first = await claim_case(ledger)
        await reserve(ledger, 1)
        await reserve(ledger, 2)
        await ledger.cases.remember(first.case_id, 0, said("paid"), closing())

        second = await claim_case(ledger, run_id="run-2", at=NOW + DAY)

        assert (second.case_id, second.episode, second.fresh) == ("acct/in_1/2", 2, True)
        assert (second.next_number, second.next_seq) == (3, 0)
        latest = await ledger.cases.by_invoice("", "in_1")
        assert latest == second.case

    async def test_straggling_first_step_of_a_closed_run_opens_nothing(self, ledger: Ledger) -> None:
        first = await claim_case(ledger)
        await ledger.cases.remember(first.case_id, 0, said("paid"), closing())

        repeat = await claim_case(ledger)

        assert (repeat.case_id, repeat.case.open) == ("acct/in_1/1", False)
        assert len((await ledger.cases.find(invoice="in_1")).cases) == 1


class TestRemember:
    async def test_everything_that_a_step_said_can_be_read_again(self, ledger: Ledger) -> None:
        await claim_case(ledger)
        extension = Extension(days=7, at=NOW, by="Anna", reason="holiday", by_customer=False)
        told = summary(
            stage=Stage.GRACE,
            waiting_on=WaitingOn.DATE,
            next_at=NOW + DAY,
            next_what="reminder",
            decline_code="insufficient_funds",
            decline_class="soft",
            needs_human=True,
            grace_starts_at=NOW,
            last_day=date(2026, 3, 9),
            zone="Europe/Berlin",
            extensions=(extension,),
            policy_name="gentle",
            policy_version="def456",
        )
        entry = Entry(at=NOW, what="extended", text="7 more days", by="Anna", data={"days": 7, "at": NOW})

        assert await ledger.cases.remember("acct/in_1/1", 0, [entry], told)

        case = await ledger.cases.get("acct/in_1/1")
        assert case is not None
        kept = ("stage", "waiting_on", "next_at", "next_what", "decline_code", "decline_class", "needs_human")
        for name in (*kept, "grace_starts_at", "last_day", "zone", "policy_name", "policy_version"):
            assert getattr(case, name) == getattr(told, name)
        [line] = await ledger.cases.entries("acct/in_1/1")
        assert (line.seq, line.what, line.by, line.at) == (0, "extended", "Anna", NOW)
        assert line.data == {"days": 7, "at": "2026-03-02T09:30:00Z"}

    async def test_same_call_twice_leaves_one_timeline(self, ledger: Ledger) -> None:
        await claim_case(ledger)
        granted = (Extension(days=7, at=NOW, by="Anna"),)

        for _ in range(2):
            assert await ledger.cases.remember("acct/in_1/1", 0, said("a", "b"), summary(extensions=granted))

        assert [(e.seq, e.text) for e in await ledger.cases.entries("acct/in_1/1")] == [(0, "a"), (1, "b")]

    async def test_step_carried_out_again_replaces_what_it_said(self, ledger: Ledger) -> None:
        await claim_case(ledger)
        await ledger.cases.remember("acct/in_1/1", 0, said("opened"), summary())
        await ledger.cases.remember("acct/in_1/1", 1, said("retry", "then wait", "then write"), summary())
        soon = NOW + timedelta(seconds=5)

        await ledger.cases.remember("acct/in_1/1", 1, said("extension granted", at=soon), summary(at=soon))

        assert [e.text for e in await ledger.cases.entries("acct/in_1/1")] == ["opened", "extension granted"]

    async def test_straggler_after_a_later_step_is_ignored(self, ledger: Ledger) -> None:
        await claim_case(ledger)
        await ledger.cases.remember("acct/in_1/1", 0, said("a"), summary())
        await ledger.cases.remember("acct/in_1/1", 1, said("b"), summary(stage=Stage.GRACE))

        assert not await ledger.cases.remember("acct/in_1/1", 0, said("late"), summary())

        case = await ledger.cases.get("acct/in_1/1")
        assert case is not None
        assert case.stage is Stage.GRACE
        assert [e.text for e in await ledger.cases.entries("acct/in_1/1")] == ["a", "b"]

    async def test_text_that_no_database_can_store_harms_nothing(self, ledger: Ledger) -> None:
        await claim_case(ledger)
        ugly = "null \x00, half a pair \ud83d"
        entry = Entry(at=NOW, what="note", text=ugly, by=ugly, data={"text": ugly, "n": float("nan")})

        assert await ledger.cases.remember("acct/in_1/1", 0, [entry], summary(next_what=ugly))

        [line] = await ledger.cases.entries("acct/in_1/1")
        assert line.text == "null \N{REPLACEMENT CHARACTER}, half a pair ?"
        assert line.data["text"].startswith("null \x00")
        assert line.data["n"] == "nan"

    async def test_unknown_case_is_refused(self, ledger: Ledger) -> None:
        with pytest.raises(NotInLedger, match="case acct/in_9/1 is not in the ledger"):
            await ledger.cases.remember("acct/in_9/1", 0, [], summary())

    async def test_closed_case_cannot_go_on_beside_its_successor(self, ledger: Ledger) -> None:
        await claim_case(ledger)
        await ledger.cases.remember("acct/in_1/1", 0, said("paid"), closing())
        await claim_case(ledger, run_id="run-2")

        with pytest.raises(LedgerError, match="a later case of its invoice is open"):
            await ledger.cases.remember("acct/in_1/1", 1, said("on"), summary())


class TestTime:
    async def test_moments_come_back_in_utc(self, ledger: Ledger) -> None:
        berlin = datetime(2026, 3, 2, 10, 30, 0, 123456, tzinfo=timezone(timedelta(hours=1)))

        claim = await claim_case(ledger, at=berlin)

        case = await ledger.cases.get(claim.case_id)
        assert case is not None
        assert case.opened_at == datetime(2026, 3, 2, 9, 30, 0, 123456, tzinfo=UTC)
        assert case.opened_at.tzinfo is UTC

    async def test_naive_moments_are_refused(self, ledger: Ledger) -> None:
        with pytest.raises(Exception, match="has no time zone"):
            await claim_case(ledger, at=datetime(2026, 3, 2))  # noqa: DTZ001


class TestFind:
    async def test_by_what_is_known_of_a_case(self, ledger: Ledger) -> None:
        await claim_case(ledger, "in_1")
        await claim_case(ledger, "in_2", customer="cus_2", subscription=None)
        await claim_case(ledger, "in_3", policy_name="gentle")
        await ledger.cases.remember("acct/in_2/1", 0, [], summary(stage=Stage.GRACE, needs_human=True))
        await ledger.cases.remember("acct/in_3/1", 0, [], closing())

        async def found(**given: object) -> set[str]:
            page = await ledger.cases.find(**given)  # type: ignore[arg-type]
            return {case.invoice_id for case in page.cases}

        assert await found() == {"in_1", "in_2", "in_3"}
        assert await found(open_only=True) == {"in_1", "in_2"}
        assert await found(customer="cus_2") == {"in_2"}
        assert await found(subscription="sub_1", open_only=True) == {"in_1"}
        assert await found(stage=Stage.GRACE) == {"in_2"}
        assert await found(needs_human=True) == {"in_2"}
        assert await found(needs_human=False, account="") == {"in_1", "in_3"}
        assert await found(policy="gentle") == {"in_3"}
        assert await found(account="acct_9") == set()

    async def test_pages_show_every_case_once(self, ledger: Ledger) -> None:
        for i in range(7):
            await claim_case(ledger, f"in_{i}", at=NOW + (i // 3) * DAY)

        seen, cursor = [], None
        while True:
            page = await ledger.cases.find(limit=2, cursor=cursor)
            seen += [case.invoice_id for case in page.cases]
            cursor = page.cursor
            if cursor is None:
                break

        assert seen == ["in_6", "in_5", "in_4", "in_3", "in_2", "in_1", "in_0"]

    async def test_foreign_cursor_is_refused(self, ledger: Ledger) -> None:
        with pytest.raises(LedgerError, match="start at the first page"):
            await ledger.cases.find(cursor="page 2")

    async def test_older_open_case_of_the_subscription(self, ledger: Ledger) -> None:
        for day, invoice in enumerate(["in_1", "in_2", "in_3"]):
            await claim_case(ledger, invoice, at=NOW + day * DAY)
        await claim_case(ledger, "in_0", subscription="sub_2", at=NOW - DAY)

        async def older(invoice: str) -> str | None:
            case = await ledger.cases.older_open("", "cus_1", "sub_1", f"acct/{invoice}/1")
            return case.invoice_id if case else None

        assert (await older("in_3"), await older("in_2"), await older("in_1")) == ("in_1", "in_1", None)
        await ledger.cases.remember("acct/in_1/1", 0, [], closing())
        assert (await older("in_3"), await older("in_2")) == ("in_2", None)
        assert await ledger.cases.older_open("", "cus_1", None, "acct/in_3/1") is None

    async def test_due_and_halted_cases(self, ledger: Ledger) -> None:
        for day, invoice in enumerate(["in_1", "in_2", "in_3"]):
            await claim_case(ledger, invoice)
            told = summary(next_at=NOW + (3 - day) * DAY, halted=invoice == "in_2")
            await ledger.cases.remember(f"acct/{invoice}/1", 0, [], told)

        due = await ledger.cases.due_before(NOW + 2 * DAY)
        assert [case.invoice_id for case in due] == ["in_3", "in_2"]
        assert [case.invoice_id for case in await ledger.cases.halted()] == ["in_2"]


async def test_counts_for_metrics(ledger: Ledger) -> None:
    for invoice in ("in_1", "in_2", "in_3"):
        await claim_case(ledger, invoice)
    await reserve(ledger, 1)
    await complete(ledger, 1, "declined")
    await reserve(ledger, 2)
    for invoice in ("in_1", "in_2"):
        paid = closing(outcome=Outcome.RECOVERED, recovered_via=RecoveredVia.ENGINE)
        await ledger.cases.remember(f"acct/{invoice}/1", 0, [], paid)
    await claim_message(ledger)
    sms = await claim_message(ledger, channel=Channel.SMS)
    await ledger.dispatches.complete(sms.dispatch_id, "accepted", at=NOW)

    counts = await ledger.counts()

    assert counts.cases == {("closed", "recovered"): 2, ("recovering", ""): 1}
    assert counts.recovered == {("eur", "engine"): 9800}
    assert counts.attempts == {("soft", "declined"): 1, ("", ""): 1}
    assert counts.messages == {("email", ""): 1, ("sms", "accepted"): 1}
