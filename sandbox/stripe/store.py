"""The books: every object of every account, as plain JSON objects keyed by id.

Objects are stored the way they go over the wire, with ids where Stripe allows expansion. What Stripe keeps to
itself (which outcome of a test card comes next, who caused a charge) lives beside them, never inside.
"""

from __future__ import annotations

import secrets
import string
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sandbox.stripe.errors import resource_missing

if TYPE_CHECKING:
    from sandbox.world import World

API_VERSION = "2026-10-28.endive"

Obj = dict[str, Any]
_Json = TypeVar("_Json")
_ALPHABET = string.ascii_letters + string.digits


@dataclass(frozen=True)
class Origin:
    """Who caused a change: an API call with its ids, or (both null) a customer, a network or the clock."""

    request_id: str | None = None
    idempotency_key: str | None = None
    initiator: str = "api"


CUSTOMER = Origin(initiator="customer")
STRIPE = Origin(initiator="stripe")


def new_id(prefix: str, size: int = 24) -> str:
    """A fresh id such as `in_…`; random, as ledgers outlive a sandbox and must never meet an id twice."""
    return f"{prefix}_{''.join(_ALPHABET[byte % len(_ALPHABET)] for byte in secrets.token_bytes(size))}"


def list_object(url: str, data: list[Obj]) -> Obj:
    """A list as Stripe embeds it in other objects."""
    return {"object": "list", "data": data, "has_more": False, "total_count": len(data), "url": url}


def plain_copy(value: _Json) -> _Json:
    """A copy of plain JSON, many times faster than `copy.deepcopy`: a long list has thousands of nodes."""
    if isinstance(value, dict):
        return cast(_Json, {key: plain_copy(item) for key, item in value.items()})
    return cast(_Json, [plain_copy(item) for item in value]) if isinstance(value, list) else value


def difference(before: Obj, after: Obj) -> Obj:
    """The values of `before` that `after` changed: Stripe's `previous_attributes`."""
    changed: Obj = {}
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        changed[key] = difference(old, new) if isinstance(old, dict) and isinstance(new, dict) else old
    return plain_copy(changed)


@dataclass
class Account:
    """The objects of one Stripe account, and what only Stripe itself would know about them."""

    books: StripeBooks
    id: str
    connected: bool
    tables: dict[str, dict[str, Obj]] = field(default_factory=dict)
    attempts: list[Obj] = field(default_factory=list)
    card_outcomes: dict[str, str] = field(default_factory=dict)
    outcomes_used: dict[str, int] = field(default_factory=dict)
    retry_schedule: dict[str, list[int]] = field(default_factory=dict)
    paid_off_stripe: dict[str, int] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    invoices_numbered: int = 0

    @property
    def now(self) -> int:
        """The sandbox clock in Unix seconds."""
        return int(self.books.world.now().timestamp())

    def add(self, obj: Obj) -> Obj:
        """Put a new object into the books."""
        self.tables.setdefault(obj["object"], {})[obj["id"]] = obj
        return obj

    def remove(self, obj: Obj) -> None:
        """Take an object out of the books."""
        del self.tables[obj["object"]][obj["id"]]

    def get(self, kind: str, identifier: str, param: str = "id") -> Obj:
        """The object of that kind and id. Raises StripeError 404 `resource_missing`."""
        found = self.tables.get(kind, {}).get(identifier)
        if found is None:
            raise resource_missing(kind.rpartition(".")[2].replace("_", " "), identifier, param)
        return found

    def find(self, identifier: str) -> Obj | None:
        """The object with that id, whatever its kind."""
        return next((table[identifier] for table in self.tables.values() if identifier in table), None)

    def rows(self, kind: str) -> list[Obj]:
        """All objects of a kind, newest first, as Stripe lists them."""
        return list(reversed(self.tables.get(kind, {}).values()))

    def payments_of(self, invoice: Obj) -> list[Obj]:
        """The InvoicePayments of an invoice, newest first."""
        return [row for row in self.rows("invoice_payment") if row["invoice"] == invoice["id"]]

    def invoices_of(self, subscription: Obj) -> list[Obj]:
        """The invoices of a subscription, newest first."""
        return [row for row in self.rows("invoice") if subscription_of(row) == subscription["id"]]

    @contextmanager
    def changing(self, obj: Obj, event: str, origin: Origin) -> Iterator[None]:
        """Emit `event` with `previous_attributes` if the block changed `obj`."""
        before = plain_copy(obj)
        yield
        previous = difference(before, obj)
        if previous:
            self.emit(event, obj, origin, previous)

    def emit(self, kind: str, obj: Obj, origin: Origin, previous: Obj | None = None) -> None:
        """Record an event of type `kind` about `obj` and queue its webhooks."""
        self.books.emit(self, kind, obj, origin, previous)


