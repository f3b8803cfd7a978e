"""A real browser on the customer's page: Chromium from the system, driven by Playwright.

Without a browser these tests are left out with a sentence that says so; in CI they fail instead.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, Request, async_playwright

from tests.fixtures.engine import Engine

#: The browser without its windows first: the same pages for half the work.
_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PHONE, DESKTOP = (360, 740), (1280, 800)


@dataclass
class Tab:
    """A page of the browser, with what it asked the network for."""

    page: Page
    requests: list[Request] = field(default_factory=list)

    def noticed(self, request: Request) -> None:
        """The browser asked for something."""
        self.requests.append(request)

    async def opens(self, url: str) -> None:
        """Go there and wait for it."""
        await self.page.goto(url)

    async def presses(self, words: str) -> None:
        """Press the button or follow the link of that name."""
        button = self.page.get_by_role("button", name=words, exact=True)
        link = self.page.get_by_role("link", name=words, exact=True)
        await (button if await button.count() else link).first.click()

    async def unfolds(self, words: str) -> None:
        """Open what is folded under a heading."""
        await self.page.get_by_role("heading", name=words, exact=True).click()

    async def reads(self) -> str:
        """All text that is seen."""
        return str(await self.page.inner_text("body"))

    async def faults(self) -> list[str]:
        """What axe-core finds serious or critical."""
        found = await Axe().run(self.page)
        return [f"{v['id']}: {v['help']}" for v in found.response["violations"] if v["impact"] in _GRAVE]

    async def overflows(self) -> bool:
        """Whether one has to scroll sideways."""
        width = "document.documentElement"
        return bool(await self.page.evaluate(f"{width}.scrollWidth > {width}.clientWidth"))


_GRAVE = ("serious", "critical")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """The system's browser, one for all tests."""
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        missing = "no Chromium is found: scripts/install-browser installs one for the tests of the page"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=path, args=list(_QUIET))
        yield running
        await running.close()


class Tabs:
    """Opens tabs. JavaScript is off: the page must work without; axe needs it and asks for a tab with it.

    A tab is used again, empty: a new one is a process, whose start takes longer than most pages.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._open: list[tuple[bool, Tab]] = []
        self._empty: dict[bool, list[Page]] = {True: [], False: []}

    async def tab(self, size: tuple[int, int] = PHONE, *, dark: bool = False, scripts: bool = False) -> Tab:
        """An empty tab of a browser that knows no cookie."""
        page = self._empty[scripts].pop() if self._empty[scripts] else await self._new(scripts=scripts)
        await page.set_viewport_size({"width": size[0], "height": size[1]})
        await page.emulate_media(color_scheme="dark" if dark else "light")
        tab = Tab(page)
        page.on("request", tab.noticed)
        self._open.append((scripts, tab))
        return tab

    async def _new(self, *, scripts: bool) -> Page:
        context = await self._browser.new_context(java_script_enabled=scripts, bypass_csp=scripts)
        context.set_default_timeout(10_000)
        return await context.new_page()

    async def leave(self) -> None:
        """Empty them all."""
        while self._open:
            scripts, tab = self._open.pop()
            tab.page.remove_listener("request", tab.noticed)
            await tab.page.goto("about:blank")
            await tab.page.context.clear_cookies()
            self._empty[scripts].append(tab.page)


@pytest.fixture(scope="session")
def all_tabs(browser: Browser) -> Tabs:
    """The tabs of the browser."""
    return Tabs(browser)


@pytest_asyncio.fixture(loop_scope="session")
async def tabs(all_tabs: Tabs) -> AsyncIterator[Tabs]:
    """Tabs of this test."""
    yield all_tabs
    await all_tabs.leave()


def strangers(tab: Tab, engine: Engine) -> list[str]:
    """What was asked of other hosts than the engine's and Stripe's."""
    return [r.url for r in tab.requests if not r.url.startswith((engine.url, engine.control.url))]
