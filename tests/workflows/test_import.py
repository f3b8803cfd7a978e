"""A business that had failed invoices before it had the engine: they are taken over in good order."""

from __future__ import annotations

from datetime import timedelta

import pytest

from activities import stripe_calls
from dunning.reconciliation import Kind
from tests.fixtures.engine import Engine
from tests.fixtures.reconciling import reconcile, told
from tests.fixtures.temporal import eventually

DAY = timedelta(days=1)


async def test_old_debts_wait_for_the_import_and_the_oldest_stay_as_they_are(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stripe_calls, "LONGEST_PAGE", 1)
    ancient = await engine.unannounced("insufficient_funds")
    await engine.control.advance((58 * DAY).total_seconds())
    old = [await engine.unannounced("expired_card") for _ in range(2)]
    await engine.control.advance((5 * DAY).total_seconds())

    assert await reconcile(engine) == ()  # nobody is surprised by an engine that was just installed

    opened = {(Kind.INVOICE_WITHOUT_CASE, case.invoice, True) for case in old}
    left = {(Kind.INVOICE_TOO_OLD, ancient.invoice, False)}
    assert told(await reconcile(engine, importing=True)) == opened | left
    for case in old:
        await eventually(case.record, "the case is open")
    assert await ancient.record() is None

    assert told(await reconcile(engine, importing=True)) == left
