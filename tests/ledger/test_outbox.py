"""The outbox: written with the step that it tells of, and taken up by whoever comes next."""

from __future__ import annotations

import asyncio

from dunning.case import Announcement
from ledger import Ledger
from ledger.outgoing import Outgoing
from tests.ledger.acts import DAY, NOW, claim_case, closing, said, summary

BACKEND, SUPPORT = "backend", "support"


def going(number: int = 1, *names: str, type: str = "case.opened") -> Outgoing:
    """An event for endpoints."""
    told = Announcement(id=f"evt_{number}", type=type, at=NOW + number * DAY, data={"invoice": "in_1"})
    return Outgoing(announcement=told, endpoints=names or (BACKEND,))


async def told(ledger: Ledger, *outgoing: Outgoing, seq: int = 0) -> bool:
    """A step of the case that has something to tell."""
    claim = await claim_case(ledger)
    return await ledger.cases.remember(
        claim.case_id, seq, said(f"step {seq}"), summary(at=NOW + seq * DAY), outgoing=outgoing
    )


async def waiting(ledger: Ledger) -> list[tuple[str, str]]:
    """What nobody carries yet."""
    return [(delivery.event_id, delivery.endpoint) for delivery in await ledger.outbox.pending()]


async def test_events_wait_in_the_order_of_what_they_tell(ledger: Ledger) -> None:
    assert await told(ledger, going(2), going(1, BACKEND, SUPPORT))
    assert await waiting(ledger) == [("evt_1", BACKEND), ("evt_1", SUPPORT), ("evt_2", BACKEND)]
    (newest, *_) = await ledger.outbox.events()
    assert newest.announcement == going(2).announcement
    assert newest.case_id == "acct/in_1/1"


async def test_a_step_that_is_repeated_tells_nothing_twice(ledger: Ledger) -> None:
    await told(ledger, going(1))
    await ledger.outbox.started("evt_1", BACKEND, NOW)
    await told(ledger, going(1), going(2))
    assert await waiting(ledger) == [("evt_2", BACKEND)]


async def test_a_straggler_tells_nothing(ledger: Ledger) -> None:
    claim = await claim_case(ledger)
    await ledger.cases.remember(claim.case_id, 3, said("closed"), closing(NOW + 3 * DAY))
    assert not await told(ledger, going(1), seq=1)
    assert await waiting(ledger) == []


async def test_a_delivery_that_is_over_stays_so(ledger: Ledger) -> None:
    await told(ledger, going(1))
    outbox = ledger.outbox
    await outbox.tried("evt_1", BACKEND, at=NOW, status=500, detail="oops")
    await outbox.tried("evt_1", BACKEND, at=NOW + DAY, status=204, detail="")
    await outbox.end("evt_1", BACKEND, "delivered", at=NOW + DAY, detail="answered 204")
    await outbox.started("evt_1", BACKEND, NOW + DAY)
    await outbox.end("evt_1", BACKEND, "failed", at=NOW + 2 * DAY)

    delivery = await outbox.delivery("evt_1", BACKEND)
    assert delivery is not None
    assert (delivery.state, delivery.detail, delivery.changed_at) == ("delivered", "answered 204", NOW + DAY)
    assert [(a.status, a.detail) for a in await outbox.attempts("evt_1")] == [(500, "oops"), (204, "")]
    assert (await ledger.counts()).events == {(BACKEND, "delivered"): 1}

    await outbox.again("evt_1", BACKEND, NOW + 2 * DAY)
    assert await waiting(ledger) == [("evt_1", BACKEND)]


async def test_what_happens_while_an_endpoint_is_disabled_is_held_for_it(ledger: Ledger) -> None:
    outbox = ledger.outbox
    await told(ledger, going(1, BACKEND, SUPPORT))
    await outbox.disable(BACKEND, at=NOW, reason="it answered 410 Gone")
    await outbox.disable(BACKEND, at=NOW + DAY, reason="again")
    await outbox.end("evt_1", BACKEND, "held", at=NOW)
    await told(ledger, going(2, BACKEND, SUPPORT), seq=1)
    assert await waiting(ledger) == [("evt_1", SUPPORT), ("evt_2", SUPPORT)]
    assert await outbox.disabled() == {BACKEND: "it answered 410 Gone at 2026-03-02 09:30 UTC"}

    assert await outbox.enable(BACKEND, NOW + DAY) == 2
    assert len(await waiting(ledger)) == 4
    assert await outbox.disabled() == {}
    assert await outbox.enable(BACKEND, NOW + DAY) is None


async def test_events_are_found_by_case_endpoint_and_state(ledger: Ledger) -> None:
    outbox = ledger.outbox
    await told(ledger, going(1), going(2, SUPPORT), going(3))
    await outbox.end("evt_3", BACKEND, "failed", at=NOW)

    async def found(**which: object) -> list[str]:
        return [event.announcement.id for event in await outbox.events(**which)]  # type: ignore[arg-type]

    assert await found() == ["evt_3", "evt_2", "evt_1"]
    assert await found(limit=1) == ["evt_3"]
    assert await found(endpoint=BACKEND) == ["evt_3", "evt_1"]
    assert await found(endpoint=BACKEND, state="failed") == ["evt_3"]
    assert await found(case_id="acct/in_2/1") == []
    assert await outbox.event("evt_9") is None


async def test_two_workers_that_remember_at_once_tell_it_once(ledgers: list[Ledger]) -> None:
    await claim_case(ledgers[0])
    await asyncio.gather(*(told(ledger, going(1), going(2)) for ledger in ledgers))
    assert await waiting(ledgers[0]) == [("evt_1", BACKEND), ("evt_2", BACKEND)]
