"""How a case's timeline and its messages are shown together."""

from __future__ import annotations

from datetime import timedelta

from dunning.case import Entry
from dunning.values import Channel
from ledger import Ledger
from starter.views import message_json, with_deliveries
from tests.ledger.acts import NOW, claim_case, claim_message, heard

MINUTE = timedelta(minutes=1)


def line(what: str, minutes: int, **data: str) -> Entry:
    return Entry(at=NOW + minutes * MINUTE, what=what, text=what, data=data)


async def test_what_providers_told_stands_where_it_happened(sqlite_ledger: Ledger) -> None:
    dispatches = sqlite_ledger.dispatches
    await claim_case(sqlite_ledger)
    told = {"first": "delivered", "second": "failed", "third": "processed"}
    for step, event in told.items():
        channel = Channel.SMS if event == "failed" else Channel.EMAIL
        claim = await claim_message(sqlite_ledger, step, channel)
        await dispatches.complete(claim.dispatch_id, "accepted", at=NOW)
        await dispatches.heard(claim.dispatch_id, heard(event, at=NOW + 3 * MINUTE))
    messages = await dispatches.of_case("acct/in_1/1")
    bounced = next(message for message in messages if message.step == "second")
    entries = [line("opened", 0), line("message.undelivered", 4, id=bounced.id), line("closed", 9)]

    shown = with_deliveries(entries, messages)

    assert [e["what"] for e in shown] == ["opened", "message.delivered", "message.undelivered", "closed"]
    fates = {m["step"]: m["fate"] for m in map(message_json, messages)}
    assert fates == {"first": "delivered", "second": "undelivered", "third": "accepted"}
