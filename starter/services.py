"""What the routes of the HTTP API work with. Routes are made once; each app has services of its own."""

from __future__ import annotations

from datetime import timedelta

from fastapi import Depends, Request

from ledger import Ledger
from starter.client import DunningClient
from starter.idempotency import Idempotency
from starter.notice_board import NoticeBoard
from starter.settings import Settings
from starter.webhooks.receiver import Receiver
from starter.wishes import Wishes


class Services:
    """The services of an app, over its connection to Temporal and its ledger."""

    def __init__(self, settings: Settings, client: DunningClient, ledger: Ledger) -> None:
        timeout = timedelta(seconds=settings.dunning_rpc_timeout_seconds)
        self.client, self.ledger = client, ledger
        self.idempotency = Idempotency(ledger)
        self.wishes = Wishes(ledger, Receiver(client.temporal, ledger, timeout))
        self.notices = NoticeBoard(settings, ledger)


async def _of_the_app(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


SERVICES = Depends(_of_the_app)
