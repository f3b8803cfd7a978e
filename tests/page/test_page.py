"""The customer's page as a browser without JavaScript sees it: what it shows, does, and refuses."""

from __future__ import annotations

import re
from datetime import timedelta
from urllib.parse import urlsplit

import httpx

from dunning import links
from dunning.messages.locales import full_day
from dunning.money import parse_locale
from tests.fixtures.case import Case
from tests.fixtures.engine import Engine
from tests.page.conftest import Visitor, link_of

HARD = "expired_card"  # only the customer can help: the first message goes out at once


async def visited(engine: Engine, case: Case, http: httpx.AsyncClient) -> Visitor:
    return await Visitor(http, await link_of(engine, case)).opens()


class TestShows:
    async def test_what_is_owed_and_the_true_date_and_nothing_that_browsers_could_leak(
        self, engine: Engine, http: httpx.AsyncClient
    ) -> None:
        case = await engine.case(HARD)
        page = await visited(engine, case, http)

        assert page.status == 200
        assert "$19.00" in page.text
        record = await case.record()
        assert record is not None
        assert record.last_day is not None
        assert full_day(record.last_day, parse_locale("en")) in page.text
        pay = re.search(r'<a class="button main" href="([^"]+)"', page.text)
        assert pay is not None
        assert pay[1].startswith(f"{engine.control.url}/pay/")
        assert page.offers("card")
        assert page.offers("time")
        for personal in (case.email, "Ada", case.customer, case.invoice, case.subscription):
            assert personal not in page.text

        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert f"form-action 'self' https://*.stripe.com {engine.control.url};" in policy
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["cache-control"] == "no-store"
        assert "noindex" in page.headers["x-robots-tag"]
        assert "<script" not in page.text
        assert len(page.text.encode()) < 50_000

    async def test_all_open_invoices_with_a_total_for_each_currency(
        self, engine: Engine, http: httpx.AsyncClient
    ) -> None:
        case = await engine.case(HARD)
        draft = await engine.stripe.invoices.create_async({"customer": case.customer, "currency": "eur"})
        await engine.stripe.invoice_items.create_async(
            {"customer": case.customer, "invoice": draft.id, "amount": 500, "currency": "eur"}
        )
        await engine.stripe.invoices.finalize_invoice_async(draft.id)
        page = await visited(engine, case, http)

        assert page.text.count('class="button main" href=') == 2
        assert "Still open: €5.00 and $19.00" in page.text

    async def test_the_words_of_the_customer_s_language_and_direction(
        self, engine: Engine, http: httpx.AsyncClient
    ) -> None:
        case = await engine.case(HARD, locale="ar")
        page = await visited(engine, case, http)
        assert '<html lang="ar" dir="rtl">' in page.text
        assert "<bdi>" in page.text

    async def test_that_all_is_settled_once_it_is_paid(
        self, engine: Engine, http: httpx.AsyncClient
    ) -> None:
        case = await engine.case(HARD)
        page = await visited(engine, case, http)
        await case.customer_pays()
        await page.opens()
        assert "Everything is settled" in page.text
        assert "<form" not in page.text

    async def test_what_is_owed_also_while_stripe_is_away(
        self, engine: Engine, http: httpx.AsyncClient
    ) -> None:
        case = await engine.case(HARD)
        page = Visitor(http, await link_of(engine, case))
        fault = await engine.control.fault("status", service="stripe", times=0, status=500)
        await page.opens()
        assert "$19.00" in page.text
        assert (await page.sends("card")).status == 503
        assert "nothing was changed" in page.text
        await engine.control.remove_fault(fault)


class TestUpdateOfTheCard:
    async def test_leads_to_the_portal_at_stripe_and_back_and_the_new_card_is_charged(
        self, engine: Engine, http: httpx.AsyncClient
    ) -> None:
        case = await engine.case(HARD)
        page = await visited(engine, case, http)
        await page.sends("card")
        assert page.status == 303
        portal = page.headers["location"]
        assert portal.startswith(f"{engine.control.url}/portal/")
        assert page.url in (await http.get(portal)).text
        await engine.post_form(portal, {"card": "5555555555554444"})
        assert "Everything is settled" in (await page.opens()).text


class TestMoreTime:
    async def test_is_granted_at_once_after_a_second_step_and_the_message_names_the_new_day(
        self, engine: Engine, http: httpx.AsyncClient
    ) -> None:
        case = await engine.case(HARD)
        page = await visited(engine, case, http)
        before = await case.record()
        assert before is not None
        assert before.last_day is not None

        await page.sends("time")
        assert page.status == 200
        assert await case.record() == before  # nothing has happened yet
        await page.sends("time_yes")

        after = await case.record()
        assert after is not None
        assert after.last_day == before.last_day + timedelta(days=7)
        assert f"until the end of {full_day(after.last_day, parse_locale('en'))}" in page.text
        assert 'role="status"' in page.text
        await engine.settle()
        entry = next(e for e in await case.timeline() if e.what == "lever.request_extension")
        assert entry.by == "customer"
        told = [m.subject or "" for m in await engine.control.messages() if m.to == case.email]
        assert any("More time" in subject for subject in told)

    async def test_sent_twice_is_one_request(self, engine: Engine, http: httpx.AsyncClient) -> None:
        case = await engine.case(HARD)
        page = await visited(engine, case, http)
        form = (await page.sends("time")).form("time_yes")
        for _ in range(3):
            assert (await page.posts(form)).status == 200
        granted = [e for e in await case.timeline() if e.what == "lever.request_extension"]
        assert len([e for e in granted if "granted" in e.text]) == 1

    async def test_beyond_what_is_granted_at_once_is_answered_by_a_person(
        self, engine: Engine, http: httpx.AsyncClient
    ) -> None:
        case = await engine.case(HARD)
        page = await visited(engine, case, http)
        for _ in range(3):
            await (await page.sends("time")).sends("time_yes")
        assert "You asked for more time. We answer by" in page.text
        assert not page.offers("time")
        record = await case.record()
        assert record is not None
        assert record.waiting_on == "human"

    async def test_is_not_offered_to_who_is_suspended(
        self, engine: Engine, http: httpx.AsyncClient
    ) -> None:
        case = await (await engine.case(HARD)).until(22)
        page = await visited(engine, case, http)
        assert "Your access is paused" in page.text
        assert not page.offers("time")


