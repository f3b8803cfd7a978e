"""Looks at a Stripe account for settings that contradict the policies, and says what to change.

A sample of what happened lately is read, in five calls; `dunning.account` judges it. The look at the start of
a worker holds nothing up: whatever goes wrong with it is one line of the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import stripe
import structlog
from sqlalchemy.exc import SQLAlchemyError
from stripe.params import EventListParams

from activities.context import make_stripe
from activities.policy_book import NOT_POLICIES, PolicyBook
from activities.stripe_http import StripeHttp
from dunning.account import (
    Finding,
    Sample,
    SampledCharge,
    SampledEndpoint,
    SampledInvoice,
    SampledSubscription,
    judge_account,
)
from dunning.policy import Policy, PolicyError
from ledger import Ledger, LedgerError
from ledger.records import CaseRecord
from starter.settings import Settings
from starter.webhooks.routing import CONCERNS

log = structlog.get_logger(__name__)

SAMPLE = 50
LATELY = timedelta(days=30)  # Stripe keeps events for so long (Stripe API reference: Events)
DEADLINE = timedelta(seconds=60)
_ENDED = ("customer.subscription.deleted", "customer.subscription.paused", "invoice.marked_uncollectible")
#: All that may go wrong with a look, and is no reason to stop anything.
TROUBLES = (stripe.StripeError, SQLAlchemyError, LedgerError, PolicyError, OSError, TimeoutError)

Row = Mapping[str, Any]
FITS = "the account's settings fit the policies, as far as a sample shows"


class _Page(Protocol):
    @property
    def data(self) -> Sequence[stripe.StripeObject]: ...


class AccountCheck:
    """Reads the sample: at Stripe with the engine's own key, and in the ledger. It changes nothing."""

    def __init__(self, client: stripe.StripeClient, ledger: Ledger, policies: PolicyBook) -> None:
        self._stripe, self._ledger, self._policies = client.v1, ledger, policies
        self._unread: list[str] = []

    async def sample(self, now: datetime) -> Sample:
        """What happened lately. A part that the key may not read is named in `unread`, and left out."""
        self._unread = []
        api, since = self._stripe, int((now - LATELY).timestamp())
        failed: EventListParams = {"type": "charge.failed", "created": {"gte": since}, "limit": SAMPLE}
        acted: EventListParams = {"types": list(_ENDED), "created": {"gte": since}, "limit": SAMPLE}
        invoices = await self._rows(
            "invoices", lambda: api.invoices.list_async({"status": "open", "limit": SAMPLE})
        )
        failures = await self._rows("events", lambda: api.events.list_async(failed))
        ended = await self._rows("events", lambda: api.events.list_async(acted))
        unpaid = await self._rows(
            "subscriptions", lambda: api.subscriptions.list_async({"status": "unpaid", "limit": SAMPLE})
        )
        endpoints = await self._rows(
            "webhook endpoints", lambda: api.webhook_endpoints.list_async({"limit": SAMPLE})
        )
        given_up = [_object(row) for row in ended or () if row["type"] == _ENDED[2]]
        gone = [_object(row) for row in ended or () if row["type"] != _ENDED[2]]
        return Sample(
            at=now,
            invoices=tuple([await self._invoice(row) for row in (*(invoices or ()), *given_up)]),
            charges=tuple([charge async for charge in self._charges(failures or ())]),
            subscriptions=tuple(_subscription(row) for row in (*gone, *(unpaid or ()))),
            endpoints=None if endpoints is None else tuple(_endpoint(row) for row in endpoints),
            needed_events=frozenset(CONCERNS),
            unread=tuple(dict.fromkeys(self._unread)),
        )

    async def _rows(self, what: str, read: Callable[[], Awaitable[_Page]]) -> list[Row] | None:
        try:
            return [row.to_dict() for row in (await read()).data]
        except stripe.PermissionError:
            self._unread.append(f"{what} were not looked at: give the restricted key the right to read them")
        return None

    async def _invoice(self, row: Row) -> SampledInvoice:
        case = await self._ledger.cases.by_invoice("", row["id"])
        is_open = case is not None and case.open
        upcoming = row.get("next_payment_attempt")
        return SampledInvoice(
            id=row["id"],
            status=row.get("status") or "draft",
            attempted=bool(row.get("attempted")),
            next_payment_attempt=_moment(upcoming) if upcoming else None,
            given_up_because=_deep(row, "status_details", "uncollectible", "reason"),
            case_since=case.opened_at if case is not None and is_open else None,
            owner=self._owner(case) if case is not None and is_open else None,
        )

    async def _charges(self, events: Iterable[Row]) -> AsyncIterator[SampledCharge]:
        """Failed charges on invoices that were ours to charge when they were made."""
        for event in events:
            charge = _object(event)
            trace = await self._ledger.charges.trace("", charge["id"])
            case = await self._ledger.cases.by_invoice("", trace.invoice_id) if trace else None
            at = _moment(charge["created"])
            if case is None or not case.open or at <= case.opened_at or self._owner(case) != "engine":
                continue
            by_api = _deep(event, "request", "id") is not None
            yield SampledCharge(id=charge["id"], invoice=case.invoice_id, at=at, by_api=by_api)

    def _owner(self, case: CaseRecord) -> Any:
        """Who charges by the case's policy; None when it is in shadow, or cannot be read any more."""
        try:
            policy = self._policies.load(case.policy_name)
        except PolicyError:
            return None
        return None if policy.shadow else policy.retries.owner


