"""One customer in one view, given away, and erased, while a case of theirs runs on."""

from __future__ import annotations

from temporalio.service import RPCError, RPCStatusCode

from tests.fixtures.command import Dunning
from tests.fixtures.engine import Engine
from tests.fixtures.temporal import eventually

WORDS = "salary comes late: divorce"


async def test_a_customer_is_shown_and_forgotten(engine: Engine, dunning: Dunning) -> None:
    ended = await engine.case("expired_card")
    await engine.client.grant_extension(ended.invoice, days=3, reason=WORDS, by="maria")
    await ended.customer_pays()
    running = await engine.renewal(ended.customer, ended.subscription, ended.email)
    await engine.settle()
    await engine.client.grant_extension(running.invoice, days=5, reason=WORDS, by="maria")

    shown = await dunning("customer", "show", ended.customer)
    assert shown.out.count(WORDS) == 2
    whole = (await dunning("customer", "export", ended.customer)).json
    assert [case["invoice_id"] for case in whole["cases"]] == [ended.invoice, running.invoice]
    assert all(case["timeline"] for case in whole["cases"])

    refused = await dunning("customer", "erase", ended.customer)
    assert (refused.status, "--yes" in refused.err) == (2, True)
    erased = (await dunning("customer", "erase", ended.customer, "--yes", "--json")).json
    assert (erased["running"], erased["histories"]) == (1, 1)

    # The running case has forgotten, too: what it writes next brings nothing back.
    await engine.client.grant_extension(running.invoice, days=1, reason="more", by="maria")
    exported = await dunning("customer", "export", ended.customer)
    assert WORDS not in exported.out
    assert [granted["reason"] for granted in exported.json["extensions"]] == ["", "", "more"]
    assert WORDS not in str(await running.handle.query("timeline"))
    assert (await running.status()).stage.value == "recovering"

    async def is_gone() -> bool:
        try:
            await ended.handle.describe()
        except RPCError as error:
            return error.status is RPCStatusCode.NOT_FOUND
        return False

    # Temporal deletes in its own time.
    await eventually(is_gone, "the history of the ended case is deleted", seconds=60)
