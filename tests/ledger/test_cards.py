"""The cases of cards: one open per card and expiry, and what they said."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from alembic import command
from sqlalchemy import create_engine, text

from dunning.case import Entry
from dunning.expiry.card import CardDecision, CardFacts, CardOutcome, CardRef, CardState
from dunning.values import Channel
from ledger import Ledger, NotInLedger
from ledger.cards import CardCaseRecord
from ledger.upgrading import _config, _connect, upgrade
from ledger.urls import parse_url
from tests.ledger.acts import DAY, NOW

EXPIRY = "2026-08"


async def claim(ledger: Ledger, method: str = "pm_1", **changes: Any) -> CardCaseRecord:
    given: dict[str, Any] = {
        "account": "",
        "method": method,
        "expiry": EXPIRY,
        "workflow_id": f"card-expiry/{method}/{EXPIRY}",
        "run_id": "run-1",
        "customer": "cus_1",
        "policy_name": "standard",
        "policy_version": "1",
        "charge_at": NOW + 20 * DAY,
        "at": NOW,
    }
    return await ledger.cards.claim(**given | changes)


async def remember(ledger: Ledger, case: CardCaseRecord, *texts: str, seq: int = 0, **changes: Any) -> bool:
    facts = CardFacts(method=case.method, read_at=NOW, customer=case.customer)
    ref = CardRef(case_id=case.id, method=case.method, expiry=case.expiry)
    state = CardState(ref=ref, card=facts, opened_at=NOW, charge_at=NOW + 20 * DAY)
    if "outcome" in changes:
        state = state.model_copy(update={"closed_at": NOW, **changes})
    return await ledger.cards.remember(
        state,
        CardDecision(reason="waiting", until=NOW + DAY),
        [Entry(at=NOW, what="x", text=text) for text in texts],
        seq=seq,
        run_id=case.run_id,
        at=NOW,
    )


async def texts(ledger: Ledger, case: CardCaseRecord) -> list[str]:
    return [entry.text for entry in await ledger.cases.entries(case.id)]


class TestClaim:
    async def test_one_of_many_workflows_opens_the_case(self, ledger: Ledger) -> None:
        claims = await asyncio.gather(*(claim(ledger, workflow_id=f"w{i}") for i in range(12)))

        assert {c.id for c in claims} == {"card/acct/pm_1/2026-08/1"}
        assert len({c.workflow_id for c in claims}) == 1

    async def test_a_card_that_comes_back_is_another_episode(self, ledger: Ledger) -> None:
        case = await claim(ledger)
        await remember(ledger, case, "closed", outcome=CardOutcome.REPLACED)

        assert (await claim(ledger)).id == case.id  # a straggling repeat of the same run
        assert (await claim(ledger, run_id="run-2")).episode == 2

    async def test_a_new_run_takes_over_and_counts_on(self, ledger: Ledger) -> None:
        old = await claim(ledger)
        await remember(ledger, old, "one", "two")
        new = await claim(ledger, run_id="run-2")
        await remember(ledger, new, "three")

        assert not await remember(ledger, old, "late")
        assert await texts(ledger, new) == ["one", "two", "three"]

    async def test_a_repeated_step_is_told_once(self, ledger: Ledger) -> None:
        case = await claim(ledger)
        await remember(ledger, case, "one")
        await remember(ledger, case, "two", seq=1)
        await remember(ledger, case, "two", seq=1)

        assert await texts(ledger, case) == ["one", "two"]


class TestLookUp:
    async def test_by_customer_or_by_card_while_it_is_open(self, ledger: Ledger) -> None:
        first, second = await claim(ledger), await claim(ledger, "pm_2")
        await remember(ledger, second, outcome=CardOutcome.ENDED)

        assert [c.id for c in await ledger.cards.concerned("", customer="cus_1")] == [first.id]
        assert [c.id for c in await ledger.cards.concerned("", method="pm_1")] == [first.id]
        assert await ledger.cards.concerned("acct_2", customer="cus_1") == ()

    @pytest.mark.parametrize(
        ("outcome", "stopped", "settled"),
        [
            (CardOutcome.REPLACED, False, False),
            (CardOutcome.ENDED, False, False),
            (CardOutcome.ENDED, True, True),
            (CardOutcome.EXPIRED, False, True),
        ],
    )
    async def test_what_no_scan_begins_again(
        self, ledger: Ledger, outcome: CardOutcome, stopped: bool, settled: bool
    ) -> None:
        case = await claim(ledger)
        await remember(ledger, case, outcome=outcome, stopped=stopped)

        known = await ledger.cards.of("", [("pm_1", EXPIRY), ("pm_9", EXPIRY)])

        assert {method: c.settled for method, c in known.items()} == {"pm_1": settled}
        assert await ledger.cards.of("", [("pm_1", "2030-01")]) == {}


class TestMessages:
    async def test_share_the_table_of_all_messages(self, ledger: Ledger) -> None:
        case = await claim(ledger)
        given: dict[str, Any] = {
            "step": "card_expiring",
            "channel": Channel.EMAIL,
            "template": "card_expiring",
        }
        sent = await ledger.dispatches.claim(case_id=case.id, customer="cus_1", at=NOW, **given)
        await ledger.dispatches.complete(sent.dispatch_id, "accepted", at=NOW)

        assert await ledger.cards.told("", "pm_1", NOW - DAY) == NOW
        assert await ledger.cards.told("", "pm_1", NOW + timedelta(seconds=1)) is None
        assert await ledger.cards.told("", "pm_2", NOW - DAY) is None
        with pytest.raises(NotInLedger, match="nothing is not in the ledger"):
            await ledger.dispatches.claim(case_id="nothing", customer="cus_1", at=NOW, **given)


def test_the_upgrade_keeps_messages_and_what_was_heard_of_them(tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path}/old.db"
    parsed = parse_url(url, asynchronous=False)
    with _connect(parsed) as connection:
        command.upgrade(_config(connection), "0003")
        for statement in (
            "INSERT INTO cases VALUES ('c','','in_1',1,'w','r','cus_1',NULL,'usd',1,1,'standard','1',"
            "'2026-01-01','recovering',NULL,NULL,NULL,NULL,'',NULL,'',NULL,NULL,0,0,NULL,NULL,NULL,'running',0,0,'[]',"
            "'2026-01-01',NULL)",
            "INSERT INTO dispatches (id, case_id, step, channel, template, customer, claimed_at, "
            "fate, provider_id, detail) VALUES ('d','c','s','email','t','cus_1','2026-01-01','accepted',"
            "'p','')",
            "INSERT INTO dispatch_events VALUES (1,'d','sendgrid','delivered','2026-01-01','')",
            "INSERT INTO entries VALUES ('c',0,'2026-01-01','w','t','b','{}')",
        ):
            connection.exec_driver_sql(statement)
    upgrade(url)

    with create_engine(parsed).connect() as connection:
        joined = "SELECT e.event FROM dispatch_events e JOIN dispatches d ON d.id = e.dispatch_id"
        assert connection.scalars(text(joined)).all() == ["delivered"]
        assert connection.scalars(text("SELECT text FROM entries")).all() == ["t"]
