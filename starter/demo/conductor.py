"""The conductor: lets weeks pass, moment by moment, and lets the cast act on its days."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from dunning.values import Channel
from ledger import Ledger
from ledger.records import CaseRecord, EntryRecord
from starter.demo.cast import Act, Role
from starter.demo.doings import Doings, Member
from starter.processes import StackError
from starter.worldclock import WorldClock
from workflows.ids import invoice_dunning_id

#: What falls due so closely together is done together.
_TOGETHER = timedelta(minutes=10)
_PATIENCE = 20
_LONGEST_STEP = 60.0


@dataclass
class Story:
    """One member of the cast, the case as the ledger tells it, and what it does next."""

    member: Member
    begun: datetime
    acts: list[Act] = field(default_factory=list)
    case: CaseRecord | None = None
    entries: Sequence[EntryRecord] = ()
    attempts: int = 0
    messages: dict[Channel, int] = field(default_factory=dict)
    parked_at: datetime | None = None

    @property
    def role(self) -> Role:
        """Who it is."""
        return self.member.role

    @property
    def workflow_id(self) -> str:
        """The id of the case's workflow."""
        return invoice_dunning_id(self.member.invoice)

    @property
    def open(self) -> bool:
        """Whether the case goes on."""
        return self.case is not None and self.case.open

    def moment_of(self, act: Act) -> datetime:
        """When an act happens."""
        return self.begun + timedelta(days=act.day)

    def day_of(self, moment: datetime) -> float:
        """Days since the renewal failed."""
        return (moment - self.begun) / timedelta(days=1)

    @property
    def next_at(self) -> datetime | None:
        """When something happens here next, if the conductor still looks after it."""
        if self.parked_at is not None or self.case is None:
            return None
        moments = [self.moment_of(act) for act in self.acts]
        if self.open and self.case.next_at is not None:
            moments.append(self.case.next_at)
        if self.open and self.role.parked_on is not None:
            moments.append(self.begun + timedelta(days=self.role.parked_on))
        return min(moments, default=None)


Watch = Callable[[Story, datetime, str], None]


class Conductor:
    """Runs the stories on one world clock. `watch` is told of every line that a timeline or a person adds."""

    def __init__(
        self, clock: WorldClock, doings: Doings, ledger: Ledger, watch: Watch, logs: Path
    ) -> None:
        self._clock, self._doings, self._ledger, self._watch = clock, doings, ledger, watch
        self._logs = logs
        self.stories: list[Story] = []

    async def begin(self, cast: Sequence[Role]) -> None:
        """Everybody's renewal fails; the webhooks open the cases."""
        members = await asyncio.gather(*(self._doings.enter(role) for role in cast))
        begun = await self._clock.now()
        self.stories = [Story(member, begun, list(member.role.acts)) for member in members]
        await self._clock.settle(story.workflow_id for story in self.stories)
        await self._look(self.stories)

    async def play(self) -> None:
        """To the end of every story. Raises StackError when a case does not move."""
        stuck, last = 0, datetime.min.replace(tzinfo=self.stories[0].begun.tzinfo)
        while moments := [story.next_at for story in self.stories if story.next_at is not None]:
            moment = min(moments)
            stuck = stuck + 1 if moment <= last else 0
            if stuck > _PATIENCE:
                raise StackError(f"the world does not move on: {self._waiting(moment)}")
            try:
                async with asyncio.timeout(_LONGEST_STEP):
                    last = await self._step(moment)
            except TimeoutError as error:
                waited = f"nothing moved for {_LONGEST_STEP:.0f} s"
                raise StackError(f"{waited}: {self._waiting(moment)}") from error

    def _waiting(self, moment: datetime) -> str:
        """Who should have moved, for an error."""
        late = [s for s in self.stories if s.next_at is not None and s.next_at <= moment]
        who = ", ".join(f"{s.role.name} ({s.workflow_id}: {s.case.next_what})" for s in late if s.case)
        return f"{who} should have gone on at {moment:%d %b %H:%M} UTC; the logs in {self._logs} say why"

    async def _step(self, moment: datetime) -> datetime:
        """All that is due within some minutes of `moment`; returns the time of the world then."""
        due = [s for s in self.stories if s.next_at is not None and s.next_at <= moment + _TOGETHER]
        latest = max(story.next_at or moment for story in due)
        await self._clock.advance(latest, [story.workflow_id for story in due])
        await self._look(due)
        now = await self._clock.now()
        acting = [(s, act) for s in due for act in s.acts if s.moment_of(act) <= now]
        await asyncio.gather(*(self._act(story, act, now) for story, act in acting))
        for story in due:
            if story.role.parked_on is not None and story.day_of(now) >= story.role.parked_on:
                story.parked_at = now
        if acting:
            await self._clock.settle({story.workflow_id for story, _ in acting})
            await self._look([story for story, _ in acting])
        return now

    async def _act(self, story: Story, act: Act, now: datetime) -> None:
        self._watch(story, now, act.words)
        story.acts.remove(act)
        await act.do(self._doings, story.member)

    async def _look(self, stories: Sequence[Story]) -> None:
        await asyncio.gather(*(self._read(story) for story in stories))

    async def _read(self, story: Story) -> None:
        case = await self._ledger.cases.by_invoice("", story.member.invoice)
        if case is None:
            raise StackError(f"no case was opened for {story.role.name} ({story.member.invoice})")
        entries, attempts, dispatches = await asyncio.gather(
            self._ledger.cases.entries(case.id),
            self._ledger.attempts.of_case(case.id),
            self._ledger.dispatches.of_case(case.id),
        )
        news = entries[len(story.entries) :]
        story.case, story.entries, story.attempts = case, entries, len(attempts)
        sent = [dispatch.channel for dispatch in dispatches if dispatch.fate == "accepted"]
        story.messages = {channel: sent.count(channel) for channel in dict.fromkeys(sent)}
        for entry in news:
            self._watch(story, entry.at, entry.text)
