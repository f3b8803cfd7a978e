"""Where a reconciliation looks in the ledger, and what it writes down, on both databases."""

from __future__ import annotations

from dunning.case import Announcement
from dunning.reconciliation import Finding, Kind, Remedy, Tally
from dunning.values import Channel, Outcome
from ledger import Ledger
from ledger.outgoing import Outgoing
from tests.ledger.acts import DAY, NOW, claim_case, claim_message, closing, reserve, summary
from tests.ledger.test_cards import claim as claim_card

LATER = NOW + DAY


def finding(kind: Kind = Kind.LOST_EVENT, subject: str = "evt_1") -> Finding:
    return Finding(
        kind=kind, subject=subject, workflow_id="invoice-dunning/in_1", words="", remedy=Remedy.REPLAY
    )


async def test_a_case_that_stripe_lists_as_owed_is_no_stray(ledger: Ledger) -> None:
    books = ledger.reconciliations
    for invoice in ("in_1", "in_2", "in_3"):
        await claim_case(ledger, invoice)
    await ledger.cases.remember("acct/in_3/1", 0, [], closing())
    await claim_case(ledger, "in_4", at=LATER + DAY)
    await books.owed("", ["in_1", "in_3"], LATER)
    assert [suspect.invoice_id for suspect in await books.strays(LATER, None)] == ["in_2"]
    assert await books.strays(LATER, "acct/in_2/1") == ()
    known = await books.known("", ["in_1", "in_3", "in_9"])
    assert {invoice: case.open for invoice, case in known.items()} == {"in_1": True, "in_3": False}


async def test_who_is_suspended_without_an_open_case(ledger: Ledger) -> None:
    for number, outcome in ((1, Outcome.STOPPED), (2, None)):
        await claim_case(ledger, f"in_{number}", subscription=f"sub_{number}")
        await ledger.suspensions.begin(
            account="",
            subscription=f"sub_{number}",
            invoice_id=f"in_{number}",
            how="event_only",
            previous={},
            at=NOW,
        )
        if outcome is not None:
            await ledger.cases.remember(f"acct/in_{number}/1", 0, [], closing(outcome=outcome))
    suspects, cursor = await ledger.reconciliations.suspended(None)
    assert [(suspect.subject, suspect.invoice_id) for suspect in suspects] == [("sub_1", "in_1")]
    assert cursor is None


async def test_what_should_have_been_done_and_what_has_no_known_end(ledger: Ledger) -> None:
    books = ledger.reconciliations
    case = await claim_case(ledger)
    await reserve(ledger)
    await ledger.cases.remember(case.case_id, 0, [], summary(next_at=NOW, next_what="retry 1"))
    await claim_message(ledger, channel=Channel.EMAIL)
    assert [s.note for s in await books.overdue(LATER)] == ["retry 1"]
    assert await books.overdue(NOW) == ()
    unknown = await books.unknown(LATER)
    assert [s.kind for s in unknown] == [Kind.ATTEMPT_UNKNOWN, Kind.MESSAGE_UNKNOWN]
    await ledger.cases.remember(case.case_id, 1, [], closing())
    assert await books.unknown(LATER) == ()


async def test_findings_are_written_once_and_remembered(ledger: Ledger) -> None:
    books = ledger.reconciliations
    assert await books.begin("r1", dry_run=False, importing=False, at=NOW) == NOW
    assert await books.begin("r1", dry_run=False, importing=False, at=LATER) == NOW
    for subject in ("evt_1", "evt_1", "evt_2"):
        await books.found("r1", finding(subject=subject), NOW)
    await books.fixed("r1", finding(), LATER)
    assert [(f.subject, f.fixed_at) for f in await books.findings("r1")] == [
        ("evt_1", LATER),
        ("evt_2", None),
    ]
    assert await books.replayed(["evt_1", "evt_2", "evt_3"]) == {"evt_1"}
    assert await books.told("r1", "invoice-dunning/in_1")
    assert not await books.told("r1", "invoice-dunning/in_2")

    assert await books.tally("r1") == {Kind.LOST_EVENT: Tally(found=2, fixed=1)}
    assert await books.latest(whole=True) is None
    told = Announcement(id="evt_1", type="reconciliation.finished", at=LATER)
    for _ in range(2):  # the second time its activity is tried again
        going = [Outgoing(announcement=told, endpoints=("backend",))]
        await books.finish("r1", {"found": 2}, LATER, going)
    assert [event.case_id for event in await ledger.outbox.events()] == [None]
    latest = await books.latest(whole=True)
    assert latest is not None
    assert (latest.run, latest.counts, latest.finished_at) == ("r1", {"found": 2}, LATER)
    assert (await ledger.counts()).findings == {("lost_event", "fixed"): 1, ("lost_event", "open"): 1}


async def test_since_when_the_engine_knows_the_account(ledger: Ledger) -> None:
    books = ledger.reconciliations
    assert await books.engine_since() is None
    await books.begin("r1", dry_run=False, importing=True, at=LATER)
    assert (await books.engine_since(), await books.imported()) == (LATER, False)
    await books.finish("r1", {}, LATER)
    await claim_case(ledger, account="acct_1")
    assert (await books.engine_since(), await books.imported()) == (NOW, True)


async def test_every_account_of_which_anything_is_known_is_visited(ledger: Ledger) -> None:
    assert await ledger.reconciliations.accounts() == ("",)
    await claim_case(ledger, account="acct_1")
    await claim_card(ledger, account="acct_2")
    await ledger.risks.told(account="acct_3", customer="cus_1", kind="paused", key="e", at=NOW, by="stripe")
    assert await ledger.reconciliations.accounts() == ("", "acct_1", "acct_2", "acct_3")
