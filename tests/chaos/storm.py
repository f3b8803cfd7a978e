"""A storm over the engine: faults on every call, lost and doubled webhooks, workers killed, people who act.

Everything that is drawn comes from the seed. What falls due together is done together, as in production, so a
seed repeats people, deeds and the share of faults, but not the very order in which calls meet their faults.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, TypeVar

import httpx
from temporalio.service import RPCError

from ledger.records import CaseRecord
from sandbox.control_client import ArrivedRequest
from sandbox.rules import RequestFaultKind
from starter.errors import CaseClosed, CaseNotFound, EngineUnavailable, LeverRefused
from starter.worldclock import MARGIN, WorldClock
from tests.chaos import weather
from tests.chaos.books import Evidence
from tests.chaos.fates import Act, Person, people
from tests.fixtures.worker_process import WorkerProcess
from tests.fixtures.worldtime import DAY
from workflows.ids import invoice_dunning_id

#: What falls due so closely together is done in one round.
TOGETHER = timedelta(minutes=20)
#: A case whose opening failed tries again by itself a quarter of an hour later; no ledger knows when.
OPENS_AGAIN = timedelta(minutes=16)
#: How far the sandbox's clock may be ahead of a case's, since it does all of a round at the round's end.
SKEW = TOGETHER + 3 * MARGIN
LENGTH = 56 * DAY

_AT_ONCE = 12
_ROUNDS = 2_000
_DELIVERED = 120.0  # seconds: hundreds of cases that open at once are thousands of webhooks
_JOURNAL_EVERY = 25  # rounds; the sandbox keeps 20,000 requests
_GOOD_CARD, _OTHER_CARD = "4242424242424242", "5555555555554444"
_Made = TypeVar("_Made")


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

    def __init__(
        self, worker: WorkerProcess, seed: int, cases: int, kills: int, *, brutal: bool = False
    ) -> None:
        self.worker, self.engine, self.seed, self.count = worker, worker.engine, seed, cases
        self.invoices: list[Invoice] = []
        self.journal: list[ArrivedRequest] = []
        self.extended: dict[str, int] = {}  # days that support was told it granted
        self.phones: dict[str, str] = {}  # by customer, of those who get texts
        self.stopped: dict[str, datetime] = {}  # when who said STOP, by telephone number
        self.kills = 0
        self.calls_in_calm = 0  # before the weather began
        self.in_weather: list[ArrivedRequest] = []
        self.rounds = 0
        self.begun = datetime.now(UTC)
        self._clock = WorldClock(self.engine.temporal, self.engine.control)
        self._random = Random(seed)
        self._brutal = brutal
        self._numbers = itertools.count(1)
        self._running: set[str] = set()  # invoices whose workflow began
        self._opened: set[str] = set()  # invoices that the ledger knows
        self._kill_days = sorted(self._random.uniform(0.5, 13) for _ in range(kills))
        self._browser = httpx.AsyncClient(timeout=20.0, trust_env=False)
        self._gate = asyncio.Semaphore(_AT_ONCE)

    # --- the whole story ----------------------------------------------------------------------------------

    async def rage(self) -> None:
        """Eight weeks of it; then the faults stop, and everything settles."""
        signed_up = await self._all(self._signs_up, people(self.seed, self.count))
        await self.engine.control.drain()
        await self._keep_journal()
        self.calls_in_calm = len(self.journal)
        await weather.begin(self.engine.control, self.seed)
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

    async def _calm(self) -> None:
        """No more faults. Who was not told of a payment learns of it at the case's next step."""
        await self._keep_journal()
        self.in_weather = self.journal[self.calls_in_calm :]
        await self.engine.control.clear_faults()
        await self._bring(self.begun + LENGTH, self.invoices)
        books = await self.engine.control.stripe_books()
        over = {row["id"] for row in books["invoices"] if row["status"] in ("paid", "void")}
        waiting = [c for c in await self.open_cases() if c.invoice_id in over and c.next_at is not None]
        for case in sorted(waiting, key=lambda c: c.next_at or c.opened_at):
            moving = self._of([case])
            await self._bring(case.next_at or case.opened_at, moving)
        await self._keep_journal()

    async def now(self) -> datetime:
        """The time of the world."""
        return await self._clock.now()

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

    async def evidence(self) -> Evidence:
        """What the world knows of it now."""
        return await Evidence(
            books=await self.engine.control.stripe_books(),
            journal=self.journal,
            messages=await self.engine.control.messages(),
            stopped=self.stopped,
            invoices=[invoice.id for invoice in self.invoices],
            now=await self.now(),
            begun=self.begun,
            skew=SKEW,
            extended=self.extended,
        ).read(self.engine.ledger)

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
        phone = f"+1555{next(self._numbers):07d}" if person.texts else None
        customer, _ = await self.engine.customer(phone=phone, consent=person.texts)
        self.phones |= {customer: phone} if phone else {}
        own = {"outcomes": ",".join(person.bank), "fingerprint": f"fp_{self.seed}_{person.wallet}"}
        card = await stripe.payment_methods.create_async(
            {"type": "card", "card": {"token": person.token}, "metadata": own}
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
        await self._notice_opened(cases)
        await self._start_unheard_of()
        moments = [case.next_at for case in cases.values() if case.next_at]
        deeds = [(i.moment(a), i, a) for i in self.invoices for a in i.acts if a.deed != "pay_at_the_charge"]
        unopened = [i for i in self.invoices if self._is_opening(i, cases) and await self._runs(i)]
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
        await self._bring_in_weather(latest, moving, {c.invoice_id for c in due if _charges(c)})
        for _, invoice, act in acting:
            invoice.acts.remove(act)
            await self._do(invoice, act)
        if acting:
            await self._settle(moving)
        return True

    def _of(self, cases: Sequence[CaseRecord]) -> list[Invoice]:
        known = {case.invoice_id for case in cases}
        return [invoice for invoice in self.invoices if invoice.id in known]

    def _is_opening(self, invoice: Invoice, cases: dict[str, CaseRecord]) -> bool:
        """Its workflow is not so far as to decide: not claimed yet, or claimed by a try that got lost."""
        case = cases.get(invoice.id)
        return invoice.id not in self._opened or (case is not None and case.next_at is None)

    async def _notice_opened(self, cases: dict[str, CaseRecord]) -> None:
        self._opened |= set(cases)
        for invoice in self.invoices:
            if invoice.id not in self._opened and await self.engine.ledger.cases.by_invoice("", invoice.id):
                self._opened.add(invoice.id)

    async def _start_unheard_of(self) -> None:
        """The webhook of a failure may be lost for good; then backend code starts the case, half a day on."""
        unheard_of = [i for i in self.invoices if i.id not in self._opened]
        if unheard_of and await self.now() >= self.begun + DAY / 2:
            for invoice in unheard_of:
                await self.engine.client.start(invoice.id)
            await self._settle(unheard_of)
            await self._bring(await self.now(), unheard_of)  # a workflow begins at the wall clock's time

    async def _bring(self, to: datetime, moving: Sequence[Invoice]) -> None:
        await self._clock.advance(to, [invoice.workflow_id for invoice in moving])
        await self._settle(moving)

    async def _settle(self, moving: Sequence[Invoice]) -> None:
        await self.engine.control.drain(_DELIVERED)
        started = [i.workflow_id for i in moving if await self._runs(i)]
        await self._clock.settle(started)
        await self.engine.control.drain(_DELIVERED)

    async def _runs(self, invoice: Invoice) -> bool:
        """Whether the workflow of its case has begun."""
        if invoice.id not in self._running:
            try:
                await self.engine.temporal.get_workflow_handle(invoice.workflow_id).describe()
            except RPCError:
                return False
            self._running.add(invoice.id)
        return True

    async def _bring_in_weather(self, to: datetime, moving: list[Invoice], charged: set[str]) -> None:
        """Let the time pass; some pay at the very instant of a charge, and the worker may be killed."""
        moving = [i for i in moving if await self._runs(i)]
        racing = [
            (invoice, await self._hold_the_charge(invoice))
            for invoice in moving
            if invoice.id in charged and self._pays_at_the_charge(invoice, to)
        ]
        passing = asyncio.create_task(self._bring(to, moving))
        races = [asyncio.create_task(self._race(invoice, gate, passing)) for invoice, gate in racing]
        if self._kill_days and to >= self.begun + self._kill_days[0] * DAY and len(moving) >= 4:
            self._kill_days.pop(0)
            self.kills += 1
            ids = [[invoice.workflow_id for invoice in some] for some in (moving, self.invoices)]
            await weather.kill_amid_calls(self.worker, passing, *ids, brutal=self._brutal)
        await asyncio.gather(passing, *races)
        if races:
            await self._settle(moving)

    def _pays_at_the_charge(self, invoice: Invoice, at: datetime) -> bool:
        for act in invoice.acts:
            if act.deed == "pay_at_the_charge" and invoice.moment(act) <= at:
                invoice.acts.remove(act)
                return True
        return False

    async def _hold_the_charge(self, invoice: Invoice) -> str:
        """The engine's next charge hangs: before it is carried out, or before its answer."""
        kind: RequestFaultKind = self._random.choice(("pause", "pause", "pause_after"))
        path = f"/v1/invoices/{invoice.id}/pay$"
        return await self.engine.control.fault(kind, service="stripe", path=path)

    async def _race(self, invoice: Invoice, gate: str, passing: asyncio.Task[None]) -> None:
        """Pay while the charge hangs; without a charge in this round, at the end of it."""
        held = asyncio.create_task(self.engine.control.held(gate, timeout=60))
        await asyncio.wait([passing, held], return_when=asyncio.FIRST_COMPLETED)
        await self._pay(invoice)
        held.cancel()
        await self.engine.control.remove_fault(gate)

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
            case "says_stop":
                await self._says_stop(invoice)

    async def _pay(self, invoice: Invoice) -> None:
        """On the hosted page, whatever the invoice's state."""
        (await self._browser.post(invoice.page, data={"card": _GOOD_CARD})).raise_for_status()

    async def _void(self, invoice: Invoice) -> None:
        told = await self._browser.post(
            f"{self.engine.control.url}/v1/invoices/{invoice.id}/void",
            headers={"Authorization": f"Bearer {self.engine.environment['STRIPE_API_KEY']}"},
        )
        assert told.is_success or "void" in told.text or "paid" in told.text, told.text

    async def _says_stop(self, invoice: Invoice) -> None:
        """A reply to our texts. Its webhook may be lost: then Twilio's own refusal tells."""
        phone = self.phones[invoice.customer]
        await self.engine.control.inbound(phone, "STOP", messaging_service_sid="MG" + "0" * 32)
        self.stopped[phone] = await self.now()

    async def _extend(self, invoice: Invoice) -> None:
        days = self._random.randint(1, 7)
        with contextlib.suppress(CaseClosed, CaseNotFound, LeverRefused, EngineUnavailable):
            await self.engine.client.grant_extension(
                invoice.id, days=days, reason="salary is late", by="support", request_id=f"x{invoice.id}"
            )
            self.extended[invoice.id] = days


def _charges(case: CaseRecord) -> bool:
    return case.waiting_on is not None and case.waiting_on.value == "retry"
