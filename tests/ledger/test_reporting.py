"""The facts of a report, gathered from the ledger, on both databases."""

from __future__ import annotations

from dunning.case import Entry, Extension
from dunning.reports import Reversal
from dunning.values import Channel, Outcome, RecoveredVia
from ledger import Ledger
from tests.ledger.acts import DAY, NOW, claim_case, claim_message, closing, complete, reserve, summary

DISPUTE = Reversal(id="dp_1", kind="dispute", charge="ch_1", amount=4900, currency="eur", status="lost")
REFUND = Reversal(id="re_1", kind="refund", charge="ch_1", amount=500, currency="eur", status="succeeded")


async def test_an_invoice_counts_once_over_its_episodes_with_all_that_was_spent(ledger: Ledger) -> None:
    first = await claim_case(ledger)
    await reserve(ledger)
    await complete(ledger)
    message = await claim_message(ledger, channel=Channel.EMAIL)
    await ledger.dispatches.complete(message.dispatch_id, "accepted", at=NOW)
    suspended = Entry(at=NOW + DAY, what="suspend.done", text="suspended")
    granted = (Extension(days=7, at=NOW, by="maria"),)
    await ledger.cases.remember(first.case_id, 0, [suspended], summary(extensions=granted))
    await ledger.cases.remember(
        first.case_id, 1, [], closing(NOW + 2 * DAY, outcome=Outcome.STOPPED, extensions=granted)
    )
    second = await claim_case(ledger, run_id="run-2", amount=0, at=NOW + 3 * DAY)
    paid = closing(
        NOW + 4 * DAY, outcome=Outcome.RECOVERED, recovered_via=RecoveredVia.CUSTOMER, decline_code="x"
    )
    await ledger.cases.remember(second.case_id, 0, [], paid)
    await ledger.reversals.saw("", "in_1", REFUND, NOW)

    (found,) = await ledger.reporting.failures(None, None)
    assert (found.failed, found.recovered, found.refunded, found.disputed) == (4900, 4900, 500, 0)
    assert (found.failed_at, found.closed_at, found.suspended_at) == (NOW, NOW + 4 * DAY, NOW + DAY)
    assert (found.attempts, found.messages, found.granted_days) == (1, 1, 7)
    assert (found.channel, found.decline, found.via) == ("email", "x", RecoveredVia.CUSTOMER)


async def test_the_period_is_that_of_the_first_case_and_cases_that_were_none_are_left_out(
    ledger: Ledger,
) -> None:
    await claim_case(ledger, "in_1")
    none = await claim_case(ledger, "in_2")
    await ledger.cases.remember(none.case_id, 0, [], closing(outcome=Outcome.NOT_APPLICABLE))
    await claim_case(ledger, "in_3", at=NOW + DAY)
    asked = ledger.reporting.failures
    assert [f.invoice_id for f in await asked(NOW, NOW + DAY)] == ["in_1"]
    assert {f.invoice_id for f in await asked(NOW, None)} == {"in_1", "in_3"}
    assert await asked(NOW + 2 * DAY, None) == ()


async def test_what_was_paid_in_part_is_recovered_in_part(ledger: Ledger) -> None:
    case = await claim_case(ledger)
    await ledger.cases.remember(case.case_id, 0, [], summary(amount_remaining=4000))
    (found,) = await ledger.reporting.failures(None, None)
    assert (found.failed, found.recovered, found.outcome) == (4900, 900, None)


async def test_a_refund_of_which_stripe_tells_no_status_is_kept(ledger: Ledger) -> None:
    """Stripe API reference, Refund.status: a nullable string."""
    await claim_case(ledger)
    await ledger.reversals.saw("", "in_1", REFUND.model_copy(update={"status": "", "charge": ""}), NOW)
    (known,) = await ledger.reversals.of_invoice("", "in_1")
    assert (known.amount, known.status, known.charge) == (500, "", "")


async def test_the_later_word_on_a_dispute_counts_whichever_arrives_first(ledger: Ledger) -> None:
    won = DISPUTE.model_copy(update={"status": "won"})
    await claim_case(ledger)
    await ledger.reversals.saw("", "in_1", won, NOW + DAY)
    await ledger.reversals.saw("", "in_1", DISPUTE, NOW)
    (known,) = await ledger.reversals.of_invoice("", "in_1")
    assert known.status == "won"
    (found,) = await ledger.reporting.failures(None, None)
    assert found.disputed == 0
