"""The clock, and webhooks on their way."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from webhook_receiver import Receiver

from sandbox.deliveries import Backoff
from sandbox.world import World


def bodies(receiver: Receiver) -> list[str]:
    return [got.body.decode() for got in receiver.received]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World(backoff=Backoff(first=0.01, longest=0.02, tries=3))
    await made.start()
    yield made
    await made.close()


def post(world: World, url: str, body: str) -> None:
    world.deliver(url=url, event_id=f"evt_{body}", body=body.encode(), sign=lambda _body: {})


def test_the_clock_starts_where_it_is_told_and_never_goes_back() -> None:
    start = datetime(2026, 3, 1, 9, tzinfo=UTC)
    world = World(start=start)

    assert timedelta() <= world.now() - start < timedelta(seconds=5)
    later = start + timedelta(days=14)
    assert world.set_clock(later) >= later
    assert world.set_clock(start) >= later
    with pytest.raises(ValueError, match="time zone"):
        world.set_clock(datetime(2026, 4, 1))  # noqa: DTZ001


async def test_what_falls_due_happens_when_the_clock_passes_it(world: World) -> None:
    done: list[int] = []
    start = world.now()
    for days in (2, 1, 4):
        world.at(start + timedelta(days=days), lambda _due: done.append((world.now() - start).days))

    world.set_clock(start + timedelta(hours=1))
    assert done == []
    now = world.set_clock(start + timedelta(days=3))
    assert done == [1, 2]
    assert (now - start).days == 3


async def test_what_falls_due_happens_by_itself_too(world: World) -> None:
    happened = asyncio.Event()
    world.at(world.now() + timedelta(milliseconds=20), lambda _due: happened.set())

    await asyncio.wait_for(happened.wait(), 5)


async def test_deliveries_keep_the_order_of_their_target(world: World, receiver: Receiver) -> None:
    for number in range(20):
        post(world, receiver.url, str(number))
    await world.drain(10)

    assert bodies(receiver) == [str(number) for number in range(20)]


async def test_a_slow_target_holds_up_no_other(world: World, receiver: Receiver) -> None:
    post(world, f"{receiver.url}/slow", "slow")
    for number in range(3):
        post(world, f"{receiver.url}/fast", str(number))
    with pytest.raises(TimeoutError):
        await world.drain(0.5)
    assert sorted(bodies(receiver)) == ["0", "1", "2", "slow"]
    assert [delivery.state for delivery in world.deliveries.records] == ["queued", *["delivered"] * 3]

    receiver.gate.set()
    await world.drain(10)
    assert {delivery.state for delivery in world.deliveries.records} == {"delivered"}


async def test_a_refused_delivery_comes_again_signed_afresh(world: World, receiver: Receiver) -> None:
    receiver.answers = [500, 302]
    numbers = itertools.count()
    world.deliver(
        url=receiver.url, event_id="evt_1", body=b"{}", sign=lambda _body: {"X-Signature": str(next(numbers))}
    )
    await world.drain(10)

    assert [got.headers["x-signature"] for got in receiver.received] == ["0", "1", "2"]
    [delivery] = world.deliveries.records
    assert [attempt.status for attempt in delivery.attempts] == [500, 302, 204]
    assert delivery.state == "delivered"


async def test_a_delivery_is_given_up_after_its_last_try(world: World, receiver: Receiver) -> None:
    receiver.answers = [500] * 3
    post(world, receiver.url, "1")
    await world.drain(10)

    [lost] = world.deliveries.find(state="undelivered")
    assert len(lost.attempts) == 3


async def test_nobody_listening_counts_as_a_failed_try(world: World) -> None:
    post(world, "http://127.0.0.1:1/", "1")
    await world.drain(10)

    [lost] = world.deliveries.find(state="undelivered")
    assert {attempt.status for attempt in lost.attempts} == {None}
    assert "ClientConnectorError" in (lost.attempts[0].error or "")


async def test_a_signer_that_breaks_is_on_record_and_stops_nothing(world: World, receiver: Receiver) -> None:
    def broken(_body: bytes) -> dict[str, str]:
        raise LookupError("no secret")

    world.deliver(url=receiver.url, event_id="evt_1", body=b"{}", sign=broken)
    post(world, receiver.url, "2")
    await world.drain(10)

    assert bodies(receiver) == ["2"]
    assert "no secret" in (world.deliveries.records[0].attempts[0].error or "")


async def test_what_was_queued_before_the_start_is_delivered_after_it(receiver: Receiver) -> None:
    world = World()
    await asyncio.to_thread(post, world, receiver.url, "early")
    await world.start()
    await world.drain(10)
    await world.close()

    assert bodies(receiver) == ["early"]