class TestScanners:
    async def test_that_follow_every_link_and_send_every_form_change_nothing(
        self, engine: Engine, http: httpx.AsyncClient
    ) -> None:
        case = await engine.case(HARD)
        page = await visited(engine, case, http)
        before, told = await case.record(), await case.timeline()
        for do in re.findall(r'name="do" value="(\w+)"', page.text):
            await (await page.opens()).sends(do)
        await http.head(page.url)
        await engine.settle()
        assert await case.record() == before
        assert await case.timeline() == told


class TestForms:
    async def test_that_the_page_did_not_make_are_refused(
        self, engine: Engine, http: httpx.AsyncClient
    ) -> None:
        case = await engine.case(HARD)
        page = await visited(engine, case, http)
        form = (await page.sends("time")).form("time_yes")
        before = await case.record()
        for change in ({"seal": ""}, {"seal": "2026-01-01.a.b"}, {"days": "70"}, {"do": "stop"}):
            assert (await page.posts(form | change)).status == 409, change
            assert 'role="alert"' in page.text
        assert await case.record() == before

    async def test_of_another_link_are_refused(self, engine: Engine, http: httpx.AsyncClient) -> None:
        mine, other = await engine.case(HARD), await engine.case(HARD)
        page = await visited(engine, mine, http)
        form = (await page.sends("time")).form("time_yes")
        foreign = await visited(engine, other, http)
        assert (await foreign.posts(form)).status == 409


class TestLinksThatLeadNowhere:
    async def test_all_look_alike(self, engine: Engine, http: httpx.AsyncClient) -> None:
        expired = await engine.case(HARD)
        urls = [await link_of(engine, expired)]
        await engine.client.pull(expired.invoice, "pause", {"by": "customer"})  # a month of silence
        await expired.until(links.LIFE.days + 2)  # the time of a case is that of its last step
        revoked = await engine.case(HARD)
        urls.append(await link_of(engine, revoked))
        record = await revoked.record()
        assert record is not None
        assert await engine.ledger.links.revoke(record.id, await engine.now()) == 1
        urls.append(f"{engine.url}/r/{'x' * links.LENGTH}")
        answers = [await Visitor(http, url).opens() for url in urls]
        assert {page.status for page in answers} == {404}
        assert len({page.text for page in answers}) == 1

    async def test_bring_a_new_link_to_the_address_on_file_once_a_day(
        self, engine: Engine, http: httpx.AsyncClient
    ) -> None:
        case = await engine.case(HARD)
        page = Visitor(http, await link_of(engine, case))
        record = await case.record()
        assert record is not None
        await engine.ledger.links.revoke(record.id, await engine.now())
        for _ in range(2):
            await page.opens()
            assert (await page.posts({"do": "link"})).status == 404
            assert "a new one will be with you" in page.text
            await engine.settle()
        mails = [m for m in await engine.control.messages() if m.subject == "Your new link"]
        assert [mail.to for mail in mails] == [case.email]
        fresh = await visited(engine, case, http)
        assert fresh.url != page.url
        assert fresh.status == 200

    async def test_answer_who_guesses_in_the_same_words(
        self, engine: Engine, http: httpx.AsyncClient
    ) -> None:
        page = Visitor(http, f"{engine.url}/r/{'y' * links.LENGTH}")
        assert (await page.posts({"do": "link"})).status == 404
        assert "a new one will be with you" in page.text

    async def test_speak_the_language_of_the_browser(
        self, engine: Engine, http: httpx.AsyncClient
    ) -> None:
        answer = await http.get(f"{engine.url}/r/nothing", headers={"Accept-Language": "th-TH,th;q=0.9"})
        assert '<html lang="th" dir="ltr">' in answer.text


async def test_who_asks_too_often_is_told_to_wait(engine: Engine, http: httpx.AsyncClient) -> None:
    page = Visitor(http, f"{engine.url}/r/{'z' * links.LENGTH}")
    for _ in range(200):  # a slow machine earns a request or two meanwhile
        status = (await page.opens()).status
        if status == 429:
            break
        assert status == 404
    assert status == 429
    assert int(page.headers["retry-after"]) > 0


async def test_a_tried_again_message_has_the_same_link(engine: Engine, http: httpx.AsyncClient) -> None:
    case = await engine.case(HARD)
    token = urlsplit(await link_of(engine, case)).path.rpartition("/")[2]
    record = await case.record()
    assert record is not None
    (dispatch,) = await engine.ledger.dispatches.of_case(record.id)
    key = engine.environment["DUNNING_SECRET_KEY"]
    assert token == links.token(key, record.id, dispatch.step, dispatch.channel)
    found = await engine.ledger.links.find(links.digest(token))
    assert found is not None
    assert (found.purpose, found.customer, found.uses) == ("page", case.customer, 0)
    assert token not in repr(found)
