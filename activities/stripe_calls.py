"""The calls to Stripe that the activities make, each one endpoint, with errors an operator can act on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, cast

import stripe
from stripe import RequestOptions
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.context import retry_delay
from activities.stripe_objects import (
    DELETED_CUSTOMER_EXPANSION,
    INVOICE_EXPANSION,
    InvoiceList,
    PaymentError,
    PaymentMethod,
    PaymentMethods,
    StripeCharge,
    StripeCharges,
    StripeInvoice,
    StripeInvoices,
    Subscription,
    parse,
    parse_dict,
)
from activities.stripe_reads import StripeReads
from dunning.case import CaseRef

#: Every idempotency key of ours begins so: the webhook receiver knows the engine's own echoes by it.
KEY_PREFIX = "dunning-"
#: The event of a DELETE carries no idempotency key; the comment of a cancellation tells it is ours.
OWN_COMMENT = f"{KEY_PREFIX}engine: final action"
#: Objects of one page of a list, at most (Stripe API reference: Pagination).
LONGEST_PAGE = 100


def charge_key(ref: CaseRef, number: int) -> str:
    """The idempotency key of attempt `number`: the same for every try of the attempt, over all episodes."""
    return f"{KEY_PREFIX}{ref.account or 'acct'}-{ref.invoice_id}-{number}"


def effect_key(ref: CaseRef, effect: str) -> str:
    """The idempotency key of an effect that may be repeated safely: another one for each try.

    Stripe stores a 500 under its key too, so a later try must not ask for the same answer again.
    """
    info = activity.info()
    run = (info.workflow_run_id or "")[:8]
    scope = f"{ref.account or 'acct'}-{ref.invoice_id}-{ref.episode}"
    return f"{KEY_PREFIX}{scope}-{effect}-{run}-{info.activity_id}-{info.attempt}"


class StripeCalls:
    """Stripe, as far as the activities need it.

    Raises ApplicationError that Temporal retries: `StripeBusy` (429), `StripeRefusedKey` (401, 403),
    `StripeUnreachable` (no answer, 5xx, a conflict), `StripeRefusedRequest` (any other 4xx that no method
    names). Messages carry Stripe's codes and request id, never its free text.
    """

    def __init__(self, client: stripe.StripeClient) -> None:
        self._client = client.v1
        self._reads = StripeReads(client)

    async def invoice(self, ref: CaseRef) -> StripeInvoice | None:
        """The invoice with customer, subscription, payments, methods; None when Stripe does not know it."""
        with guarded("invoices.retrieve"):
            try:
                return await self._invoice(ref, INVOICE_EXPANSION)
            except stripe.InvalidRequestError as error:
                if not (error.param or "").startswith("expand"):
                    raise
            return await self._invoice(ref, DELETED_CUSTOMER_EXPANSION)

    async def _invoice(self, ref: CaseRef, expansion: list[str]) -> StripeInvoice | None:
        return await self._reads.known(
            StripeInvoice, ref.account, "invoices", ref.invoice_id, expand=expansion
        )

    async def owed_by(self, ref: CaseRef, customer: str) -> tuple[StripeInvoice, ...]:
        """The open invoices of a customer, newest first: the last hundred."""
        which = {"customer": customer, "status": "open", "limit": LONGEST_PAGE}
        with guarded("invoices.list"):
            return (await self._reads.get(StripeInvoices, ref.account, "invoices", **which)).data

    async def charge(self, ref: CaseRef, charge_id: str) -> StripeCharge:
        """A charge with its outcome."""
        with guarded("charges.retrieve"):
            return await self._reads.get(StripeCharge, ref.account, "charges", charge_id)

    async def known_charge(self, ref: CaseRef, charge_id: str) -> StripeCharge | None:
        """The same, or None when Stripe does not know it."""
        with guarded("charges.retrieve"):
            return await self._reads.known(StripeCharge, ref.account, "charges", charge_id)

    async def charges(self, ref: CaseRef, intent: str) -> tuple[StripeCharge, ...]:
        """The charges of a PaymentIntent, newest first: the last hundred, more than any rule lets happen."""
        which = {"payment_intent": intent, "limit": LONGEST_PAGE}
        with guarded("charges.list"):
            return (await self._reads.get(StripeCharges, ref.account, "charges", **which)).data

    async def cards(self, ref: CaseRef, customer: str) -> tuple[PaymentMethod, ...]:
        """The cards that are attached to the customer, newest first."""
        path, which = ("customers", customer, "payment_methods"), {"type": "card", "limit": LONGEST_PAGE}
        with guarded("customers.payment_methods.list"):
            return (await self._reads.get(PaymentMethods, ref.account, *path, **which)).data

    async def open_invoices(self, account: str, *, since: datetime | None, after: str | None) -> InvoiceList:
        """A page of the account's open invoices, newest first, those made since a moment; `after` an id."""
        params: dict[str, Any] = {"status": "open", "limit": LONGEST_PAGE}
        params |= {"created": {"gte": int(since.timestamp())}} if since else {}
        params |= {"starting_after": after} if after else {}
        with guarded("invoices.list"):
            return await self._reads.get(InvoiceList, account, "invoices", **params)

    async def lost_events(
        self, account: str, types: Sequence[str], *, since: datetime, until: datetime, after: str | None
    ) -> tuple[list[dict[str, Any]], bool]:
        """A page of the events that some endpoint did not take, newest first, and whether there are more.

        Whole events, as a webhook brings them. Source: Stripe API reference: List all events.
        """
        made = {"gte": int(since.timestamp()), "lt": int(until.timestamp())}
        params: dict[str, Any] = {"types": list(types), "created": made, "limit": LONGEST_PAGE}
        params |= {"delivery_success": False} | ({"starting_after": after} if after else {})
        with guarded("events.list"):
            found = await self._client.events.list_async(cast(Any, params), _of_account(account))
        return [event.to_dict(for_json=True) for event in found.data], found.has_more

    async def pay(self, ref: CaseRef, number: int, params: dict[str, Any]) -> StripeInvoice:
        """Charge the invoice once, as attempt `number`.

        Raises stripe.CardError (a decline), stripe.InvalidRequestError (the invoice or the method is not in a
        state to be charged) and stripe.IdempotencyError (the key was used with other parameters).
        """
        expected = (stripe.CardError, stripe.InvalidRequestError, stripe.IdempotencyError)
        options = _options(ref, charge_key(ref, number))
        with guarded("invoices.pay", expected):
            paid = await self._client.invoices.pay_async(ref.invoice_id, cast(Any, params), options)
        return parse(StripeInvoice, paid)

    async def pause_collection(
        self, ref: CaseRef, subscription: str, value: dict[str, Any] | None, effect: str
    ) -> Subscription:
        """Set `pause_collection` of the subscription, or unset it with None."""
        params = cast(Any, {"pause_collection": value if value is not None else ""})
        options = _options(ref, effect_key(ref, effect))
        with guarded("subscriptions.update"):
            changed = await self._client.subscriptions.update_async(subscription, params, options)
        return parse(Subscription, changed)

    async def pause(self, ref: CaseRef, subscription: str) -> None:
        """Pause the subscription itself. Unused time of a debtor is not credited, usage is not billed.

        Source: Stripe API reference, "Pause a subscription": both are `now` unless told otherwise.
        """
        nothing = {"type": "none"}
        bills = {"outstanding_usage_through": nothing, "unused_time_from": nothing}
        params = cast(Any, {"type": "subscription", "bill_for": bills})
        with guarded("subscriptions.pause"):
            await self._client.subscriptions.pause_async(
                subscription, params, _options(ref, effect_key(ref, "suspend"))
            )

    async def resume(self, ref: CaseRef, subscription: str) -> None:
        """Resume a paused subscription: a new period begins now and is billed, without proration.

        It is active at once; should that payment fail, its invoice is dunned like any other.
        """
        params = {
            "billing_cycle_anchor": {"type": "now"},
            "payment_behavior": "resume_on_payment_attempt",
            "proration_behavior": "none",
        }
        with guarded("subscriptions.resume"):
            await self._client.subscriptions.resume_async(
                subscription, cast(Any, params), _options(ref, effect_key(ref, "restore"))
            )

    async def set_auto_advance(self, ref: CaseRef, value: bool, effect: str) -> None:
        """Let Stripe act on the invoice by itself, or not."""
        options = _options(ref, effect_key(ref, effect))
        with guarded("invoices.update"):
            await self._client.invoices.update_async(ref.invoice_id, {"auto_advance": value}, options)

    async def set_default(self, ref: CaseRef, method: str, subscription: str | None) -> None:
        """Make the method the default of the subscription, or of the invoice when that is None."""
        options = _options(ref, effect_key(ref, "move-default"))
        if subscription is not None:
            with guarded("subscriptions.update"):
                await self._client.subscriptions.update_async(
                    subscription, {"default_payment_method": method}, options
                )
            return
        with guarded("invoices.update"):
            await self._client.invoices.update_async(
                ref.invoice_id, {"default_payment_method": method}, options
            )

    async def mark_uncollectible(self, ref: CaseRef) -> None:
        """Mark the invoice uncollectible."""
        options = _options(ref, effect_key(ref, "uncollectible"))
        with guarded("invoices.mark_uncollectible"):
            await self._client.invoices.mark_uncollectible_async(ref.invoice_id, {}, options)

    async def cancel(self, ref: CaseRef, subscription: str) -> None:
        """Cancel the subscription now, without proration and without a last invoice."""
        options = _options(ref, effect_key(ref, "cancel"))
        with guarded("subscriptions.cancel"):
            await self._client.subscriptions.cancel_async(
                subscription,
                {"prorate": False, "invoice_now": False, "cancellation_details": {"comment": OWN_COMMENT}},
                options,
            )

    async def cancel_at_period_end(self, ref: CaseRef, subscription: str) -> None:
        """Let the subscription end with its period; nothing is prorated."""
        options = _options(ref, effect_key(ref, "cancel-at-period-end"))
        with guarded("subscriptions.update"):
            await self._client.subscriptions.update_async(
                subscription, {"cancel_at_period_end": True, "proration_behavior": "none"}, options
            )


