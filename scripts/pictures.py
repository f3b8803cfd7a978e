"""Take the pictures of cases in docs/ again, from Temporal's UI, with the system's Chromium.

    .venv/bin/python scripts/pictures.py [folder]

Reduce them to 64 colours, look whether each case is understood in ten seconds, and commit them.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import quote

from playwright.async_api import FloatRect, async_playwright

from dunning.values import Outcome, Stage
from ledger import Ledger
from sandbox.control_client import ControlClient
from starter.client import DunningClient
from starter.demo.cast import Act, Fate, Role
from starter.demo.conductor import Conductor, Story
from starter.demo.doings import Doings, Member
from starter.stack import Stack, local_stack
from starter.worldclock import WorldClock

DOCS = Path(__file__).parents[1] / "docs"
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync")  # fmt: skip
Do = Callable[[Doings, Member], Awaitable[None]]


def cast(client: DunningClient) -> dict[str, Role]:
    """By the picture's name: somebody whose case comes to that stage and stays there."""

    def pull(lever: str, **payload: object) -> Do:
        async def do(_: Doings, member: Member) -> None:
            await client.pull(member.invoice, lever, payload | {"by": "maria"})

        return do

    def role(name: str, bank: str, day: float, *acts: Act) -> Role:
        fate = Fate("stays where it is", Outcome.STOPPED, stage=Stage.GRACE)
        return Role(name, 5_900, "eur", f"succeeded,{bank}", fate, acts, "+12025550143", day)

    def grant() -> Act:
        return Act(15.2, "more time", pull("grant_extension", days=7, reason="salary comes on Friday"))

    return {
        "recovering": role("recovering", "insufficient_funds", 4.0),
        "grace": role("grace", "insufficient_funds", 16.0, grant()),
        "suspended": role("suspended", "expired_card", 23.0),
        "recovered": role("recovered", "do_not_honor", 30.0, Act(17.4, "pays", Doings.pay)),
        "held": role(
            "held", "do_not_honor", 9.0, Act(8.1, "hold", pull("hold", reason="outage on our side")),
        ),
        "human": role(
            "human", "expired_card", 16.0,
            Act(15.3, "asks", pull("request_extension", days=20, reason="new job, paid on the 1st")),
        ),
    }  # fmt: skip


async def played(stack: Stack) -> dict[str, Story]:
    """Everybody at their stage."""
    client = DunningClient.over(stack.client, stack.settings)
    ledger = await Ledger.open(stack.settings.database_url)
    roles = cast(client)
    async with ControlClient(stack.addresses.sandbox) as control:
        doings = Doings(stack.addresses.sandbox, control, client)
        try:
            clock = WorldClock(stack.client, control)
            conductor = Conductor(clock, doings, ledger, lambda *_: None, stack.folder / "logs")
            await conductor.begin(tuple(roles.values()))
            await conductor.play()
        finally:
            await doings.close()
            await ledger.close()
    return {story.role.name: story for story in conductor.stories}


def part(x: int, y: int, width: int, height: int) -> FloatRect:
    """A part of the page."""
    return {"x": x, "y": y, "width": width, "height": height}


async def main(folder: Path) -> None:
    """The details of a case in each stage, a timeline, and the dialog that pulls a lever."""
    async with local_stack("demo", lambda _: None) as stack, async_playwright() as playwright:
        stories = await played(stack)
        chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(QUIET))
        page = await browser.new_page(viewport={"width": 1500, "height": 2000}, timezone_id="UTC")
        for name, story in stories.items():
            assert story.case is not None
            case = f"{quote(story.workflow_id, safe='')}/{story.case.run_id}"
            address = f"{stack.addresses.ui}/namespaces/default/workflows/{case}"
            await page.goto(f"{address}/user-metadata")
            column = page.locator("div.border-l", has=page.get_by_role("heading", name="Current Details"))
            levers = page.frame_locator("iframe[title=output]").get_by_text("What support may do")
            await levers.wait_for()
            await page.wait_for_timeout(1000)  # the frame grows to its text
            box, below = await column.bounding_box(), await levers.bounding_box()
            assert box is not None
            assert below is not None
            whole = name == "grace"  # the others end above what support may do
            height = box["height"] if whole else below["y"] - box["y"]
            await page.screenshot(path=folder / f"case-{name}.png", clip={**box, "height": height})
            if name == "recovered":
                await page.goto(f"{address}/timeline")
                await page.get_by_role("button", name="Descending").click()
                await page.wait_for_timeout(2000)
                await page.screenshot(path=folder / "case.png", clip=part(262, 112, 1220, 1540))
            if name == "grace":
                await page.get_by_role("button", name="More Actions").click()
                await page.get_by_role("menu").get_by_text("Send an Update").click()
                await page.get_by_role("button", name="Select an Update").click()
                await page.wait_for_timeout(1000)
                await page.screenshot(path=folder / "update.png", clip=part(367, 764, 766, 474))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS))
