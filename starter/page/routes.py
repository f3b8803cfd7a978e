"""The routes of the page. GET shows, POST does; nothing is done by a link alone.

Who holds a link may do what the page offers, and no more. A form carries a seal that only this page can make;
the same form, sent twice, is one request to the case. Levers go to every open case of the customer, because
the page speaks of all of them at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import structlog
from fastapi import APIRouter, Depends, Request, Response
from starlette.responses import HTMLResponse, RedirectResponse

from activities.context import load_business
from dunning import links
from dunning.messages.catalogue import available_locales
from dunning.messages.locales import nearest
from dunning.messages.page_words import page_text
from dunning.page import CUSTOMER
from ledger import Ledger
from starter.access import requires
from starter.client import DunningClient
from starter.errors import CaseClosed, CaseNotFound, DunningError, EngineUnavailable, LeverRefused
from starter.page.guard import RateLimit, headers
from starter.page.hosted import HostedPages, StripeAway
from starter.page.sheet import LONGEST, REASONS, STYLE, Notice, Seal, Sheet, as_day
from starter.page.visits import Visit, Visits
from starter.settings import Settings
from starter.webhooks.receiver import Receiver
from starter.wishes import Wishes

log = structlog.get_logger(__name__)

Fields = Mapping[str, str]
#: What a form may ask for, and the fields that the page itself wrote into it.
_OURS: dict[str, tuple[str, ...]] = {
    "card": (),
    "time": (),
    "time_yes": ("days",),
    "promise": (),
    "promise_yes": ("on",),
    "pause": (),
    "pause_yes": (),
    "cancel": (),
    "cancel_yes": (),
    "switch": ("price",),
    "contact": (),
    "survey": (),
}


def is_configured(settings: Settings) -> bool:
    """Whether there can be a page: it needs an address, a key of its own and Stripe."""
    needed = (settings.public_base_url, settings.dunning_secret_key, settings.stripe_api_key)
    return all(value is not None for value in needed)


def page_router(settings: Settings, client: DunningClient, ledger: Ledger) -> APIRouter:
    """The routes of `/r/{token}`, and of the page as an operator sees it."""
    page = CustomerPage(settings, client, ledger)
    operator = Depends(requires("read", typed=True))
    router = APIRouter(include_in_schema=False, lifespan=page.connected)
    router.add_api_route("/r/{token}", page.show, methods=["GET", "HEAD"])
    router.add_api_route("/r/{token}", page.act, methods=["POST"])
    router.add_api_route(links.PREVIEW, page.preview, methods=["GET"], dependencies=[operator])
    return router


class CustomerPage:
    """Shows the page and does what its forms ask for."""

    def __init__(self, settings: Settings, client: DunningClient, ledger: Ledger) -> None:
        assert settings.public_base_url is not None
        assert settings.dunning_secret_key is not None
        self._base = settings.public_base_url
        self._key = settings.dunning_secret_key.get_secret_value()
        self._templates = settings.templates
        self._business = load_business(settings.dunning_policies)
        self._client, self._ledger = client, ledger
        self._hosted = HostedPages(settings)
        self._visits = Visits(client, ledger, self._hosted)
        timeout = timedelta(seconds=settings.dunning_rpc_timeout_seconds)
        self._wishes = Wishes(ledger, Receiver(client.temporal, ledger, timeout))
        self._limit = RateLimit()
        self._headers = headers(STYLE, self._hosted.origins)
        self._acts: dict[str, Callable[[Visit, Fields], Awaitable[Response]]] = {
            "card": self._card,
            "time": self._ask_time,
            "time_yes": self._take_time,
            "promise": self._ask_promise,
            "promise_yes": self._take_promise,
            "pause": self._ask_pause,
            "pause_yes": self._take_pause,
            "cancel": self._ask_cancel,
            "cancel_yes": self._take_cancel,
            "switch": self._switch,
            "contact": self._contact,
            "survey": self._survey,
        }

    @asynccontextmanager
    async def connected(self, _app: object) -> AsyncIterator[None]:
        """While the app is served. Afterwards the connections to Stripe are closed."""
        async with self._hosted.http:
            yield

    # --- requests ---------------------------------------------------------------------------------------

    async def show(self, request: Request, token: str) -> Response:
        """GET: nothing is changed, not even a count of visits."""
        if wait := self._limit.wait(request, token):
            return self._slow(request, wait)
        visit = await self._visits.by_token(token)
        return self._gone(request) if visit is None else self._page(visit)

    async def act(self, request: Request, token: str) -> Response:
        """POST: what a form asks for."""
        if wait := self._limit.wait(request, token):
            return self._slow(request, wait)
        form = await request.form(max_files=0, max_fields=20)
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        do = fields.get("do", "")
        if do == "link":
            await self._send_link(token)
            return self._gone(request, asked=True)
        visit = await self._visits.by_token(token)
        if visit is None:
            return self._gone(request)
        if do not in self._acts or not self._is_sealed(visit, do, fields):
            return self._amiss(visit, "refused", 409)
        try:
            return await self._acts[do](visit, fields)
        except (LeverRefused, CaseClosed, CaseNotFound):
            return self._amiss(await self._visits.by_token(token) or visit, "refused", 409)
        except (EngineUnavailable, StripeAway) as error:
            log.warning("the page could not do what was asked", do=do, code=error.code, message=error.message)
            return self._amiss(visit, "away", 503)

    async def preview(self, invoice_id: str, account: str = "") -> Response:
        """GET, for operators: what the customer of a case sees, and nothing on it can be used.

        Raises CaseNotFound.
        """
        case = await self._ledger.cases.by_invoice(account, invoice_id)
        if case is None:
            raise CaseNotFound(f"there is no case of invoice {invoice_id}")
        found = await self._visits.of(case, case.account, case.customer)
        return self._html(self._written_in(found.locale).page(found.standing, seal=None))

    # --- what forms do ----------------------------------------------------------------------------------

    async def _card(self, visit: Visit, fields: Fields) -> Response:
        back = links.address(self._base, visit.token)
        url = await self._hosted.replace_method(visit.link.account, visit.link.customer, back)
        await self._ledger.links.used(visit.link.digest)
        return RedirectResponse(url, status_code=303, headers=self._headers)

    async def _ask_time(self, visit: Visit, fields: Fields) -> Response:
        sheet, offers = self._sheet(visit), visit.standing.offers
        if offers is None or offers.more_time is None:
            raise LeverRefused("more time is not offered")
        days = offers.more_time.days
        question = sheet.t("time_sure", granted_days=sheet.t.days(days))
        return self._sure(visit, "time_yes", question, sheet.more_time(offers), days=str(days))

    async def _take_time(self, visit: Visit, fields: Fields) -> Response:
        after = await self._pull(visit, "request_extension", fields, days=int(fields["days"]))
        sheet, offers = self._sheet(after), after.standing.offers
        if offers is None:
            return self._page(after)
        told = sheet.waiting(offers) or sheet.t("time_done", last_day=sheet.t.day(offers.last_day))
        return self._page(after, Notice(told))

    async def _ask_promise(self, visit: Visit, fields: Fields) -> Response:
        on, offers, sheet = as_day(fields.get("on", "")), visit.standing.offers, self._sheet(visit)
        if on is None or offers is None or on not in offers.promise_days:
            return self._page(visit, Notice(sheet.t("choose_first"), amiss=True), status=422)
        question = sheet.t("promise_sure", day=sheet.t.day(on))
        return self._sure(visit, "promise_yes", question, sheet.t("promise_text"), on=on.isoformat())

    async def _take_promise(self, visit: Visit, fields: Fields) -> Response:
        after = await self._pull(visit, "promise_to_pay", fields, on=fields["on"])
        sheet = self._sheet(after)
        day = sheet.t.day(date.fromisoformat(fields["on"]))
        return self._page(after, Notice(sheet.t("promise_done", day=day)))

    async def _ask_pause(self, visit: Visit, fields: Fields) -> Response:
        sheet, offers = self._sheet(visit), visit.standing.offers
        if offers is None or offers.pause_until is None:
            raise LeverRefused("no pause is offered")
        until = sheet.t.day(offers.pause_until)
        question = sheet.t("pause_sure", until=until)
        return self._sure(visit, "pause_yes", question, sheet.t("pause_text", until=until))

    async def _take_pause(self, visit: Visit, fields: Fields) -> Response:
        after = await self._pull(visit, "pause", fields)
        until = next(o.pause_until or o.paused_until for o in (visit.standing.offers,) if o)
        sheet = self._sheet(after)
        told = sheet.t("pause_done", until=sheet.t.day(until)) if until else ""
        return self._page(after, Notice(told))

    async def _ask_cancel(self, visit: Visit, fields: Fields) -> Response:
        sheet, offers = self._sheet(visit), visit.standing.offers
        if offers is None or not offers.cancel:
            raise LeverRefused("canceling is not offered")
        return self._sure(visit, "cancel_yes", sheet.t("cancel_sure"), sheet.consequence(offers))

    async def _take_cancel(self, visit: Visit, fields: Fields) -> Response:
        after = await self._pull(visit, "cancel", fields)
        at_end = visit.standing.offers is not None and visit.standing.offers.cancel == "at_period_end"
        words = "cancel_done_at_end" if at_end else "cancel_done"
        return self._page(after, Notice(self._sheet(after).t(words)))

    async def _switch(self, visit: Visit, fields: Fields) -> Response:
        offers = visit.standing.offers
        if offers is None or offers.subscription is None or fields["price"] not in offers.switch_to:
            raise LeverRefused("that plan is not offered")
        back = links.address(self._base, visit.token)
        link, price = visit.link, fields["price"]
        url = await self._hosted.switch(link.account, link.customer, offers.subscription, price, back)
        await self._ledger.links.used(link.digest)
        return RedirectResponse(url, status_code=303, headers=self._headers)

    async def _contact(self, visit: Visit, fields: Fields) -> Response:
        """Keep what changed: a form that is sent as it was shown says nothing."""
        wanted = {channel: channel.value in fields for channel in visit.standing.channels}
        for channel, on in wanted.items():
            if on is not visit.standing.channels[channel]:
                await self._wishes.state(
                    visit.link.account,
                    visit.link.customer,
                    [channel],
                    "granted" if on else "revoked",
                    source="customer_page",
                    at=visit.now,
                    by=CUSTOMER,
                    text=str(self._sheet(visit).t(channel.value)),
                )
        await self._ledger.links.used(visit.link.digest)
        after = replace(visit, standing=replace(visit.standing, channels=wanted))
        return self._page(after, Notice(self._sheet(after).t("contact_done")))

    async def _survey(self, visit: Visit, fields: Fields) -> Response:
        reason = fields.get("reason")
        if reason not in REASONS:
            return self._amiss(visit, "choose_first", 422)
        await self._ledger.surveys.add(
            f"{visit.link.digest}/{fields['seal']}",
            case_id=visit.link.case_id,
            account=visit.link.account,
            customer=visit.link.customer,
            at=visit.now,
            reason=reason,
            text=fields.get("words", "").strip()[:LONGEST],
        )
        await self._ledger.links.used(visit.link.digest)
        return self._page(visit, Notice(self._sheet(visit).t("survey_done")))

    async def _pull(self, visit: Visit, lever: str, fields: Fields, **payload: Any) -> Visit:
        """Pull a lever of every open case of the customer; returns how things stand then."""
        given = {"by": CUSTOMER, "request_id": f"page/{fields['seal']}", **payload}
        for case in visit.cases:
            await self._client.pull(case.workflow_id, lever, given)
        await self._ledger.links.used(visit.link.digest)
        offers = await self._visits.offers(visit.cases, visit.now)
        return replace(visit, standing=replace(visit.standing, offers=offers))

    async def _send_link(self, token: str) -> None:
        """Ask the case to send a new link to the address on file. Who asks learns nothing from it."""
        link = await self._ledger.links.find(links.digest(token))
        case = await self._ledger.cases.get(link.case_id) if link is not None else None
        if case is None or not case.open:
            return
        try:
            await self._client.pull(case.workflow_id, "send_link", {"by": CUSTOMER})
        except DunningError as error:
            log.warning("no new link was sent", case=case.id, code=error.code, message=error.message)

    # --- answers ----------------------------------------------------------------------------------------

    def _seal(self, visit: Visit) -> Seal:
        """Seals forms of this visit."""
        offers = visit.standing.offers
        marker = offers.marker if offers is not None else ""

        def seal(do: str, fields: Mapping[str, str]) -> str:
            return links.seal(self._key, visit.link.digest, do, fields, visit.now.date(), marker)

        return seal

    def _is_sealed(self, visit: Visit, do: str, fields: Fields) -> bool:
        own = {name: value for name, value in fields.items() if name in _OURS[do]}
        given, today = fields.get("seal", ""), visit.now.date()
        whole = len(own) == len(_OURS[do])
        return whole and links.is_sealed(given, self._key, visit.link.digest, do, own, today)

    def _sheet(self, visit: Visit, notice: Notice | None = None) -> Sheet:
        return self._written_in(visit.locale, notice)

    def _written_in(self, locale: str, notice: Notice | None = None) -> Sheet:
        business = self._business
        facts = {"business": business.name, "support": business.support_contact}
        text = page_text(
            locale or business.default_locale, facts, self._templates, default=business.default_locale
        )
        return Sheet(text, business, notice)

    def _page(self, visit: Visit, notice: Notice | None = None, status: int = 200) -> Response:
        return self._html(self._sheet(visit, notice).page(visit.standing, self._seal(visit)), status)

    def _amiss(self, visit: Visit, words: str, status: int) -> Response:
        """The page, and why what was asked did not happen."""
        return self._page(visit, Notice(self._sheet(visit).t(words), amiss=True), status)

    def _sure(self, visit: Visit, do: str, question: str, consequence: str, **fields: str) -> Response:
        sheet = self._sheet(visit)
        text = sheet.sure(do, question, consequence, sheet.t(do), self._seal(visit), **fields)
        return self._html(text)

    def _gone(self, request: Request, *, asked: bool = False) -> Response:
        locale = _wanted(request, self._templates, self._business.default_locale)
        notice = Notice(self._written_in(locale).t("gone_done")) if asked else None
        return self._html(self._written_in(locale, notice).gone(), 404)

    def _slow(self, request: Request, seconds: int) -> Response:
        locale = _wanted(request, self._templates, self._business.default_locale)
        answer = self._html(self._written_in(locale).slow(), 429)
        answer.headers["Retry-After"] = str(seconds)
        return answer

    def _html(self, text: str, status: int = 200) -> Response:
        return HTMLResponse(text, status_code=status, headers=self._headers)


def _wanted(request: Request, templates: Path | None, default: str) -> str:
    """The locale of somebody who is not known, as the browser asks for it."""
    asked = request.headers.get("accept-language", "")[:200].split(",")
    return nearest(asked[0].partition(";")[0], available_locales(templates), default)
