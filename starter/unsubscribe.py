"""`/u/{token}`: a customer stops the optional reminders. Looking changes nothing, a click does (RFC 8058).

Mail clients post here by themselves, without cookies, and follow no redirect; scanners may do so, too. A link
works any number of times.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from html import escape
from importlib.resources import files
from typing import cast

from fastapi import FastAPI, Request
from starlette.responses import HTMLResponse, Response

from activities.context import load_business
from activities.unsubscribing import PATH
from dunning.messages.locales import nearest
from dunning.money import parse_locale
from dunning.values import Channel
from dunning.yaml_text import read_yaml
from ledger import Ledger
from ledger.records import DispatchRecord
from starter.links import unsubscribe_links
from starter.settings import Settings
from starter.webhooks.feedback import available

_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
}
_STYLE = (
    "body{font:1.125rem/1.5 system-ui,sans-serif;max-width:32rem;margin:15vh auto;padding:0 1rem}"
    "button{font:inherit;padding:.75rem 1.5rem;border:0;border-radius:.5rem;background:#1d4ed8;color:#fff}"
    ":root{color-scheme:light dark}"
)


def add_unsubscribe(app: FastAPI, settings: Settings, ledger: Ledger) -> None:
    """Add the route. Without the settings no link was ever made, and every one is unknown."""
    links = unsubscribe_links(settings)
    name = load_business(settings.dunning_policies).name
    timeout = 2 * settings.dunning_rpc_timeout_seconds

    async def look(request: Request) -> tuple[DispatchRecord | None, str]:
        named = links.read(request.path_params["token"]) if links else None
        message = await ledger.dispatches.by_id(named) if named else None
        return message, _language(request.headers.get("accept-language", ""))

    async def page(request: Request) -> Response:
        async with available(timeout):
            message, language = await look(request)
        if message is None:
            return _gone(language)
        words = _words()[language]
        button = f'<form method="post"><button>{escape(words["button"])}</button></form>'
        return _page(language, words["question"].format(name=name), words["explain"], button)

    async def click(request: Request) -> Response:
        async with available(timeout):
            message, language = await look(request)
            account = await ledger.dispatches.account(message) if message else None
            if message is None or account is None:
                return _gone(language)
            await ledger.consents.set(
                account=account,
                customer=message.customer,
                channel=Channel.EMAIL,
                group="optional",
                state="revoked",
                source="one_click",
                at=datetime.now(UTC),
                by="customer",
                text=message.id,
                just_now=True,
            )
        words = _words()[language]
        return _page(language, words["done"], words["done_explain"])

    app.add_route(PATH + "{token}", page, methods=["GET"])
    app.add_route(PATH + "{token}", click, methods=["POST"])


def _gone(language: str) -> Response:
    return _page(language, _words()[language]["gone"], status=404)


def _page(language: str, title: str, text: str = "", more: str = "", status: int = 200) -> Response:
    direction = parse_locale(language).text_direction
    html = (
        f'<!doctype html><html lang="{language}" dir="{direction}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><main><h1>{escape(title)}</h1><p>{escape(text)}</p>{more}"
        "</main></body></html>"
    )
    return HTMLResponse(html, status, headers=_HEADERS)


def _language(accepted: str) -> str:
    """The first language of the browser's list that the page speaks, else English."""
    for part in accepted.split(",")[:5]:
        wanted = part.partition(";")[0].strip()
        found = nearest(wanted, tuple(_words()), "en") if wanted else "en"
        if found != "en" or wanted.lower().startswith("en"):
            return found
    return "en"


@cache
def _words() -> dict[str, dict[str, str]]:
    text = (files("dunning") / "data" / "unsubscribe.yaml").read_text(encoding="utf-8")
    return cast(dict[str, dict[str, str]], read_yaml(text))
