"""The steps that the ledger's tests are told in; what a test does not care about is filled in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

from dunning.budget import Planned
from dunning.case import Entry
from dunning.deliveries import Delivery, Heard
from dunning.values import Channel, Stage
from ledger import Ledger
from ledger.records import AttemptClaim, CaseClaim, CaseSummary, DispatchClaim, SuspensionRecord

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
DAY = timedelta(days=1)


async def claim_case(ledger: Ledger, invoice: str = "in_1", **given: Any) -> CaseClaim:
    """Claim the case of an invoice of 49.00 EUR."""
    filled: dict[str, Any] = {
        "account": "",
        "workflow_id": f"invoice-dunning/{invoice}",
        "run_id": "run-1",
        "customer": "cus_1",
        "subscription": "sub_1",
        "currency": "eur",
        "amount": 4900,
        "policy_name": "standard",
        "policy_version": "abc123",
        "at": NOW,
    }
    return await ledger.cases.claim(invoice_id=invoice, **(filled | given))


def summary(**given: Any) -> CaseSummary:
    """A case that is being recovered."""
    filled: dict[str, Any] = {"at": NOW, "stage": Stage.RECOVERING, "amount_remaining": 4900}
    return CaseSummary(**(filled | given))


def closing(at: datetime = NOW, **given: Any) -> CaseSummary:
    """A case that ends."""
    return summary(at=at, stage=Stage.CLOSED, closed_at=at, **given)


def said(*texts: str, at: datetime = NOW) -> list[Entry]:
    """Lines of a timeline."""
    return [Entry(at=at, what="decided", text=text) for text in texts]


def planned(invoice: str = "in_1", at: datetime = NOW, **given: Any) -> Planned:
    """A charge of 49.00 EUR to a Visa card."""
    filled: dict[str, Any] = {
        "fingerprint": "fp_1",
        "expiry": "2029-04",
        "brand": "visa",
        "funding": "credit",
        "country": "DE",
        "amount": 4900,
        "currency": "eur",
    }
    return Planned(invoice_id=invoice, at=at, **(filled | given))


async def reserve(
    ledger: Ledger,
    number: int = 1,
    invoice: str = "in_1",
    *,
    at: datetime = NOW,
    charge: dict[str, Any] | None = None,
    **given: Any,
) -> AttemptClaim:
    """Reserve a charge of the first case of an invoice; `charge` changes what is planned.

    Unless it is told otherwise each number is another customer's with another card, so that no limit binds.
    """
    filled: dict[str, Any] = {
        "case_id": f"acct/{invoice}/1",
        "account": "",
        "customer": f"cus_{invoice}_{number}",
        "params": {"invoice": invoice, "off_session": True},
        "planned": planned(invoice, at, **({"fingerprint": f"fp_{invoice}_{number}"} | (charge or {}))),
    }
    return await ledger.attempts.reserve(number=number, **(filled | given))


async def complete(ledger: Ledger, number: int = 1, outcome: str = "declined", **given: Any) -> bool:
    """Say how a charge ended."""
    filled: dict[str, Any] = {
        "account": "",
        "invoice_id": "in_1",
        "result": {"result": outcome},
        "decline_class": "soft" if outcome == "declined" else None,
        "charge_id": "ch_1",
        "at": NOW,
    }
    return await ledger.attempts.complete(number=number, outcome=outcome, **(filled | given))


async def claim_message(
    ledger: Ledger,
    step: str = "gentle",
    channel: Channel = Channel.EMAIL,
    case_id: str = "acct/in_1/1",
    **given: Any,
) -> DispatchClaim:
    """Claim a message of a case."""
    filled: dict[str, Any] = {"template": step, "customer": "cus_1", "at": NOW}
    return await ledger.dispatches.claim(case_id=case_id, step=step, channel=channel, **(filled | given))


def heard(event: str, at: datetime = NOW, provider: Literal["sendgrid", "twilio"] = "sendgrid") -> Heard:
    """What a provider tells of a message."""
    words: dict[str, Delivery] = {"processed": "taken", "bounce": "undelivered", "failed": "undelivered"}
    delivery = words.get(event, cast(Delivery, event))
    return Heard(provider=provider, event=event, key=f"{event}@{at.isoformat()}", at=at, delivery=delivery)


async def suspend(
    ledger: Ledger, invoice: str, previous: dict[str, Any] | None = None, at: datetime = NOW
) -> SuspensionRecord:
    """Begin to suspend the subscription for an invoice."""
    return await ledger.suspensions.begin(
        account="",
        subscription="sub_1",
        invoice_id=invoice,
        how="pause_collection",
        previous=previous or {},
        at=at,
    )


async def lift(ledger: Ledger, invoice: str) -> SuspensionRecord | None:
    """Take an invoice off the suspension."""
    return await ledger.suspensions.lift(account="", subscription="sub_1", invoice_id=invoice, at=NOW)
