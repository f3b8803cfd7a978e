"""The report of a quarter says what the sandbox's own books say, to the cent."""

from __future__ import annotations

import asyncio
import csv
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from dunning.report import DEFINITIONS, Line, report
from starter.cli import main
from starter.webhooks.receiver import Receiver
from tests.activities.shop import Renewal, Shop
from tests.activities.weeks import Weeks

DAY = timedelta(days=1)
NOT_SUBTRACTED = ("won", "warning_closed")


async def month(weeks: Weeks, number: int) -> None:
    """Three renewals fail; what their customers do lies in the days to come."""
    shop, begun = weeks.shop, await weeks.shop.control.now()

    async def fails(*outcomes: str, amount: int, currency: str = "usd") -> Renewal:
        email = f"c{number}-{amount}@customer.example"
        failed = await shop.renewal(*outcomes, email=email, amount=amount + number, currency=currency)
        await weeks.open(failed.invoice)
        return failed

    async def acts(day: float, failed: Renewal, act: Callable[[str], Awaitable[Any]]) -> None:
        async def at_its_moment() -> None:
            await act(failed.invoice)
            await weeks.tell(failed.invoice)

        weeks.acts.append((begun + day * DAY, at_its_moment))

    await fails("insufficient_funds", "insufficient_funds", "succeeded", amount=1900)
    match number:
        case 0:
            await acts(3, await fails("expired_card", amount=4900, currency="eur"), weeks.pay)
            await fails("lost_card", amount=2900)  # never pays
        case 1:
            await acts(8.5, await fails("do_not_honor", amount=900, currency="eur"), shop.pay_by_hand)
            await acts(2.5, await fails("insufficient_funds", amount=700), shop.void)
        case _:
            await acts(2, await fails("expired_card", amount=4900, currency="eur"), weeks.pay)
            await fails("do_not_honor", amount=900, currency="eur")  # in progress when the quarter ends


async def money_goes_back(shop: Shop) -> None:
    """A part of one payment is refunded, one is disputed and lost, one is disputed and won."""
    books = await shop.control.stripe_books()
    renewals = {row["id"] for row in books["invoices"] if row["billing_reason"] == "subscription_cycle"}
    paying = [row for row in books["charges"] if row["status"] == "succeeded" and row["invoice"] in renewals]
    await shop.stripe.refunds.create_async({"charge": paying[0]["id"], "amount": 555})
    for charge, end in ((paying[1], "lost"), (paying[2], "won")):
        dispute = await shop.control.dispute(charge["id"])
        await shop.control.close_dispute(dispute["id"], end)
    receiver = Receiver(await Client.connect("127.0.0.1:1", lazy=True), shop.ledger, timedelta(seconds=5))
    for event in (await shop.control.stripe_books())["events"]:
        if event["type"].startswith(("refund.", "charge.dispute.")):
            assert await receiver.receive_again(event)
            await receiver.receive_again(event)  # deliveries come twice


def by_the_books(books: dict[str, Any], mails: list[str]) -> dict[tuple[str, str], dict[str, int]]:
    """What the sandbox knows of failed renewals, by month and currency. It never heard of a ledger."""
    told: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    emails = {row["id"]: row["email"] for row in books["customers"]}
    for invoice in books["invoices"]:
        charges = [row for row in books["charges"] if row["invoice"] == invoice["id"]]
        if invoice["billing_reason"] != "subscription_cycle" or charges[0]["status"] != "failed":
            continue
        at = datetime.fromtimestamp(charges[0]["created"], UTC)
        sums = told[f"{at:%Y-%m}", invoice["currency"]]
        ids = {row["id"] for row in charges}
        paid = invoice["amount_due"] if invoice["status"] == "paid" else 0
        refunded = sum(row["amount"] for row in books["refunds"] if row["charge"] in ids)
        disputes = [row for row in books["disputes"] if row["charge"] in ids]
        disputed = sum(row["amount"] for row in disputes if row["status"] not in NOT_SUBTRACTED)
        sums["invoices"] += 1
        sums["in_progress"] += invoice["status"] == "open"
        sums["failed"] += invoice["amount_due"]
        sums["recovered"] += paid
        sums["refunded"] += refunded
        sums["disputed"] += disputed
        sums["net"] += paid - refunded - disputed
        sums["attempts"] += sum((row["idempotency_key"] or "").startswith("dunning-") for row in charges)
        sums["messages"] += mails.count(emails[invoice["customer"]])
        sums["customers_lost"] += invoice["status"] == "uncollectible"
        sums[_via(invoice, charges)] += paid
    return {group: {name: n for name, n in sums.items() if n} for group, sums in told.items()}


