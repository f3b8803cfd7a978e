"""A storm over the engine: faults on every call, lost and doubled webhooks, workers killed, people who act.

Everything that is drawn comes from the seed. What falls due together is done together, as in production, so a
seed repeats people, deeds and the share of faults, but not the very order in which calls meet their faults.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from time import monotonic
from typing import Any, TypeVar

import httpx
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetStickyTaskQueueRequest
from temporalio.service import RPCError

from ledger.records import CaseRecord
from sandbox.control_client import ArrivedRequest
from starter.errors import CaseClosed, CaseNotFound, EngineUnavailable, LeverRefused
from starter.worldclock import MARGIN, WorldClock
from tests.chaos.fates import Act, Person, people
from tests.fixtures.engine import Engine
from tests.fixtures.worldtime import DAY, zone_where_it_is_morning
from tests.workflows.test_kill import WorkerProcess
from workflows.ids import invoice_dunning_id

#: What falls due so closely together is done in one round.
TOGETHER = timedelta(minutes=20)
#: A case whose opening failed tries again by itself after a quarter of an hour, and no ledger knows of it.
OPENS_AGAIN = timedelta(minutes=16)
#: How far the sandbox's clock may be ahead of a case's, since it does all of a round at the round's end.
SKEW = TOGETHER + 3 * MARGIN
LENGTH = 56 * DAY

#: The engine's own calls. Voiding is the dashboard's: no part of the storm.
_CALLS = r"^/v1/(?!invoices/[^/]+/void$)"
_AT_ONCE = 12
_ROUNDS = 2_000
_JOURNAL_EVERY = 25  # rounds; the sandbox keeps 20,000 requests
_GOOD_CARD, _OTHER_CARD = "4242424242424242", "5555555555554444"
_Made = TypeVar("_Made")


def request_faults(seed: int) -> list[dict[str, Any]]:
    """One call in five of every provider meets a fault, of any kind; some answers come after the time-out."""
    kinds: list[dict[str, Any]] = [
        {"kind": "drop_before", "probability": 0.035},
        {"kind": "drop_after", "probability": 0.035},
        {"kind": "status", "status": 500, "probability": 0.03},
        {"kind": "status_after", "status": 500, "probability": 0.03},
        {"kind": "status", "status": 503, "probability": 0.03},
        {"kind": "status", "status": 429, "retry_after": 0, "probability": 0.015},
        {"kind": "delay", "seconds": 0.1, "probability": 0.025},
        {"kind": "delay", "seconds": 1.2, "probability": 0.01},
    ]
    services = {"stripe": _CALLS, "sendgrid": "", "twilio": ""}
    return [
        {"service": service, "path": path or None, "times": 0, "seed": f"{seed}{n}{m}", **kind}
        for n, (service, path) in enumerate(services.items())
        for m, kind in enumerate(kinds)
    ]


def webhook_faults(seed: int) -> list[dict[str, Any]]:
    """Every third webhook is lost, doubled, overtaken or late."""
    shares: dict[str, dict[str, Any]] = {
        "drop": {"probability": 0.12},
        "duplicate": {"probability": 0.1},
        "reorder": {"probability": 0.1},
        "delay": {"probability": 0.05, "seconds": 0.2},
    }
    return [
        {"kind": kind, "seed": seed + n, "times": 0} | more for n, (kind, more) in enumerate(shares.items())
    ]


@dataclass(eq=False)
class Invoice:
    """A failed renewal in the storm. `acts`: what is still to be done about it."""

    id: str
    customer: str
    page: str
    begun: datetime
    acts: list[Act] = field(default_factory=list)

    @property
    def workflow_id(self) -> str:
        """The workflow of its case."""
        return invoice_dunning_id(self.id)

    def moment(self, act: Act) -> datetime:
        """When an act happens."""
        return self.begun + act.day * DAY


class Storm:
    """Runs people through their weeks in bad weather."""

    def __init__(self, worker: WorkerProcess, seed: int, cases: int, kills: int, *, brutal: bool = False) -> None:
        self.worker, self.engine, self.seed, self.count = worker, worker.engine, seed, cases
        self.invoices: list[Invoice] = []
        self.journal: list[ArrivedRequest] = []
        self.kills = 0
        self.fired = 0
        self.rounds = 0
        self.begun = datetime.now(UTC)
        self._clock = WorldClock(self.engine.temporal, self.engine.control)
        self._random = Random(seed)
        self._brutal = brutal
        self._kill_days = sorted(self._random.uniform(0.5, 13) for _ in range(kills))
        self._browser = httpx.AsyncClient(timeout=20.0, trust_env=False)
        self._gate = asyncio.Semaphore(_AT_ONCE)

    # --- the whole story ----------------------------------------------------------------------------------

    async def rage(self) -> None:
        """Eight weeks of it; then the faults stop, and everything settles."""
        signed_up = await self._all(lambda person: self._signs_up(person), people(self.seed, self.count))
        await self.engine.control.drain()
        import time
        print("signed up", time.process_time())
        await self._begin_faults()
        self.begun = await self.now()
        for renewed in await self._all(lambda who: self._renewals(*who), signed_up):
            self.invoices += renewed
        await self._settle(self.invoices)
        while await self._round():
            self.rounds += 1
            assert self.rounds < _ROUNDS, "the cases do not come to rest"
            if self.rounds % _JOURNAL_EVERY == 0:
                await self._keep_journal()
        await self._calm()

    async def _begin_faults(self) -> None:
        for rule in request_faults(self.seed):
            await self.engine.control.fault(**rule)
        for rule in webhook_faults(self.seed):
            await self.engine.control.webhook_fault(service="stripe", **rule)

    async def _calm(self) -> None:
        """No more faults. Who was not told of a payment learns of it at the case's next step."""
        self.fired = sum(rule["fired"] for rule in await self.engine.control.faults())
        await self.engine.control.clear_faults()
        await self._bring(self.begun + LENGTH, self.invoices)
        over = {i["id"] for i in (await self.books())["invoices"] if i["status"] in ("paid", "void")}
        waiting = [c for c in await self.open_cases() if c.invoice_id in over and c.next_at is not None]
        for case in sorted(waiting, key=lambda c: c.next_at or c.opened_at):
            moving = self._of([case])
            await self._bring(case.next_at or case.opened_at, moving)
        await self._keep_journal()

    async def now(self) -> datetime:
        """The time of the world."""
        return await self._clock.now()

    async def books(self) -> dict[str, Any]:
        """The sandbox's own books."""
        return await self.engine.control.stripe_books()

    async def open_cases(self) -> list[CaseRecord]:
        """All cases that are open in the ledger."""
        found: list[CaseRecord] = []
        cursor: str | None = None
        while True:
            page = await self.engine.ledger.cases.find(open_only=True, limit=200, cursor=cursor)
            found += page.cases
            cursor = page.cursor
            if cursor is None:
                return found

    async def _keep_journal(self) -> None:
        after = self.journal[-1].number if self.journal else 0
        self.journal += await self.engine.control.requests(after=after)

    async def close(self) -> None:
        """End what still runs, so that no case of this world asks a later one."""
        for invoice in self.invoices:
            with contextlib.suppress(RPCError):  # it has ended
                await self.engine.temporal.get_workflow_handle(invoice.workflow_id).terminate("over")
        await self._browser.aclose()

    # --- beginnings ---------------------------------------------------------------------------------------

    async def _all(self, make: Callable[[Any], Awaitable[_Made]], of: Iterable[Any]) -> list[_Made]:
        async def one(what: Any) -> _Made:
            async with self._gate:
                return await make(what)

        return list(await asyncio.gather(*(one(what) for what in of)))

    async def _signs_up(self, person: Person) -> tuple[Person, str, list[str]]:
        """A customer with a card and subscriptions whose first invoices are paid."""
        stripe = self.engine.stripe
        phone = f"+1555{self._random.randrange(10**7):07d}" if person.texts else None
        customer, _ = await self.engine.customer(phone=phone, consent=person.texts)
        bank = ",".join((*["succeeded"] * person.invoices, *person.bank))
        card = await stripe.payment_methods.create_async(
            {
                "type": "card",
                "card": {"token": person.token},
                "metadata": {"outcomes": bank, "fingerprint": f"fp_{self.seed}_{person.wallet}"},
            }
        )
        await stripe.payment_methods.attach_async(card.id, {"customer": customer})
        await stripe.customers.update_async(
            customer, {"invoice_settings": {"default_payment_method": card.id}}
        )
        return person, customer, [await self.engine.subscription(customer) for _ in range(person.invoices)]

    async def _renewals(self, person: Person, customer: str, subscriptions: list[str]) -> list[Invoice]:
        made = [await self.engine.control.renew(subscription) for subscription in subscriptions]
        assert all(invoice["hosted_invoice_url"] for invoice in made)
        return [
            Invoice(
                invoice["id"], customer, invoice["hosted_invoice_url"], self.begun,
                [act for act in person.acts if act.invoice == index],
            )
            for index, invoice in enumerate(made)
            if invoice["status"] == "open"
        ]  # fmt: skip

    # --- rounds -------------------------------------------------------------------------------------------

    async def _round(self) -> bool:
        """Everything that happens next, for everybody whom it concerns; False at the end of the storm."""
        cases = {case.invoice_id: case for case in await self.open_cases()}
        await self._start_unheard_of(cases)
        moments = [case.next_at for case in cases.values() if case.next_at]
        deeds = [(i.moment(a), i, a) for i in self.invoices for a in i.acts if a.deed != "pay_at_the_charge"]
        unopened = [i for i in self.invoices if i.id not in cases and await self._runs(i)]
        moments += [at for at, _, _ in deeds] + ([await self.now() + OPENS_AGAIN] if unopened else [])
        end = self.begun + LENGTH
        first = min(moments, default=end)
        if first >= end:
            return False
        due = [c for c in cases.values() if c.next_at and c.next_at <= first + TOGETHER]
        acting = [(at, i, a) for at, i, a in deeds if at <= first + TOGETHER]
        latest = max([first, *(c.next_at for c in due if c.next_at), *(at for at, _, _ in acting)])
        moving = self._of(due) + [i for _, i, _ in acting] + unopened
        moving = [i for i in self.invoices if i.customer in {m.customer for m in moving}]
        t0=monotonic(); self.log=(len(due),len(acting),len(unopened),len(moving),len(cases))
        await self._bring_in_weather(latest, moving, {c.invoice_id for c in due if _charges(c)})
        for _, invoice, act in acting:
            invoice.acts.remove(act)
            await self._do(invoice, act)
        if acting:
            await self._settle(moving)
        import time
        print("round", self.rounds, str(latest-self.begun), self.log, round(monotonic()-t0,2), round(time.process_time(),1))
        return True

    def _of(self, cases: Sequence[CaseRecord]) -> list[Invoice]:
        known = {case.invoice_id for case in cases}
        return [invoice for invoice in self.invoices if invoice.id in known]

    async def _runs(self, invoice: Invoice) -> bool:
        if await self.engine.ledger.cases.by_invoice("", invoice.id) is not None:
            return False
        try:
            found = await self.engine.temporal.get_workflow_handle(invoice.workflow_id).describe()
        except RPCError:
            return False
        return found.status is not None and found.status.name == "RUNNING"

    async def _start_unheard_of(self, cases: dict[str, CaseRecord]) -> None:
        """The webhook of a failure may be lost for good; then backend code starts the case, half a day on."""
        if await self.now() < self.begun + DAY / 2:
            return
        for invoice in self.invoices:
            if invoice.id in cases or await self.engine.ledger.cases.by_invoice("", invoice.id):
                continue
            await self.engine.client.start(invoice.id)
            await self._settle([invoice])

    async def _bring(self, to: datetime, moving: Sequence[Invoice]) -> None:
        await self._clock.advance(to, [invoice.workflow_id for invoice in moving])
        await self._settle(moving)

    async def _settle(self, moving: Sequence[Invoice]) -> None:
        await self.engine.control.drain()
        started = [i.workflow_id for i in moving if await self._exists(i)]
        await self._clock.settle(started)
        await self.engine.control.drain()

    async def _exists(self, invoice: Invoice) -> bool:
        try:
            await self.engine.temporal.get_workflow_handle(invoice.workflow_id).describe()
        except RPCError:
            return False
        return True

    async def _bring_in_weather(self, to: datetime, moving: list[Invoice], charged: set[str]) -> None:
        """Let the time pass; some pay at the very instant of a charge, and the worker may be killed."""
        moving = [i for i in moving if await self._exists(i)]
        passing = asyncio.create_task(self._bring(to, moving))
        racing = [
            (i, a) for i in moving for a in i.acts
            if i.id in charged and a.deed == "pay_at_the_charge" and i.moment(a) <= to
        ]  # fmt: skip
        for invoice, act in racing:
            invoice.acts.remove(act)
        races = [asyncio.create_task(self._pay(invoice, wait=self._random.random())) for invoice, _ in racing]
        if self._kill_days and to >= self.begun + self._kill_days[0] * DAY and len(moving) >= 4:
            self._kill_days.pop(0)
            await self._kill_amid_calls(passing, moving)
        await asyncio.gather(passing, *races)
        if races:
            await self._settle(moving)

    # --- what people do -----------------------------------------------------------------------------------

    async def _do(self, invoice: Invoice, act: Act) -> None:
        match act.deed:
            case "pay" | "pay_at_the_charge":
                await self._pay(invoice)
            case "new_card":
                await self.engine.control.replace_card(invoice.customer, card=_OTHER_CARD)
            case "new_card_without_money":
                bank = "insufficient_funds,insufficient_funds,succeeded"
                await self.engine.control.replace_card(invoice.customer, card=_OTHER_CARD, outcomes=bank)
            case "void":
                await self._void(invoice)
            case "extend":
                await self._extend(invoice)

    async def _pay(self, invoice: Invoice, wait: float = 0.0) -> None:
        """On the hosted page, whatever its state; `wait`: real seconds, to meet a charge in the middle."""
        await asyncio.sleep(wait)
        (await self._browser.post(invoice.page, data={"card": _GOOD_CARD})).raise_for_status()

    async def _void(self, invoice: Invoice) -> None:
        told = await self._browser.post(
            f"{self.engine.control.url}/v1/invoices/{invoice.id}/void",
            headers={"Authorization": f"Bearer {self.engine.environment['STRIPE_API_KEY']}"},
        )
        assert told.is_success or "void" in told.text or "paid" in told.text, told.text

    async def _extend(self, invoice: Invoice) -> None:
        days = self._random.randint(1, 7)
        with contextlib.suppress(CaseClosed, CaseNotFound, LeverRefused, EngineUnavailable):
            await self.engine.client.grant_extension(
                invoice.id, days=days, reason="salary is late", by="support", request_id=f"x{invoice.id}"
            )

    # --- kills --------------------------------------------------------------------------------------------

    async def _kill_amid_calls(self, passing: asyncio.Task[None], moving: list[Invoice]) -> None:
        """SIGKILL while calls hang: some not carried out yet, some carried out and not answered."""
        t0=monotonic()
        control = self.engine.control
        gates = [
            await control.fault(kind, service=service, method="POST", path=path, times=2)
            for kind in ("pause", "pause_after")
            for service, path in (("stripe", r"/pay$"), ("sendgrid", None))
        ]  # type: ignore[list-item]
        waits = [asyncio.create_task(control.held(gate, timeout=20)) for gate in gates]
        await asyncio.wait([passing, *waits], return_when=asyncio.FIRST_COMPLETED)
        if not self._brutal:
            await self._nobody_thinks(moving)
        print("kill after", monotonic()-t0)
        await self.worker.kill()
        self.kills += 1
        for gate in gates:
            await control.remove_fault(gate)
        await asyncio.gather(*waits, return_exceptions=True)  # those that nothing ran into
        await asyncio.gather(*(self._forget_worker(invoice) for invoice in self.invoices))
        await self.worker.start()

    async def _nobody_thinks(self, moving: list[Invoice]) -> None:
        """Wait until no workflow task runs: Temporal would wait ten seconds for each that dies."""

        async def thinks(invoice: Invoice) -> bool:
            try:
                found = await self.engine.temporal.get_workflow_handle(invoice.workflow_id).describe()
            except RPCError:
                return False
            return found.raw_description.HasField("pending_workflow_task")

        while any([await thinks(invoice) for invoice in moving]):
            pass

    async def _forget_worker(self, invoice: Invoice) -> None:
        """Temporal waits ten seconds for the worker that knew the case; the storm does not."""
        client = self.engine.temporal
        execution = WorkflowExecution(workflow_id=invoice.workflow_id)
        with contextlib.suppress(RPCError):  # it has ended, or never began
            await client.workflow_service.reset_sticky_task_queue(
                ResetStickyTaskQueueRequest(namespace=client.namespace, execution=execution)
            )


def _charges(case: CaseRecord) -> bool:
    return case.waiting_on is not None and case.waiting_on.value == "retry"


def zone() -> str:
    """The zone of everybody in the storm."""
    return zone_where_it_is_morning(datetime.now(UTC))


def stopwatch() -> Callable[[], float]:
    """Seconds since now."""
    begun = monotonic()
    return lambda: monotonic() - begun


__all__ = ["LENGTH", "SKEW", "Engine", "Invoice", "Storm", "stopwatch", "zone"]
