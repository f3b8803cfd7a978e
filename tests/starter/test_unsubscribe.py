"""One click ends the optional e-mails, and no others; looking at the page ends nothing (RFC 8058)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from activities.unsubscribing import UnsubscribeLinks
from dunning.messages.catalogue import available_locales
from dunning.values import Channel
from ledger import Ledger
from starter.unsubscribe import _words
from tests.ledger.acts import NOW, claim_message
from tests.starter import messaging
from tests.starter.messaging import BASE, Door
from tests.starter.test_messaging_webhooks import app_of

SECRET = "s" * 40
LINKS = UnsubscribeLinks(BASE, SECRET)
ONE_CLICK = b"List-Unsubscribe=One-Click"


@pytest_asyncio.fixture
async def door(sqlite_ledger: Ledger) -> AsyncIterator[Door]:
    async with await app_of(sqlite_ledger, messaging.settings(dunning_secret_key=SECRET)) as http:
        door = Door(http, sqlite_ledger)
        await door.claim(Channel.EMAIL)
        yield door


async def wanted(door: Door) -> bool:
    return await door.ledger.consents.wants_reminders("", "cus_1")


def path(door: Door) -> str:
    return "/u/" + LINKS.token(door.claimed[Channel.EMAIL])


async def test_looking_changes_nothing_and_shows_a_button(door: Door) -> None:
    for _ in range(2):
        page = await door.http.get(path(door))
        assert page.status_code == 200
    assert '<form method="post"><button>Stop reminders</button>' in page.text
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert await wanted(door)


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"]
)
async def test_one_click_of_a_mail_client_does_it_without_a_redirect(door: Door, kind: str) -> None:
    answer = await door.http.post(path(door), content=ONE_CLICK, headers={"Content-Type": kind})
    assert answer.status_code == 200
    assert not await wanted(door)
    assert await door.consents() == {}  # e-mail itself is still allowed


async def test_a_link_works_again_and_support_gives_reminders_back(door: Door) -> None:
    assert [(await door.http.post(path(door))).status_code for _ in range(2)] == [200, 200]
    body = {"channel": "reminders", "state": "granted", "reason": "asked for them"}
    answer = await door.http.post("/api/v1/customers/cus_1/consents", json=body)
    assert (answer.json()["reminders"], answer.json()["channels"]) == (True, {})
    assert await wanted(door)


async def test_a_reminder_of_a_renewal_on_a_connected_account_is_unsubscribed_from_there(door: Door) -> None:
    ledger = door.ledger
    reminder = await ledger.reminders.claim(
        account="acct_9", subscription="sub_9", charge_at=NOW, workflow_id="w", run_id="r",
        customer="cus_9", policy_name="standard", policy_version="1", at=NOW,
    )  # fmt: skip
    mail = await claim_message(ledger, case_id=reminder.id, customer="cus_9", address="abc")
    assert (await door.http.post("/u/" + LINKS.token(mail.dispatch_id))).status_code == 200
    assert not await ledger.consents.wants_reminders("acct_9", "cus_9")

    await door.mail({"event": "spamreport", "dispatch_id": mail.dispatch_id})
    assert await ledger.consents.state("acct_9", "cus_9") == {Channel.EMAIL: "revoked"}
    await door.mail({"event": "bounce", "type": "bounce", "dispatch_id": mail.dispatch_id})
    assert await ledger.addresses.dead_of("acct_9", "cus_9") != {}


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_link_that_is_none_of_ours_changes_nothing(door: Door, method: str) -> None:
    forged = UnsubscribeLinks(BASE, "another secret of enough length").token(door.claimed[Channel.EMAIL])
    gone = LINKS.token("dsp_" + "0" * 32)
    for token in (forged, gone, "x", "%00", path(door)[3:-1], "é"):
        assert (await door.http.request(method, f"/u/{token}")).status_code == 404
    assert await wanted(door)


async def test_without_a_secret_every_link_is_unknown(sqlite_ledger: Ledger) -> None:
    async with await app_of(sqlite_ledger, messaging.settings()) as http:
        assert (await http.get("/u/" + LINKS.token("dsp_1"))).status_code == 404


async def test_the_page_speaks_the_browsers_language(door: Door) -> None:
    page = await door.http.get(path(door), headers={"Accept-Language": "ar-EG,en;q=0.5"})
    assert 'lang="ar" dir="rtl"' in page.text
    page = await door.http.get(path(door), headers={"Accept-Language": "tlh, xx;q=nonsense"})
    assert 'lang="en" dir="ltr"' in page.text


def test_the_page_knows_every_language_of_the_messages() -> None:
    assert set(_words()) == set(available_locales())
    assert len({tuple(sorted(words)) for words in _words().values()}) == 1


def test_a_link_holds_nothing_of_the_customer() -> None:
    url = LINKS.url("dsp_" + "a" * 32)
    assert url.startswith(f"{BASE}/u/")
    assert len(url) < 140
    assert LINKS.read(url.rpartition("/")[2]) == "dsp_" + "a" * 32
