"""A stateful stand-in for the Stripe API, version 2026-10-28.endive.

The real SDKs and the Stripe CLI talk to it over HTTP. `routes` makes it; the other functions are what its
control API offers beyond Stripe's own.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.routing import BaseRoute, Route

from sandbox.stripe import (
    catalog,
    customers,
    events,
    intents,
    invoice_items,
    invoices,
    lifecycle,
    methods,
    pausing,
    settling,
    setups,
    subscriptions,
)
from sandbox.stripe.controls import (
    BOOKS,
    advance,
    announce,
    automatic_update,
    books_of,
    close_dispute,
    dispute,
    exhaust_retries,
    multiply,
    renew,
    replace_card,
    reset,
    schedule_retries,
    set_bank_seconds,
    settle_processing,
    stripe_books,
    subscribe,
)
from sandbox.stripe.errors import StripeError
from sandbox.stripe.http import Api, Endpoint
from sandbox.stripe.pages import Pages
from sandbox.stripe.store import API_VERSION, StripeBooks
from sandbox.world import World

ENDPOINTS: list[Endpoint] = [
    *catalog.ENDPOINTS,
    *customers.ENDPOINTS,
    *methods.ENDPOINTS,
    *setups.ENDPOINTS,
    *subscriptions.ENDPOINTS,
    *pausing.ENDPOINTS,
    *invoices.ENDPOINTS,
    *settling.ENDPOINTS,
    *invoice_items.ENDPOINTS,
    *intents.ENDPOINTS,
    *events.ENDPOINTS,
]


def routes(world: World, public_url: Callable[[], str]) -> list[BaseRoute]:
    """The routes of a new, empty Stripe: /v1/..., /pay/{token} and /portal/{token}.

    `public_url` gives the sandbox's own address without a trailing slash, for links to the hosted pages.
    """
    books = StripeBooks(world, public_url, events.emit, lifecycle.run_due)
    BOOKS[world] = books
    api, pages = Api(books, ENDPOINTS), Pages(books)
    return [
        Route("/v1/{path:path}", api.serve, methods=["GET", "POST", "DELETE"]),
        Route("/pay/{token}", pages.invoice, methods=["GET", "POST"]),
        Route("/portal/{token}", pages.portal, methods=["GET", "POST"]),
    ]


__all__ = [
    "API_VERSION",
    "ENDPOINTS",
    "StripeBooks",
    "StripeError",
    "advance",
    "announce",
    "automatic_update",
    "books_of",
    "close_dispute",
    "dispute",
    "exhaust_retries",
    "multiply",
    "renew",
    "replace_card",
    "reset",
    "routes",
    "schedule_retries",
    "set_bank_seconds",
    "settle_processing",
    "stripe_books",
    "subscribe",
]