def subscription_of(invoice: Obj) -> str | None:
    """The subscription of an invoice: `parent.subscription_details.subscription` since API 2025-03-31."""
    details = (invoice.get("parent") or {}).get("subscription_details")
    return None if details is None else str(details["subscription"])


Emitter = Callable[[Account, str, Obj, Origin, "Obj | None"], None]


class StripeBooks:
    """All accounts of one sandbox, and what they share: hosted pages, idempotency keys, the bank's speed."""

    def __init__(
        self,
        world: World,
        public_url: Callable[[], str],
        emit: Emitter,
        run_due: Callable[[StripeBooks, int], None],
    ) -> None:
        self.world = world
        self.public_url = public_url
        self.emit = emit
        self.run_due = run_due
        self.lock = threading.RLock()
        """Held while anything reads or changes the books: controls may come from another thread."""
        self.bank_seconds = 0.0
        """Real seconds that a charging call takes: lets tests crash or race inside one."""
        self.clear()

    def clear(self) -> None:
        """Forget everything: a new, empty Stripe."""
        self.tells = True
        self.accounts: dict[str, Account] = {}
        self.pages: dict[str, tuple[str, str]] = {}
        self.idempotency: dict[tuple[str, str], Any] = {}
        self.platform = self._open(new_id("acct", 16), connected=False)

    def account(self, identifier: str | None) -> Account:
        """The platform's account, or the connected one of a `Stripe-Account` header (opened at first use)."""
        if identifier is None:
            return self.platform
        return self.accounts.get(identifier) or self._open(identifier, connected=True)

    def _open(self, identifier: str, *, connected: bool) -> Account:
        account = Account(books=self, id=identifier, connected=connected)
        self.accounts[identifier] = account
        return account

    def owner(self, kind: str, identifier: str) -> tuple[Account, Obj]:
        """The object of that kind and id in whichever account. Raises StripeError 404 `resource_missing`."""
        for account in self.accounts.values():
            if identifier in account.tables.get(kind, {}):
                return account, account.tables[kind][identifier]
        raise resource_missing(kind.replace("_", " "), identifier)

    @contextmanager
    def unheard(self) -> Iterator[None]:
        """What changes meanwhile makes events, and no webhooks."""
        self.tells = False
        try:
            yield
        finally:
            self.tells = True

    def undelivered(self) -> set[str]:
        """Ids of events of which a webhook was not delivered (yet)."""
        sent = self.world.deliveries.find(service="stripe")
        return {delivery.event_id for delivery in sent if delivery.state != "delivered"}

    def wake(self, due: int) -> None:
        """Look for work that falls due once the sandbox clock has reached `due` (Unix seconds)."""
        self.world.at(datetime.fromtimestamp(due, UTC), lambda at: self.run_due(self, int(at.timestamp())))

    def page(self, account: Account, identifier: str, kind: str) -> str:
        """The secret address of a hosted page for an object: one per object, stable."""
        for token, target in self.pages.items():
            if target == (account.id, identifier):
                return f"{self.public_url()}/{kind}/{token}"
        token = secrets.token_urlsafe(24)
        self.pages[token] = (account.id, identifier)
        return f"{self.public_url()}/{kind}/{token}"
