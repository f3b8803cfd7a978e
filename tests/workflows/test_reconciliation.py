"""Nothing is missed: what webhooks did not tell, a reconciliation finds and mends."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowHandle

from activities import stripe_calls
from dunning.reconciliation import Kind
from dunning.values import Outcome, RecoveredVia, Stage
from tests.fixtures.command import Dunning
from tests.fixtures.engine import Engine
from tests.fixtures.reconciling import PATIENCE, begun, reconcile, told
from tests.fixtures.temporal import eventually
from tests.ledger.test_cards import claim as claim_card


async def lost_events(engine: Engine, kind: str) -> set[str]:
    """Ids of the events of a type whose webhook was never delivered, by the sandbox's books."""
    dropped = await engine.control.deliveries(service="stripe", state="dropped")
    events = (await engine.control.stripe_books())["events"]
    lost = {delivery.event_id for delivery in dropped}
    return {event["id"] for event in events if event["type"] == kind and event["id"] in lost}


async def deaf(engine: Engine) -> None:
    """Nobody is told anything any more, and Stripe believes that all is well."""
    endpoint = (await engine.control.stripe_books())["webhook_endpoints"][0]["id"]
    await engine.stripe.webhook_endpoints.update_async(endpoint, {"disabled": True})


async def test_a_failure_that_no_webhook_announced_gets_its_case(engine: Engine) -> None:
    case = await engine.unannounced("insufficient_funds")
    await engine.control.advance(PATIENCE.total_seconds())
    assert await case.record() is None

    seen = await reconcile(engine, dry_run=True)
    (event,) = await lost_events(engine, "invoice.payment_failed")
    assert (Kind.LOST_EVENT, event, False) in told(seen)
    assert await case.record() is None

    mended = await reconcile(engine)
    await eventually(case.record, "the case is open")
    assert told(mended) == {(Kind.LOST_EVENT, event, True)}
    assert await reconcile(engine) == ()


async def test_a_failure_that_stripe_believes_delivered_is_found_in_the_list_of_invoices(
    engine: Engine,
) -> None:
    await deaf(engine)
    case = await engine.failed_renewal("insufficient_funds")
    await engine.control.advance(PATIENCE.total_seconds())

    assert told(await reconcile(engine)) == {(Kind.INVOICE_WITHOUT_CASE, case.invoice, True)}
    await eventually(case.record, "the case is open")

    await case.customer_pays()  # nobody is told of that either
    assert told(await reconcile(engine)) == {(Kind.CASE_OF_SETTLED_INVOICE, f"acct/{case.invoice}/1", True)}
    closing = await case.result()
    assert (closing.outcome, closing.recovered_via) == (Outcome.RECOVERED, RecoveredVia.CUSTOMER)
    assert await reconcile(engine) == ()


async def test_a_case_whose_workflow_was_terminated_goes_on(engine: Engine) -> None:
    case = await engine.case("insufficient_funds")
    await case.handle.terminate("somebody pressed the wrong button")
    await engine.control.advance(timedelta(days=3).total_seconds())

    (finding,) = await reconcile(engine)
    assert (finding.kind, finding.case_id) == (Kind.CASE_OVERDUE, f"acct/{case.invoice}/1")
    assert finding.words.startswith("should have acted since ")
    assert finding.fixed_at is not None
    assert (await case.status()).stage is Stage.RECOVERING


async def test_who_is_suspended_for_an_invoice_that_was_paid_is_restored(engine: Engine) -> None:
    case = await engine.case("insufficient_funds")
    now, books = await engine.now(), engine.ledger.suspensions
    await books.begin(
        account="",
        subscription=case.subscription,
        invoice_id=case.invoice,
        how="event_only",
        previous={},
        at=now,
    )
    await books.completed(account="", subscription=case.subscription, to="active", at=now)
    await engine.client.stop(case.invoice, outcome="stopped", reason="by mistake", by="ops")
    await deaf(engine)
    await case.customer_pays()

    (finding,) = await reconcile(engine)
    assert (finding.kind, finding.subject) == (Kind.SUSPENDED_WITHOUT_DEBT, case.subscription)
    assert finding.fixed_at is not None
    assert (await case.result()).outcome is Outcome.RECOVERED
    assert await books.active("", case.subscription) is None
    assert await reconcile(engine) == ()


async def handed_on(engine: Engine, run: WorkflowHandle[Any, Any]) -> bool:
    """Whether the run went on as another one."""
    first = engine.temporal.get_workflow_handle(run.id, run_id=run.result_run_id)
    return (await first.describe()).status is WorkflowExecutionStatus.CONTINUED_AS_NEW


async def test_a_long_run_hands_on_to_a_successor_that_goes_on_where_it_was(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stripe_calls, "LONGEST_PAGE", 1)
    await deaf(engine)
    cases = [await engine.failed_renewal("expired_card") for _ in range(6)]

    run = await begun(engine)
    result = await run.result()

    assert await handed_on(engine, run)
    assert result.run == run.result_run_id
    found = await engine.ledger.reconciliations.findings(result.run)
    assert told(found) == {(Kind.INVOICE_WITHOUT_CASE, case.invoice, True) for case in cases}
    assert (result.counts.looked_at, result.counts.found, result.counts.fixed) == (6, 6, 6)
    assert await reconcile(engine) == ()


async def test_a_platform_of_many_accounts_is_gone_through_by_several_runs(engine: Engine) -> None:
    for number in range(10):
        await claim_card(engine.ledger, account=f"acct_{number}")
    run = await begun(engine)
    await run.result()
    assert await handed_on(engine, run)
    for listed in ("/v1/events$", "/v1/invoices$"):  # of each account and of the platform itself, once
        assert len(await engine.control.requests(service="stripe", method="GET", path=listed)) == 11


async def test_the_command_tells_what_it_found(engine: Engine, dunning: Dunning) -> None:
    await deaf(engine)
    case = await engine.failed_renewal("insufficient_funds")

    said = await dunning("reconcile", "--dry-run", "--account", "acct_unheard_of")

    lines = said.out.splitlines()
    assert lines[0].split("\t") == ["kind", "about", "what_is_wrong", "remedy"]
    assert lines[1].split("\t")[:2] == ["invoice_without_case", case.invoice]
    assert lines[1].split("\t")[3] == "start: not done"
    assert lines[2] == "1 looked at, 1 found, 0 fixed"
    assert await case.record() is None
    looks = await engine.control.requests(service="stripe", method="GET", path="/v1/invoices$")
    assert len(looks) == 2  # the platform's own, and those of the account that was named
