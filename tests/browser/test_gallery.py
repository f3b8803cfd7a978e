"""The gallery of messages on a small telephone, as `dunning templates preview` writes it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.browser.conftest import Tabs
from tests.dunning.test_messages_locales import SHIPPED

pytestmark = pytest.mark.xdist_group("browser")  # one browser, and one gallery

_NARROW = (360, 740)
_SECTION = re.compile(r"<section.*?</section>", re.DOTALL)
_EMAIL = re.compile(r'<iframe [^>]*srcdoc="[^"]*"[^>]*></iframe>')
_WIDTHS = """() => [
    ["the page", document.documentElement.scrollWidth],
    ...Array.from(document.querySelectorAll("iframe[srcdoc]"), one =>
        [one.title, one.contentDocument.documentElement.scrollWidth]),
]"""


async def test_the_index_needs_no_scrolling_sideways(gallery: Path, tabs: Tabs) -> None:
    tab = await tabs.tab(_NARROW)
    await tab.opens(gallery.as_uri())
    assert not await tab.overflows()


@pytest.mark.parametrize("locale", SHIPPED)
async def test_no_message_needs_scrolling_sideways(
    gallery: Path, tabs: Tabs, tmp_path: Path, locale: str
) -> None:
    tab = await tabs.tab(_NARROW, scripts=True)
    await tab.opens(lightened(gallery.with_name(f"{locale}.html"), tmp_path).as_uri())
    for scheme in ("light", "dark") if locale == "en" else ("light",):  # colours are the same everywhere
        await tab.page.emulate_media(color_scheme=scheme)
        widths = await tab.page.evaluate(_WIDTHS)
        assert len(widths) > 20
        assert [(what, width) for what, width in widths if width > _NARROW[0]] == []


def lightened(page: Path, folder: Path) -> Path:
    """A copy with one e-mail of each message, the longest: a hundred of them take a browser seconds, as do
    the frames without them.
    """
    copy = folder / page.name
    copy.write_text(_SECTION.sub(lambda found: _longest_email(found[0]), page.read_text("utf-8")), "utf-8")
    return copy


def _longest_email(section: str) -> str:
    emails = _EMAIL.findall(section)
    longest = emails.index(max(emails, key=len))
    shown = ["" if n != longest else email for n, email in enumerate(emails)]
    return _EMAIL.sub(lambda _: shown.pop(0), section).replace(' loading="lazy"', "")  # all are measured
