"""Cases per second: the engine against a bare workflow of the same steps, and with everything real."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from statistics import median

from temporalio.client import Client
from temporalio.testing import TimeSkipper

from activities.interface import TASK_QUEUE
from bench.bare import QUEUE, Bare, bare_workers
from bench.history import steps_of
from bench.noops import engine_workers
from bench.server import WORKER_OPTIONS, fresh_server
from bench.world import world
from dunning.values import Outcome
from starter.processes import StackError
from workflows.ids import invoice_dunning_id

_SECOND_RETRY = "succeeded,insufficient_funds,insufficient_funds,succeeded"


@dataclass(frozen=True)
class Throughput:
    """Cases per second, recovered by the second retry. `ratio` is the median of the rounds' ratios."""

    ratio: float
    engine: float
    bare: float
    steps: str


async def against_bare(rounds: int, cases: int) -> Throughput:
    """Alternating rounds of so many cases at once on a fresh server, providers and ledger answering at once.

    Time is skipped on both sides, so that nobody waits for a timer and both pay for it. The bare workflow
    repeats the steps that a real case took, read from its history.
    """
    async with fresh_server() as (plain, _), AsyncExitStack() as stack:
        for worker in (*engine_workers(plain, WORKER_OPTIONS), *bare_workers(plain, WORKER_OPTIONS)):
            await stack.enter_async_context(worker)
        client = TimeSkipper(plain).client
        await _engine(client, "in_warm_0")
        history = await client.get_workflow_handle(invoice_dunning_id("in_warm_0")).fetch_history()
        steps = steps_of(history.events)

        async def engine(name: str) -> None:
            await _engine(client, f"in_{name}")

        async def bare(name: str) -> None:
            await client.execute_workflow(Bare.run, steps, id=f"bare/{name}", task_queue=QUEUE)

        await _rate(engine, "warm", cases)  # imports, caches and connections are paid before the clock runs
        await _rate(bare, "warm", cases)
        rates = [
            (await _rate(engine, f"{n}", cases), await _rate(bare, f"{n}", cases)) for n in range(rounds)
        ]
    return Throughput(
        ratio=median(ours / theirs for ours, theirs in rates),
        engine=median(ours for ours, _ in rates),
        bare=median(theirs for _, theirs in rates),
        steps=steps,
    )


async def _engine(client: Client, invoice: str) -> None:
    closed = await client.execute_workflow(
        "InvoiceDunning", {"invoice_id": invoice}, id=invoice_dunning_id(invoice), task_queue=TASK_QUEUE
    )
    if closed["outcome"] != Outcome.RECOVERED:
        raise StackError(f"the case of {invoice} ended as {closed}")


async def _rate(run: Callable[[str], Awaitable[None]], name: str, cases: int) -> float:
    begun = time.perf_counter()
    await asyncio.gather(*(run(f"{name}_{number}") for number in range(cases)))
    return cases / (time.perf_counter() - begun)


async def everything_real(cases: int) -> float:
    """Cases per second from failed renewal to last word: webhooks, worker process, sandbox and SQLite.

    The cases share one clock, which goes on as soon as all of them have done what was due.
    """
    async with world() as stage:
        customers = await stage.customers(cases, _SECOND_RETRY)
        await stage.control.drain()
        begun = time.perf_counter()
        customers = list(await asyncio.gather(*(stage.renew(customer) for customer in customers)))
        await stage.settle(customers)
        while await stage.step(customers):
            pass
        seconds = time.perf_counter() - begun
        outcomes = {(await stage.case(customer)).outcome for customer in customers}
    if outcomes != {Outcome.RECOVERED}:
        raise StackError(f"cases ended as {sorted(map(str, outcomes))}, not as recovered alone")
    return cases / seconds
