"""One customer in one view, given away, and erased, while a case of theirs runs on."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from temporalio.service import RPCError, RPCStatusCode

from tests.fixtures.engine import Engine, worker_environment
from tests.fixtures.temporal import eventually

WORDS = "salary comes late: divorce"


async def dunning(engine: Engine, *args: str) -> tuple[int, str]:
    """Exit status and output of the command."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "starter", "customer", *args),
        env=worker_environment(engine),
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def test_a_customer_is_shown_and_forgotten(engine: Engine) -> None:
    ended = await engine.case("expired_card")
    await engine.client.grant_extension(ended.invoice, days=3, reason=WORDS, by="maria")
    await ended.customer_pays()
    running = await engine.renewal(ended.customer, ended.subscription, ended.email)
    await engine.settle()
    await engine.client.grant_extension(running.invoice, days=5, reason=WORDS, by="maria")

    _, shown = await dunning(engine, "show", ended.customer)
    assert shown.count(WORDS) == 2
    _, exported = await dunning(engine, "export", ended.customer)
    whole: dict[str, Any] = json.loads(exported)
    assert [case["invoice_id"] for case in whole["cases"]] == [ended.invoice, running.invoice]
    assert all(case["timeline"] for case in whole["cases"])

    status, refused = await dunning(engine, "erase", ended.customer)
    assert (status, "--yes" in refused) == (2, True)
    _, erased = await dunning(engine, "erase", ended.customer, "--yes", "--json")
    assert json.loads(erased)["running"] == 1
    assert json.loads(erased)["histories"] == 1

    # The running case has forgotten, too: what it writes next brings nothing back.
    await engine.client.grant_extension(running.invoice, days=1, reason="more", by="maria")
    _, exported = await dunning(engine, "export", ended.customer)
    assert WORDS not in exported
    assert [granted["reason"] for granted in json.loads(exported)["extensions"]] == ["", "", "more"]
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
