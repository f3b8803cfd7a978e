"""The customer's page over HTTP: an engine in an empty world, and a visitor who has only the link."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx
import pytest_asyncio

from dunning import links
from tests.fixtures.case import Case
from tests.fixtures.engine import Engine, plain_http

_FORM = re.compile(r"<form method=\"post\">(.*?)</form>", re.S)
#: What a form sends when nobody touched it: its hidden fields and the boxes that are ticked.
_GIVEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)">')
_TICKED = re.compile(r'<input type="checkbox" name="(\w+)" value="(\w+)" checked>')


@dataclass
class Visitor:
    """A browser without JavaScript."""

    http: httpx.AsyncClient
    url: str
    text: str = ""
    status: int = 0
    headers: httpx.Headers = field(default_factory=httpx.Headers)

    async def opens(self, url: str | None = None) -> Visitor:
        """GET."""
        self.url = url or self.url
        return self._got(await self.http.get(self.url))

    async def sends(self, do: str, **fields: str) -> Visitor:
        """Send the form of the page that does this."""
        return await self.posts(self.form(do) | fields)

    async def posts(self, fields: dict[str, str]) -> Visitor:
        """POST."""
        return self._got(await self.http.post(self.url, data=fields))

    def form(self, do: str) -> dict[str, str]:
        """What a form sends as it stands."""
        forms = [dict(_GIVEN.findall(body) + _TICKED.findall(body)) for body in _FORM.findall(self.text)]
        return next(form for form in forms if form.get("do") == do)

    def offers(self, do: str) -> bool:
        """Whether the page has such a form."""
        return f'name="do" value="{do}"' in self.text

    def _got(self, answer: httpx.Response) -> Visitor:
        self.text, self.status, self.headers = answer.text, answer.status_code, answer.headers
        return self


@pytest_asyncio.fixture(loop_scope="session")
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """A client that follows no redirect."""
    async with plain_http() as client:
        yield client


async def link_of(engine: Engine, case: Case) -> str:
    """The link in the newest e-mail to the customer."""
    mails = [m for m in await engine.control.messages() if m.channel == "email" and m.to == case.email]
    found = re.search(rf"{re.escape(engine.url)}/r/[\w-]{{{links.LENGTH}}}", mails[-1].body or "")
    assert found is not None, mails[-1].body
    return found[0]
