"""Five fates on the real engine, and what the history of each cost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bench.history import Cost, cost_of
from bench.world import TOGETHER, Customer, World, world
from dunning.values import Outcome
from starter.processes import StackError

_BROKE = "succeeded,insufficient_funds"
Act = tuple[float, Callable[[World, Customer], Awaitable[object]]]


async def _pay(world: World, customer: Customer) -> None:
    await world.pay(customer)


async def _new_card(world: World, customer: Customer) -> None:
    await world.control.replace_card(customer.id, card="5555555555554444")


async def _extend(world: World, customer: Customer) -> None:
    case = world.dunning.case(customer.invoice)
    await case.grant_extension(days=7, reason="salary comes on Friday", by="support")


@dataclass(frozen=True)
class Scenario:
    """A fate: what the bank says, what people do on which day, how it ends, and what it may cost."""

    name: str
    words: str
    bank: str
    outcome: Outcome
    acts: tuple[Act, ...] = ()
    policy: str | None = None
    most_actions: int | None = None
    #: The attempts, and how many messages there may be, that make it the scenario it is named after.
    did: tuple[int, tuple[int, ...]] | None = None


SCENARIOS = (
    Scenario(
        "second_retry", "recovered by the second retry",
        "succeeded,insufficient_funds,insufficient_funds,succeeded", Outcome.RECOVERED,
        most_actions=28, did=(2, (1, 2)),  # a pay-day may come before the day of the first notice
    ),
    Scenario(
        "full_path", "4 retries, 6 messages, grace, suspension, written off",
        _BROKE, Outcome.WRITTEN_OFF, policy="full_path", most_actions=72, did=(4, (6,)),
    ),
    Scenario(
        "new_card", "lost card, then a new one",
        "succeeded,lost_card", Outcome.RECOVERED, ((4.3, _new_card),),
    ),
    Scenario(
        "extension", "support grants 7 days, the customer pays",
        _BROKE, Outcome.RECOVERED, ((16.2, _extend), (25.6, _pay)),
    ),
    Scenario(
        "suspended_restored", "suspended, then pays",
        _BROKE, Outcome.RECOVERED, ((29.3, _pay),),
    ),
)  # fmt: skip


@dataclass
class Played:
    """A scenario as it goes on: its customer, and what is still to be done."""

    scenario: Scenario
    customer: Customer
    begun: datetime
    acts: list[Act] = field(default_factory=list)

    def moment(self, act: Act) -> datetime:
        """When an act happens."""
        return self.begun + timedelta(days=act[0])


async def measure(names: Sequence[str] | None = None) -> dict[str, Cost]:
    """Play the scenarios on a stack of their own and count. Raises StackError for one that ends otherwise."""
    chosen = [scenario for scenario in SCENARIOS if names is None or scenario.name in names]
    async with world() as stage:
        played = [await _begin(stage, scenario) for scenario in chosen]
        await stage.settle([one.customer for one in played])
        while await _step(stage, played):
            pass
        return {one.scenario.name: await _cost(stage, one) for one in played}


async def _begin(stage: World, scenario: Scenario) -> Played:
    """The renewal fails. A webhook opens the case; only where a policy is named a backend does."""
    customer = (await stage.customers(1, scenario.bank))[0]
    if scenario.policy is not None:
        await stage.unannounced(customer)
    await stage.control.drain()  # what the sign-up told is over before the story begins
    customer = await stage.renew(customer)
    if scenario.policy is not None:
        await stage.control.drain()
        await stage.dunning.start(customer.invoice, policy=scenario.policy)
    return Played(scenario, customer, await stage.clock.now(), list(scenario.acts))


async def _step(stage: World, played: Sequence[Played]) -> bool:
    """What falls due next, for everybody whom it concerns; False when nothing does."""
    moments = {id(one): moment for one in played if (moment := await _next(stage, one)) is not None}
    if not moments:
        return False
    first = min(moments.values())
    due = [one for one in played if id(one) in moments and moments[id(one)] <= first + TOGETHER]
    latest = max(moments[id(one)] for one in due)
    await stage.clock.advance(latest, [one.customer.workflow_id for one in due])
    now = await stage.clock.now()
    for one in due:
        for act in [act for act in one.acts if one.moment(act) <= now]:
            one.acts.remove(act)
            await act[1](stage, one.customer)
    await stage.settle([one.customer for one in due])
    return True


async def _next(stage: World, one: Played) -> datetime | None:
    case = await stage.case(one.customer)
    if not case.open:
        return None
    moments = [one.moment(act) for act in one.acts] + ([case.next_at] if case.next_at else [])
    return min(moments, default=None)


async def _cost(stage: World, one: Played) -> Cost:
    case = await stage.case(one.customer)
    if case.outcome is not one.scenario.outcome or one.acts:
        raise StackError(
            f"{one.scenario.name} ended as {case.outcome} ({case.closed_reason}), not {one.scenario.outcome}"
        )
    attempts = await stage.ledger.attempts.of_case(case.id)
    sent = await stage.ledger.dispatches.of_case(case.id)
    did = len(attempts), sum(dispatch.fate == "accepted" for dispatch in sent)
    wanted = one.scenario.did
    if wanted is not None and (did[0] != wanted[0] or did[1] not in wanted[1]):
        raise StackError(f"{one.scenario.name}: {did[0]} attempts and {did[1]} messages, not {wanted}")
    handle = stage.stack.client.get_workflow_handle(one.customer.workflow_id)
    await asyncio.wait_for(handle.result(), 30)
    return cost_of((await handle.fetch_history()).events)