def _via(invoice: dict[str, Any], charges: list[dict[str, Any]]) -> str:
    paying = [row for row in charges if row["status"] == "succeeded"]
    if not paying:
        return "out_of_band"
    return "engine" if (paying[0]["idempotency_key"] or "").startswith("dunning-") else "customer"


def as_told(line: Line) -> dict[str, int]:
    names = ("invoices", "in_progress", "failed", "recovered", "refunded", "disputed", "net")
    figures = {name: getattr(line, name) for name in (*names, "attempts", "messages", "customers_lost")}
    return {name: n for name, n in (figures | line.via).items() if n}


async def test_a_quarter_to_the_cent(shop: Shop) -> None:
    weeks, begun = Weeks(shop), await shop.control.now()
    for number in range(3):
        await weeks.until(begun + number * 32 * DAY)
        await month(weeks, number)
    await weeks.until(begun + 70 * DAY)
    await money_goes_back(shop)

    failures = await shop.ledger.reporting.failures(begun - DAY, None)
    now = await shop.control.now()
    mails = [message.to for message in await shop.control.messages(channel="email")]
    expected = by_the_books(await shop.control.stripe_books(), mails)
    assert {(line.group, line.currency): as_told(line) for line in report(failures, "month", now)} == expected
    assert len(expected) == 6
    assert sum(sums.get("customers_lost", 0) for sums in expected.values()) >= 1

    # Every other cut adds up to the same sums, currency by currency.
    whole = {line.currency: (line.failed, line.net) for line in report(failures, None, now)}
    for by in ("decline", "step", "channel", "policy", "currency"):
        cut: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
        for line in report(failures, by, now):  # type: ignore[arg-type]
            failed, net = cut[line.currency]
            cut[line.currency] = (failed + line.failed, net + line.net)
        assert dict(cut) == whole


async def test_the_command_prints_figures_and_what_they_mean(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weeks = Weeks(shop)
    failed = await shop.renewal("expired_card", amount=4900, currency="eur")
    await weeks.open(failed.invoice)
    await weeks.pay(failed.invoice)
    await weeks.tell(failed.invoice)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/ledger.db")

    async def printed(*args: str) -> list[str]:
        assert await asyncio.to_thread(main, ["report", *args]) == 0
        return capsys.readouterr().out.splitlines()

    table = await printed()
    assert table[1].split("\t")[3:8] == ["49.00 EUR", "49.00 EUR", "0.00 EUR", "0.00 EUR", "49.00 EUR"]
    assert table[1].split("\t")[8:] == ["100.0%"] * 3
    assert "customer 49.00 EUR" in table[4]
    assert table[-len(DEFINITIONS) :] == [f"{name}: {meaning}" for name, meaning in DEFINITIONS.items()]

    (line,) = json.loads((await printed("--json", "--by", "decline"))[0])["lines"]
    assert (line["group"], line["net"], line["via"]) == ("expired_card", 4900, {"customer": 4900})
    heads, row = csv.reader(await printed("--csv", "--by", "month"))
    assert dict(zip(heads, row, strict=True))["via_customer"] == "4900"
    assert await printed("--to", "2020-01-01") == ["no invoice failed in this period"]