def policies_in(folder: Path | None) -> tuple[Policy, ...]:
    """The policies of the business, else the standard one. Raises PolicyError for a wrong one."""
    book = PolicyBook(folder)
    files = sorted(folder.glob("*.yaml")) if folder is not None else []
    names = [file.stem for file in files if file.name not in NOT_POLICIES]
    return tuple(book.load(name) for name in names or ["standard"])


async def check_account(
    client: stripe.StripeClient, ledger: Ledger, folder: Path | None, now: datetime
) -> tuple[Finding, ...]:
    """What of the account contradicts the policies of the folder. Raises one of `TROUBLES`."""
    policies = [policy for policy in policies_in(folder) if not policy.shadow]
    async with asyncio.timeout(DEADLINE.total_seconds()):
        sample = await AccountCheck(client, ledger, PolicyBook(folder)).sample(now)
    return judge_account(sample, policies)


def log_finding(finding: Finding) -> None:
    """A finding as a line of the log."""
    write = log.warning if finding.severity == "warning" else log.info
    write(finding.text, code=finding.code, examples=list(finding.examples))


@asynccontextmanager
async def looking_beside(
    settings: Settings, tell: Callable[[Finding], None] = log_finding
) -> AsyncIterator[None]:
    """Look at the account in the background while the block runs, and tell what was found.

    Not against a stand-in for Stripe, whose account has no settings.
    """
    if settings.stripe_api_base or settings.stripe_api_key is None:
        yield
        return
    look = asyncio.create_task(look_once(settings, tell))
    try:
        yield
    finally:
        look.cancel()
        with suppress(asyncio.CancelledError):
            await look


async def look_once(settings: Settings, tell: Callable[[Finding], None]) -> None:
    """Look at the account and tell what was found. Raises nothing: that it could not is told, too."""
    try:
        ledger = await Ledger.open(settings.database_url)
        try:
            found = await look(settings, ledger)
        finally:
            await ledger.close()
    except TROUBLES as error:
        text = f"the Stripe account's settings were not checked: {said_in_short(error)}"
        found = (Finding(code="not_checked", severity="note", text=text),)
    for finding in found or (Finding(code="fits", severity="note", text=FITS),):
        tell(finding)


async def look(settings: Settings, ledger: Ledger) -> tuple[Finding, ...]:
    """`check_account` of the engine's own account now."""
    key = settings.stripe_api_key.get_secret_value() if settings.stripe_api_key else ""
    async with StripeHttp(settings.stripe_timeout_seconds) as http:
        client = make_stripe(key, http, api_base=settings.stripe_api_base)
        return await check_account(client, ledger, settings.dunning_policies, datetime.now(UTC))


def said_in_short(error: BaseException) -> str:
    """An error as one line."""
    text = getattr(error, "user_message", None) or str(error)
    return text.splitlines()[0] if text else type(error).__name__


def _object(event: Row) -> dict[str, Any]:
    found: dict[str, Any] = event["data"]["object"]
    return found


def _subscription(row: Row) -> SampledSubscription:
    return SampledSubscription(
        id=row["id"],
        status=row["status"],
        canceled_because=_deep(row, "cancellation_details", "reason"),
        paused_because=_deep(row, "status_details", "paused", "subscription", "type"),
    )


def _endpoint(row: Row) -> SampledEndpoint:
    events = frozenset(row.get("enabled_events") or ())
    return SampledEndpoint(url=row["url"], enabled=row.get("status") == "enabled", events=events)


def _deep(row: Row, *names: str) -> Any:
    """A value some levels down; None where a level is missing or null."""
    found: Any = row
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
