"""Opening a case: which invoices get one, who holds it, which policy it keeps."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from activities.context import PolicyBook, load_business
from dunning.policy import PolicyError
from dunning.values import DeclineClass, Outcome
from ledger.records import CaseSummary
from tests.activities.shop import Shop, charge


async def test_a_failed_renewal_opens_a_case_with_its_verdict_and_policy(shop: Shop) -> None:
    renewal = await shop.renewal("insufficient_funds")
    state = await shop.open(renewal.invoice)
    assert state.ref.case_id == f"acct/{renewal.invoice}/1"
    assert state.verdict is not None
    assert (state.verdict.cls, state.verdict.code) == (DeclineClass.SOFT, "insufficient_funds")
    assert state.next_number == 1
    row = await shop.ledger.cases.get(state.ref.case_id)
    assert row is not None
    assert (row.policy_name, row.amount, row.customer) == ("standard", 1900, renewal.customer)


async def test_an_unknown_invoice_is_refused_and_leaves_no_case(shop: Shop) -> None:
    assert "Stripe knows no invoice in_nowhere" in await shop.refusal("in_nowhere")
    assert (await shop.ledger.cases.find()).cases == ()


async def test_an_invoice_that_is_paid_is_recorded_as_not_applicable(shop: Shop) -> None:
    renewal = await shop.renewal("insufficient_funds")
    await shop.pay_by_hand(renewal.invoice)
    for _ in range(2):  # the second time a try of the same run comes late
        assert "is paid already" in await shop.refusal(renewal.invoice)
    (row,) = (await shop.ledger.cases.find()).cases
    assert (row.outcome, row.open) == (Outcome.NOT_APPLICABLE, False)
    assert len(await shop.ledger.cases.entries(row.id)) == 1


@pytest.mark.parametrize("end", ["void", "uncollectible", "canceled"])
async def test_an_invoice_that_nobody_wants_paid_any_more_is_not_dunned(shop: Shop, end: str) -> None:
    renewal = await shop.renewal("insufficient_funds")
    if end == "void":
        await shop.stripe.invoices.void_invoice_async(renewal.invoice)
    elif end == "uncollectible":
        await shop.stripe.invoices.mark_uncollectible_async(renewal.invoice)
    else:
        await shop.stripe.subscriptions.cancel_async(renewal.subscription)
    assert end in await shop.refusal(renewal.invoice)


async def test_a_second_workflow_is_told_who_holds_the_case(shop: Shop) -> None:
    renewal = await shop.renewal("insufficient_funds")
    await shop.open(renewal.invoice, workflow_id="started-by-hand")
    assert "workflow started-by-hand" in await shop.refusal(renewal.invoice)


async def test_a_policy_that_does_not_exist_ends_the_start_with_a_sentence(shop: Shop) -> None:
    renewal = await shop.renewal("insufficient_funds")
    with pytest.raises(ApplicationError) as refused:
        await shop.open(renewal.invoice, policy="gentle")
    assert (refused.value.type, refused.value.non_retryable) == ("InvalidInput", True)
    assert "no policy called 'gentle'" in refused.value.message
    assert "standard" in refused.value.message


async def test_the_segment_names_the_policy_unless_the_start_does(shop: Shop, policies: Path) -> None:
    shipped = (Path("dunning") / "policies" / "standard.yaml").read_text(encoding="utf-8")
    for name in ("alpine", "gold"):
        own = shipped.replace("name: standard", f"name: {name}")
        (policies / f"{name}.yaml").write_text(own, encoding="utf-8")
    (policies / "segments.yaml").write_text(
        "segments:\n"
        "  - {policy: gold, when: {currencies: [usd], amount_at_least: 1900, metadata: {tier: gold}}}\n"
        "  - {policy: alpine, when: {countries: [CH]}}\n",
        encoding="utf-8",
    )
    swiss = {"address": {"country": "CH"}}
    found = {}
    for who, customer in {"swiss": swiss, "gold": {"metadata": {"tier": "gold"}}, "other": {}}.items():
        renewal = await shop.renewal("insufficient_funds", **customer)
        state = await shop.open(renewal.invoice)
        found[who] = await shop.ledger.cases.get(state.ref.case_id)
    assert {who: row.policy_name for who, row in found.items() if row} == {
        "swiss": "alpine",
        "gold": "gold",
        "other": "standard",
    }
    renewal = await shop.renewal("insufficient_funds", **swiss)
    state = await shop.open(renewal.invoice, policy="gold")
    row = await shop.ledger.cases.get(state.ref.case_id)
    assert row is not None
    assert row.policy_name == "gold"


async def test_a_segment_without_its_policy_keeps_the_case_waiting_not_lost(
    shop: Shop, policies: Path
) -> None:
    (policies / "segments.yaml").write_text("segments: [{policy: absent}]", encoding="utf-8")
    renewal = await shop.renewal("insufficient_funds")
    with pytest.raises(ApplicationError, match="no policy called 'absent'") as refused:
        await shop.open(renewal.invoice)
    assert not refused.value.non_retryable
    (policies / "segments.yaml").unlink()
    assert (await shop.open(renewal.invoice)).invoice.id == renewal.invoice


async def test_the_business_s_own_policy_goes_before_the_shipped_one(shop: Shop, policies: Path) -> None:
    shipped = (Path("dunning") / "policies" / "standard.yaml").read_text(encoding="utf-8")
    (policies / "standard.yaml").write_text(shipped.replace("length: 7d", "length: 10d"), encoding="utf-8")
    (policies / "broken.yaml").write_text(shipped.replace("length: 7d", "lenght: 7d"), encoding="utf-8")
    assert PolicyBook(policies).load("standard").grace.length == timedelta(days=10)
    with pytest.raises(PolicyError, match=r"broken\.yaml"):
        PolicyBook(policies).load("broken")
    with pytest.raises(PolicyError, match="not the name of a policy"):
        PolicyBook(policies).load("../standard")


async def test_after_a_person_stopped_a_case_a_new_failure_only_records_unless_reopened(shop: Shop) -> None:
    renewal = await shop.renewal("insufficient_funds")
    await shop.close(await shop.open(renewal.invoice), Outcome.STOPPED)
    assert "reopen: true" in await shop.refusal(renewal.invoice)
    assert len((await shop.ledger.cases.find()).cases) == 1
    again = await shop.open(renewal.invoice, run_id="second run", reopen=True)
    assert again.ref.episode == 2


async def test_a_refused_start_in_between_does_not_make_a_stopped_case_forgotten(shop: Shop) -> None:
    renewal = await shop.renewal("insufficient_funds")
    await shop.close(await shop.open(renewal.invoice), Outcome.STOPPED)
    await shop.stripe.invoices.mark_uncollectible_async(renewal.invoice)
    assert "uncollectible" in await shop.refusal(renewal.invoice, reopen=True)
    await shop.control.advance(60)
    assert "was stopped" in await shop.refusal(renewal.invoice)


async def test_a_new_episode_goes_on_counting_attempts(shop: Shop) -> None:
    renewal = await shop.renewal("insufficient_funds")
    state = await shop.open(renewal.invoice)
    await shop.control.advance(86400)
    await shop.run(shop.billing.charge, charge(state.ref, 1))
    await shop.close(state, Outcome.STOPPED)
    again = await shop.open(renewal.invoice, run_id="second run", reopen=True)
    assert again.next_number == 2


async def test_a_younger_invoice_of_the_subscription_adopts_the_older_case_s_dates(shop: Shop) -> None:
    renewal = await shop.renewal("insufficient_funds")
    older = await shop.open(renewal.invoice)
    summary = CaseSummary.of(older, at=await shop.control.now())
    await shop.ledger.cases.remember(older.ref.case_id, 0, [], summary)
    await shop.control.advance(5 * 86400)
    younger = await shop.open((await shop.control.renew(renewal.subscription))["id"])
    assert younger.plan.last_day == older.plan.last_day
    assert younger.plan.grace_starts_at == older.plan.grace_starts_at
    assert younger.plan.anchor > older.plan.anchor


async def test_a_run_that_takes_a_case_over_keeps_the_promised_last_day(shop: Shop) -> None:
    renewal = await shop.renewal("insufficient_funds")
    state = await shop.open(renewal.invoice)
    promised = state.plan.last_day + timedelta(days=7)
    moved = state.model_copy(update={"plan": state.plan.model_copy(update={"last_day": promised})})
    await shop.ledger.cases.remember(
        state.ref.case_id, 0, [], CaseSummary.of(moved, at=await shop.control.now())
    )
    await shop.control.advance(86400)
    again = await shop.open(renewal.invoice, run_id="the run after it was terminated")
    assert again.ref == state.ref
    assert again.plan.last_day == promised


async def test_a_case_of_a_connected_account_is_its_own(shop: Shop) -> None:
    renewal = await shop.renewal("insufficient_funds", account="acct_connected")
    assert "Stripe knows no invoice" in await shop.refusal(renewal.invoice)
    state = await shop.open(renewal.invoice, account="acct_connected")
    assert state.ref.case_id == f"acct_connected/{renewal.invoice}/1"
    await shop.control.advance(86400)
    await shop.run(shop.billing.charge, charge(state.ref))
    (row,) = await shop.charges(renewal.invoice)
    assert row["idempotency_key"] == f"dunning-acct_connected-{renewal.invoice}-1"


def test_the_profile_of_the_business_is_checked_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "business.yaml").write_text("name: Acme\nsender_email: nobody\nfax: 1\n", encoding="utf-8")
    with pytest.raises(PolicyError) as refused:
        load_business(tmp_path)
    for field in ("sender_email", "postal_address", "support_contact", "fax"):
        assert field in str(refused.value)
    assert load_business(tmp_path / "nowhere").sender_email.endswith(".example")


async def sent(shop: Shop, days: int = 10) -> str:
    """The invoice of a subscription that is collected by sending, of a customer with a good card."""
    renewal = await shop.renewal("succeeded")
    terms: Any = {"collection_method": "send_invoice", "days_until_due": days}
    await shop.stripe.subscriptions.update_async(renewal.subscription, terms)
    invoice: str = (await shop.control.renew(renewal.subscription))["id"]
    return invoice


async def test_an_invoice_that_is_sent_opens_a_case_that_counts_from_its_due_date(shop: Shop) -> None:
    state = await shop.open(await sent(shop))
    due = state.invoice.due_date
    assert due is not None
    assert state.verdict is None
    assert state.plan.grace_starts_at == due + timedelta(days=14)


async def test_an_invoice_that_is_sent_is_not_dunned_without_a_policy_for_it(
    shop: Shop, policies: Path
) -> None:
    shipped = (Path("dunning") / "policies" / "standard.yaml").read_text(encoding="utf-8")
    before, _, after = shipped.partition("sent_invoices:")
    rest = after[after.index("\n\n") :]
    (policies / "charged.yaml").write_text(before.replace("name: standard", "name: charged") + rest, "utf-8")
    assert "this policy has no sent_invoices" in await shop.refusal(await sent(shop), policy="charged")


async def test_an_invoice_that_is_sent_is_never_charged_whoever_asks(shop: Shop) -> None:
    state = await shop.open(await sent(shop))
    done = await shop.run(shop.billing.charge, charge(state.ref))
    assert done.result == "not_needed"
    assert await shop.charges(state.ref.invoice_id) == []
