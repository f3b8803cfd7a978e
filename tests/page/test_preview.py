"""The customer's page as operators see it, from a link in the case's details: to look at, not to use."""

from __future__ import annotations

import base64
import hashlib
import re

import httpx

from dunning.page import CUSTOMER
from starter.app import create_app
from starter.settings import ApiKey
from tests.fixtures.case import Case
from tests.fixtures.engine import Engine
from tests.page.conftest import Visitor, link_of
from tests.starter.conftest import app_client


async def link_in_details(engine: Engine, case: Case) -> str:
    """Where the Temporal UI leads from the case."""
    found = re.search(r"\(([^)]+/page[^)]*)\)", await case.details())
    assert found is not None
    return found[1]


async def test_shows_what_the_customer_sees_and_can_do_nothing(
    engine: Engine, http: httpx.AsyncClient
) -> None:
    case = await engine.case("expired_card")
    customers = await Visitor(http, await link_of(engine, case)).opens()
    assert customers.offers("card")
    assert "<main>" in customers.text

    address = await link_in_details(engine, case)
    assert address == f"{engine.url}/cases/{case.invoice}/page"
    preview = await Visitor(http, address).opens()
    assert preview.status == 200
    assert heading(preview) == heading(customers)
    assert "<main inert>" in preview.text
    assert "preview for operators" in preview.text
    for do in ("card", "time", "cancel"):
        assert not preview.offers(do)
    assert 'name="seal"' not in preview.text
    assert (await preview.posts(customers.form("time"))).status == 405
    assert not any(entry.by == CUSTOMER for entry in await case.timeline())


async def test_an_invoice_without_a_case_has_no_page(engine: Engine, http: httpx.AsyncClient) -> None:
    answer = await http.get(f"{engine.url}/cases/in_none/page")
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == "there is no case of invoice in_none"


async def test_the_browser_asks_for_a_key(engine: Engine) -> None:
    case = await engine.case("expired_card")
    keys = (ApiKey("desk", "read", hashlib.sha256(b"a key to look with").hexdigest()),)
    settings = engine.settings.model_copy(update={"dunning_api_keys": keys})
    unusable = ("", "Basic", "Basic !!!", "Basic /w==", "Bearer a key to look with")
    right = {"Authorization": f"Basic {coded('ops:a key to look with')}"}
    async with app_client(create_app(settings, engine.temporal, engine.ledger), "203.0.113.7") as http:
        for given in (*unusable, f"Basic {coded('ops:guess')}"):
            answer = await http.get(f"/cases/{case.invoice}/page", headers={"Authorization": given})
            assert answer.status_code == 401, given
            assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
        assert (await http.get(f"/cases/{case.invoice}/page", headers=right)).status_code == 200
        # A browser that knows the key sends it with whatever another site makes it send.
        lever = f"/api/v1/cases/{case.invoice}/levers/hold"
        forged = await http.post(lever, headers=right, json={"reason": "forged", "by": "nobody"})
        assert forged.status_code == 401
        assert forged.headers["WWW-Authenticate"] == "Bearer"


def coded(pair: str) -> str:
    return base64.b64encode(pair.encode()).decode()


def heading(page: Visitor) -> str:
    """The page's first words."""
    found = re.search(r"<h1>(.*?)</h1>", page.text)
    assert found is not None
    return found[1]
