"""The customer's page in a real browser: every action, end to end, on phone and desktop, in th and ar."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import pytest

from dunning.messages.locales import full_day
from dunning.messages.page_words import page_text
from dunning.money import parse_locale
from tests.browser.conftest import DESKTOP, PHONE, Tab, Tabs, strangers
from tests.fixtures.case import Case
from tests.fixtures.engine import Engine
from tests.page.conftest import link_of

pytestmark = pytest.mark.xdist_group("browser")  # one browser for all

HARD = "expired_card"
LIMIT = 50_000


async def shown(tabs: Tabs, engine: Engine, case: Case, size: tuple[int, int] = PHONE) -> Tab:
    tab = await tabs.tab(size)
    await tab.opens(await link_of(engine, case))
    return tab


async def last_day(case: Case) -> date:
    record = await case.record()
    assert record is not None
    assert record.last_day is not None
    return record.last_day


async def test_the_card_is_replaced_at_stripe_and_the_payment_goes_through(
    engine: Engine, tabs: Tabs
) -> None:
    case = await engine.case(HARD)
    tab = await shown(tabs, engine, case)
    await tab.presses("Change payment method")
    await tab.page.get_by_label("New card").fill("5555555555554444")
    await tab.presses("Save card")
    await engine.settle()
    await tab.presses("Return")
    assert "Everything is settled" in await tab.reads()
    assert strangers(tab, engine) == []


async def test_the_invoice_is_paid_on_its_hosted_page(engine: Engine, tabs: Tabs) -> None:
    case = await engine.case(HARD)
    url = await link_of(engine, case)
    tab = await shown(tabs, engine, case, DESKTOP)
    await tab.presses("Pay $19.00")
    await tab.page.get_by_role("button").click()
    await engine.settle()
    assert (await case.result()).recovered_via == "customer"
    await tab.opens(url)
    assert "Everything is settled" in await tab.reads()


async def test_more_time_is_taken_and_then_asked_for_by_keyboard_alone(engine: Engine, tabs: Tabs) -> None:
    case = await engine.case(HARD)
    tab, before = await shown(tabs, engine, case), await last_day(case)
    for wish, then in (("Ask for more time", "Would you like"), ("Yes, I need more time", "Of course")):
        await tab.page.get_by_role("button", name=wish).focus()
        await tab.page.keyboard.press("Enter")
        await tab.page.get_by_text(then).wait_for()
    after = await last_day(case)
    assert (after - before).days == 7
    assert f"until the end of {full_day(after, parse_locale('en'))}" in await tab.reads()
    for _ in range(2):
        await tab.presses("Ask for more time")
        await tab.presses("Yes, I need more time")
    assert "We answer by" in await tab.reads()


async def test_a_day_is_promised(engine: Engine, tabs: Tabs) -> None:
    case = await engine.case(HARD)
    tab = await shown(tabs, engine, case)
    await tab.page.get_by_label("Day", exact=True).select_option(index=3)
    await tab.presses("Choose this day")
    await tab.presses("Back")
    assert (await case.record()) is not None
    await tab.page.get_by_label("Day", exact=True).select_option(index=3)
    await tab.presses("Choose this day")
    await tab.presses("Yes, I pay on this day")
    assert "Noted: you pay on" in await tab.reads()
    assert any(entry.what == "lever.promise_to_pay" for entry in await case.timeline())


async def test_channels_are_chosen_and_what_went_wrong_is_told(engine: Engine, tabs: Tabs) -> None:
    case = await engine.case(HARD, phone="+12025550143")
    tab = await shown(tabs, engine, case)
    await tab.unfolds("How we may write to you")
    await tab.page.get_by_label("E-mail").uncheck()
    await tab.page.get_by_label("Text message (SMS)").check()
    await tab.presses("Save")
    assert await engine.ledger.consents.state("", case.customer) == {"email": "revoked", "sms": "granted"}

    await tab.unfolds("What went wrong?")
    await tab.page.get_by_label("It is too expensive").check()
    await tab.page.get_by_label("In your own words").fill("For <b>us</b> it is")
    await tab.presses("Send")
    assert "Thank you for telling us" in await tab.reads()
    record = await case.record()
    assert record is not None
    (answer,) = await engine.ledger.surveys.of_case(record.id)
    assert (answer.reason, answer.text) == ("too_expensive", "For <b>us</b> it is")


async def test_the_subscription_is_paused_and_then_canceled(engine: Engine, tabs: Tabs) -> None:
    case = await engine.case(HARD)
    tab = await shown(tabs, engine, case)
    await tab.unfolds("Pause your subscription")
    await tab.presses("Pause instead of canceling")
    await tab.presses("Yes, pause")
    assert "Your subscription is paused until" in await tab.reads()
    await tab.unfolds("Cancel")
    await tab.presses("Cancel my subscription")
    await tab.presses("Yes, cancel it")
    assert "Your subscription is canceled" in await tab.reads()
    assert (await case.result()).outcome == "canceled"


async def test_another_plan_is_confirmed_at_stripe(engine: Engine, tabs: Tabs) -> None:
    price = await engine.stripe.prices.create_async(
        {
            "unit_amount": 900,
            "currency": "usd",
            "recurring": {"interval": "month"},
            "product_data": {"name": "Small plan"},
        }
    )
    case = await engine.unannounced(HARD)
    policy = engine.write_policy("cheaper", ("switch_to: []", f"switch_to: [{price.id}]"))
    await engine.start(case, policy=policy)
    tab = await shown(tabs, engine, case)
    await tab.unfolds("Choose another plan")
    await tab.presses("Small plan, $9.00 a month")
    await tab.presses("Confirm")
    assert "Your plan was changed" in await tab.reads()
    await tab.presses("Return")
    assert "Still open" in await tab.reads()


@pytest.mark.parametrize("locale", ["th", "ar"])
async def test_more_time_is_taken_in_other_scripts(engine: Engine, tabs: Tabs, locale: str) -> None:
    case = await engine.case(HARD, locale=locale)
    words = page_text(locale, {}).words
    tab = await shown(tabs, engine, case)
    await tab.presses(words.time_button)
    await tab.presses(words.time_yes)
    assert full_day(await last_day(case), parse_locale(locale)) in await tab.reads()


class TestLooks:
    @pytest.mark.parametrize(
        ("locale", "size", "dark"),
        [("en", PHONE, False), ("en", DESKTOP, True), ("th", PHONE, False), ("ar", PHONE, True)],
    )
    async def test_nobody_is_shut_out(
        self, *, engine: Engine, tabs: Tabs, locale: str, size: tuple[int, int], dark: bool
    ) -> None:
        """axe-core in light and dark, everything unfolded; and no sideways scrolling on a small phone."""
        case = await engine.case(HARD, locale=locale, phone="+12025550143")
        url, words = await link_of(engine, case), page_text(locale, {}).words
        tab = await tabs.tab(size, dark=dark, scripts=True)
        await tab.opens(url)
        await picture(tab, f"{locale}-{size[0]}-{'dark' if dark else 'light'}")
        await tab.page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
        assert await tab.faults() == []
        assert not await tab.overflows()
        await tab.presses(words.time_button)
        assert await tab.faults() == []

    async def test_it_is_light_and_asks_nobody_else(self, engine: Engine, tabs: Tabs) -> None:
        case = await engine.case(HARD)
        tab = await shown(tabs, engine, case)
        weights = [len(await answer.body()) for r in tab.requests if (answer := await r.response())]
        assert len(weights) == 1
        assert sum(weights) < LIMIT

    async def test_operators_see_it_and_cannot_use_it(self, engine: Engine, tabs: Tabs) -> None:
        case = await engine.case(HARD)
        tab = await tabs.tab(DESKTOP)
        await tab.opens(f"{engine.url}/cases/{case.invoice}/page")
        assert "$19.00" in await tab.reads()
        await picture(tab, "preview")
        for button in await tab.page.locator("form button, a.button").all():
            await button.click(force=True)
        assert [request.method for request in tab.requests] == ["GET"]

    async def test_a_link_that_leads_nowhere_is_readable_too(self, engine: Engine, tabs: Tabs) -> None:
        tab = await tabs.tab(scripts=True)
        await tab.opens(f"{engine.url}/r/nothing")
        assert await tab.faults() == []
        await tab.presses("Send me a new link")
        assert "a new one will be with you" in await tab.reads()


async def picture(tab: Tab, name: str) -> None:
    """A picture for who wants to look: PICTURES=folder."""
    if folder := os.environ.get("PICTURES"):
        await tab.page.screenshot(path=Path(folder) / f"page-{name}.png", full_page=True)
