"""Invoices that are sent instead of charged, on the real server: `invoice.finalized` opens their cases."""

from __future__ import annotations

from dunning.values import Outcome, RecoveredVia
from tests.fixtures.engine import Engine


async def test_a_sent_invoice_is_reminded_of_and_suspended_for_but_never_charged(engine: Engine) -> None:
    case = await engine.sent_invoice(days_until_due=10)
    await case.until(33)
    await case.customer_pays()
    closed = await case.to_the_end()
    assert await case.calendar() == {
        7: ["email invoice_due_soon"],
        11: ["email invoice_overdue"],
        17: ["email invoice_overdue"],
        24: ["email grace_started"],
        28: ["email grace_reminder"],
        30: ["email final_notice"],
        31: ["email suspended", "pause"],
        33: ["email restored", "resume"],
    }
    assert (closed.outcome, closed.recovered_via) == (Outcome.RECOVERED, RecoveredVia.CUSTOMER)


async def test_a_sent_invoice_that_is_paid_in_time_hears_nothing_more(engine: Engine) -> None:
    case = await engine.sent_invoice(days_until_due=10)
    await case.until(8)
    await case.customer_pays()
    assert (await case.result()).outcome is Outcome.NOT_APPLICABLE
    assert await case.calendar() == {7: ["email invoice_due_soon"]}
