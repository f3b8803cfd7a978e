"""The demo: ten customers whose renewals fail, and what becomes of them, in half a minute.

Everything is real but the providers: Temporal, the app, the worker, the ledger, the SDKs, HTTP and signed
webhooks. The policy is the shipped `standard`, unmodified.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

from rich.console import Console

from dunning import links
from ledger import Ledger
from sandbox.control_client import ControlClient
from starter.client import DunningClient
from starter.demo.cast import CAST
from starter.demo.conductor import Conductor, Story
from starter.demo.doings import Doings
from starter.demo.table import Screen, make_console, summary, totals
from starter.demo.verdict import judge
from starter.processes import run_to_the_end
from starter.stack import Addresses, Stack, local_stack
from starter.worldclock import WorldClock


def main(args: Sequence[str] = ()) -> NoReturn:
    """Play the demo; `--exit` ends it with status 0 if every fate came out as cast, else 1. Never returns.

    Without `--exit` the stack stays up until SIGINT or SIGTERM.
    """
    parser = argparse.ArgumentParser(prog="dunning demo", description="Ten failed renewals and what follows.")
    parser.add_argument("--exit", action="store_true", help="end by itself; status 1 unless all is as cast")
    wish = parser.parse_args(args)
    run_to_the_end(_demo(make_console(), leave=wish.exit), interrupted=130 if wish.exit else 0)


async def _demo(console: Console, *, leave: bool) -> int:
    began = time.monotonic()
    console.print("Starting Temporal, the app, a worker, and the sandbox for Stripe, SendGrid and Twilio …")
    async with local_stack("demo", console.print) as stack:
        console.print(f"Ready after {time.monotonic() - began:.0f} s. Ten renewals are about to fail.\n")
        good = await stack.children.unless_one_ends(_play(stack, console))
        console.print(f"[dim]Took {time.monotonic() - began:.0f} s.[/dim]")
        if leave:
            return 0 if good else 1
        console.print("[bold]Ctrl-C ends it all.[/bold]")
        raise await stack.children.first_end()


async def _play(stack: Stack, console: Console) -> bool:
    screen = Screen(console)
    async with _conductor(stack, screen) as (conductor, control):
        await conductor.begin(CAST)
        with screen.live(conductor.stories):
            await conductor.play()
        verdicts = judge(conductor.stories, await control.stripe_books())
        pages = {s.member.invoice: await _page_of(s, stack) for s in conductor.stories if s.open}
    console.print()
    console.print(summary(verdicts))
    console.print(f"\n{totals(conductor.stories)}\n")
    for line in _farewell(conductor.stories, stack.addresses, pages):
        console.print(line, markup=False, soft_wrap=True)
    return all(verdict.good for verdict in verdicts)


@asynccontextmanager
async def _conductor(stack: Stack, screen: Screen) -> AsyncIterator[tuple[Conductor, ControlClient]]:
    ledger = await Ledger.open(stack.settings.database_url)
    async with ControlClient(stack.addresses.sandbox) as control:
        doings = Doings(stack.addresses.sandbox, control, DunningClient.over(stack.client, stack.settings))
        try:
            clock = WorldClock(stack.client, control)
            yield Conductor(clock, doings, ledger, screen.watch, stack.folder / "logs"), control
        finally:
            await doings.close()
            await ledger.close()


async def _page_of(story: Story, stack: Stack) -> str:
    """The customer's page, as the link in the newest message leads to it."""
    assert story.case is not None
    ledger = await Ledger.open(stack.settings.database_url)
    try:
        newest = (await ledger.dispatches.of_case(story.case.id))[-1]
    finally:
        await ledger.close()
    key, base = stack.environment["DUNNING_SECRET_KEY"], stack.environment["PUBLIC_BASE_URL"]
    return links.address(base, links.token(key, story.case.id, newest.step, newest.channel))


def _farewell(stories: Sequence[Story], where: Addresses, pages: Mapping[str, str]) -> list[str]:
    """Where to look, and what to play with."""
    longest = max(stories, key=lambda story: (not story.open, len(story.entries)))
    left = [story for story in stories if story.open and story.case]
    lines = [
        f"All cases in Temporal's UI: {where.ui}/namespaces/default/workflows",
        f"The whole life of {longest.role.name}: {_case_url(longest, where)}",
    ]
    for story in left:
        assert story.case is not None
        lines += [
            "",
            f"{story.role.name} is yours to play with, in grace until {story.case.last_day:%a %d %b}:",
            f"  {_case_url(story, where)}",
            "The page that the customer's messages lead to:",
            f"  {pages[story.member.invoice]}",
            "Give more time, and look again (from this folder):",
            f"  {extend_command(story, where)}",
        ]
    return lines


def _case_url(story: Story, where: Addresses) -> str:
    assert story.case is not None
    workflow = quote(story.workflow_id, safe="")
    return f"{where.ui}/namespaces/default/workflows/{workflow}/{story.case.run_id}/timeline"


def extend_command(story: Story, where: Addresses) -> str:
    """The very command that grants a case seven more days, to be pasted into a shell in this folder."""
    dunning = Path(sys.executable).with_name("dunning")
    shown = os.path.relpath(dunning) if dunning.is_relative_to(Path.cwd()) else str(dunning)
    words = [shown, "extend", story.member.invoice, "--days", "7"]
    words += ["--reason", "a big client pays on Friday", "--by", "you"]
    return f"TEMPORAL_ADDRESS={where.temporal} {shlex.join(words)}"
