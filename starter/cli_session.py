"""What commands need for the time of one call: settings, Temporal, the ledger, and who is typing."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from ledger import Ledger, LedgerError
from starter.client import DunningClient
from starter.errors import CaseNotFound, EngineUnavailable
from starter.settings import Settings

T = TypeVar("T")


def run(work: Awaitable[T]) -> T:
    """Run a command's work in an event loop of its own."""

    async def whole() -> T:
        return await work

    return asyncio.run(whole())


def user() -> str:
    """The name of the person at the keyboard, as the operating system knows it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container whose user has no name
        return "cli"


@asynccontextmanager
async def open_ledger(settings: Settings) -> AsyncIterator[Ledger]:
    """The ledger, closed afterwards. Raises EngineUnavailable, or LedgerError that names what to run."""
    try:
        ledger = await Ledger.open(settings.database_url)
        try:
            yield ledger
        finally:
            await ledger.close()
    except (SQLAlchemyError, OSError) as error:
        raise EngineUnavailable("the ledger does not answer: look at DATABASE_URL") from error


async def with_case(
    settings: Settings, invoice_id: str, account: str, ask: Callable[[DunningClient, str], Awaitable[T]]
) -> T:
    """Ask the case of an invoice; one that runs under an id of its own is found through the ledger."""
    client = await DunningClient.connect(settings)
    try:
        return await ask(client, invoice_id)
    except CaseNotFound as not_found:
        try:
            async with open_ledger(settings) as ledger:
                found = await ledger.cases.by_invoice(account, invoice_id)
        except (EngineUnavailable, LedgerError):
            raise not_found from None
        if found is None or found.workflow_id.endswith(invoice_id):
            raise
        return await ask(client, found.workflow_id)
