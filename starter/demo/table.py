"""What the demo shows: a live table on a terminal, plain lines elsewhere, and the summary at the end."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dunning.money import Money, format_money
from dunning.values import Channel, Outcome, Stage
from starter.demo.conductor import Story
from starter.demo.verdict import Verdict

_STAGES = {Stage.RECOVERING: "cyan", Stage.GRACE: "yellow", Stage.SUSPENDED: "red", Stage.CLOSED: "dim"}
_OUTCOMES = {Outcome.RECOVERED: "bold green", Outcome.WRITTEN_OFF: "bold red", Outcome.VOIDED: "bold"}
_MESSAGES = {Channel.EMAIL: "e-mail", Channel.SMS: "SMS", Channel.WHATSAPP: "WhatsApp"}
_WIDE = 160
_ROOMY = 120


def make_console() -> Console:
    """Standard output. Where it is no terminal, lines are wide enough for the summary."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # no euro sign is a reason to stop
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDE)


class Screen:
    """Follows the stories: a table that changes on a terminal, one line for each event elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stories: Sequence[Story] = ()
        self._last: dict[str, str] = {}
        self._now: datetime | None = None

    def live(self, stories: Sequence[Story]) -> AbstractContextManager[object]:
        """Show the stories while they are played."""
        self._stories = stories
        if not self._console.is_terminal:
            return nullcontext()
        return Live(get_renderable=self._table, console=self._console, refresh_per_second=8)

    def watch(self, story: Story, at: datetime, text: str) -> None:
        """Something happened in a story at `at`."""
        self._now = max(at, self._now or at)
        if not text.startswith("closed"):  # the stage says so
            self._last[story.member.invoice] = text.removesuffix(": accepted by the provider")
        if not self._console.is_terminal:
            line = f"day {story.day_of(at):5.1f}  {story.role.name:<20}  {text}"
            self._console.print(line, markup=False, soft_wrap=True)

    def _table(self) -> Table:
        day = self._stories[0].day_of(self._now) if self._now and self._stories else 0.0
        title = f"day {day:.0f}: {self._now:%a %d %b %Y}" if self._now else None
        table = Table(box=None, pad_edge=False, title=title, title_justify="left", expand=True)
        table.add_column("Customer", no_wrap=True)
        if self._console.width >= _ROOMY:
            table.add_column("Cast as", no_wrap=True, style="dim")
        table.add_column("Stage", no_wrap=True, min_width=10)
        table.add_column("Day", justify="right", no_wrap=True)
        table.add_column("Last", no_wrap=True, overflow="ellipsis", ratio=3)
        table.add_column("Next", no_wrap=True, overflow="ellipsis", ratio=2)
        for story in self._stories:
            table.add_row(*self._row(story))
        return table

    def _row(self, story: Story) -> tuple[Text | str, ...]:
        case = story.case
        names = (story.role.name, story.role.fate.words)[: 2 if self._console.width >= _ROOMY else 1]
        if case is None:
            return names
        end = case.closed_at or story.parked_at or self._now or case.opened_at
        until = f"{case.next_at:%d %b}: {case.next_what}" if story.open and case.next_at else ""
        last, day = Text(self._last.get(story.member.invoice, "")), f"{story.day_of(end):.0f}"
        return (*names, _stage(story), day, last, Text(until))


def _stage(story: Story) -> Text:
    assert story.case is not None
    if story.case.outcome is not None:
        word = str(story.case.outcome).replace("_", " ")
        return Text(word, style=_OUTCOMES.get(story.case.outcome, "bold"))
    return Text(str(story.case.stage), style=_STAGES[story.case.stage])


def summary(verdicts: Sequence[Verdict]) -> Table:
    """The cast, what was wanted, what came out, and what it took."""
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for name in ("Customer", "Cast as", "Came out"):
        table.add_column(name)
    for name in ("Days", "Tries", "Messages", "Amount"):
        table.add_column(name, justify="right")
    for verdict in verdicts:
        table.add_row(*_summed(verdict))
    return table


def _summed(verdict: Verdict) -> tuple[Text | str, ...]:
    story, case = verdict.story, verdict.story.case
    assert case is not None
    came = _stage(story)
    if case.recovered_via is not None:
        came.append(f" via {str(case.recovered_via).replace('_', ' ')}")
    if not verdict.good:
        came = Text("; ".join(verdict.wrong), style="bold red")
    sent = ", ".join(_counted(count, _MESSAGES[channel]) for channel, count in sorted(story.messages.items()))
    ended = f"{story.day_of(case.closed_at):.1f}" if case.closed_at else "open"
    mark = Text("✓", style="green") if verdict.good else Text("✗", style="bold red")
    amount = _money(case.amount, case.currency)
    return (mark, story.role.name, story.role.fate.words, came, ended, str(story.attempts), sent, amount)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("s" if count > 1 and noun.islower() else "")


def totals(stories: Sequence[Story]) -> str:
    """Money recovered and money at stake, by currency."""
    return f"Recovered {_sum(stories, True)} of {_sum(stories, False)} that had failed."


def _sum(stories: Sequence[Story], recovered: bool) -> str:
    cases = [s.case for s in stories if s.case and (not recovered or s.case.outcome is Outcome.RECOVERED)]
    sums: dict[str, int] = {}
    for case in cases:
        sums[case.currency] = sums.get(case.currency, 0) + case.amount
    return " and ".join(_money(amount, currency) for currency, amount in sorted(sums.items())) or "nothing"


def _money(amount: int, currency: str) -> str:
    return format_money(Money(amount=amount, currency=currency), "en")