def _of_account(account: str) -> RequestOptions:
    return {"stripe_account": account} if account else {}


def _options(ref: CaseRef, key: str | None = None) -> RequestOptions:
    options = _of_account(ref.account)
    if key is not None:
        options["idempotency_key"] = key
    return options


@contextmanager
def guarded(call: str, expected: tuple[type[stripe.StripeError], ...] = ()) -> Iterator[None]:
    """Turn errors of the SDK into ApplicationErrors; those `expected` pass to the caller."""
    try:
        yield
    except expected:
        raise
    except stripe.StripeError as error:
        raise explained(error, call) from None  # its text may quote what was sent


def explained(error: stripe.StripeError, call: str) -> ApplicationError:
    """The error as an operator needs it: which call, what Stripe answered, what to do."""
    request = f", request {error.request_id}" if error.request_id else ""
    code = f" {error.code}" if error.code else ""
    told = f"Stripe answered {error.http_status}{code} to {call}{request}"
    match error:
        case stripe.RateLimitError():
            wait = retry_delay(retry_after(error.headers))
            sentence = f"{told}: too many requests; lower STRIPE_ACTIVITIES_PER_SECOND if this goes on"
            return ApplicationError(sentence, type="StripeBusy", next_retry_delay=wait)
        case stripe.AuthenticationError() | stripe.PermissionError():
            sentence = f"{told}: the API key is refused; set STRIPE_API_KEY to a key that may make this call"
            return ApplicationError(sentence, type="StripeRefusedKey")
        case stripe.APIConnectionError():
            sentence = f"Stripe gave no answer to {call}: check the network and status.stripe.com"
            return ApplicationError(sentence, type="StripeUnreachable")
        case stripe.InvalidRequestError() | stripe.IdempotencyError() | stripe.CardError():
            sentence = f"{told}: look the request up in the Stripe Dashboard's API logs"
            return ApplicationError(sentence, type="StripeRefusedRequest")
        case _:
            return ApplicationError(f"{told}: trying again", type="StripeUnreachable")


def retry_after(headers: dict[str, str] | None) -> float | None:
    """The seconds in a `Retry-After` header; None when there is none or it is no number."""
    written = next((v for k, v in (headers or {}).items() if k.lower() == "retry-after"), "")
    return float(written) if written.replace(".", "", 1).isdigit() else None


def card_error(error: stripe.CardError) -> PaymentError:
    """The codes of a 402 answer."""
    body = error.json_body if isinstance(error.json_body, dict) else {}
    said = body.get("error")
    return parse_dict(PaymentError, said if isinstance(said, dict) else {"code": error.code})
