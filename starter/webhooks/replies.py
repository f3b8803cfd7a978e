"""What customers write back by SMS and WhatsApp: kept, understood where it is plain, and acted on once.

Nothing is answered: Twilio itself confirms STOP, START and HELP, and a person answers the rest.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import structlog

from dunning.addresses import fingerprint
from dunning.correspondence import hint
from dunning.messages.catalogue import opt_out_words
from dunning.replies import DAYS, ReplyKind, classify, everywhere
from dunning.values import Channel
from ledger import Ledger
from ledger.records import CaseRecord, ReplyRecord
from starter.webhooks.feedback import available
from starter.webhooks.receiver import Receiver
from starter.webhooks.twilio import Inbound
from starter.wishes import Wishes

log = structlog.get_logger(__name__)

MOST_CHARACTERS = 1600  # Twilio's own limit of a body
_LATEST = 50  # messages to one number that are looked at for whose it is
_BY_TEXT = (Channel.SMS, Channel.WHATSAPP)


class Replies:
    """Takes replies in. Raises EngineUnavailable when ledger or Temporal is away; a redelivery goes on."""

    def __init__(self, ledger: Ledger, receiver: Receiver, timeout: float, templates: Path | None) -> None:
        self._ledger, self._receiver, self._timeout = ledger, receiver, timeout
        self._wishes = Wishes(ledger, receiver)
        self._templates = templates

    async def take_in(self, inbound: Inbound) -> ReplyKind:
        """Keep a reply and do what it asks for; the same one a second time does nothing."""
        words = opt_out_words(self._templates)
        kind = classify(inbound.text, opt_out_type=inbound.opt_out_type, opt_out=words)
        async with available(self._timeout):
            cases = await self._cases_of(fingerprint(inbound.sender))
            newest = cases[0] if cases else None
            reply = await self._ledger.replies.receive(
                inbound.id,
                at=datetime.now(UTC),
                channel=inbound.channel,
                address=fingerprint(inbound.sender),
                kind=kind,
                text=inbound.text[:MOST_CHARACTERS],
                account=newest.account if newest else None,
                customer=newest.customer if newest else None,
                case_id=newest.id if newest else None,
            )
            if reply.state == "received":
                whose = {(case.account, case.customer): None for case in cases}
                for account, customer in whose:
                    await self._act(reply, account, customer)
                waits = reply.kind in ("wrong_person", "other")
                await self._ledger.replies.settle(reply.id, "waiting" if waits else "done")
        log.info("reply received", reply=reply.id, kind=reply.kind, known=reply.state != "received")
        return reply.kind

    async def _cases_of(self, address: str) -> list[CaseRecord]:
        """The cases that wrote to this address, the latest first."""
        sent = await self._ledger.dispatches.to_address(address, most=_LATEST)
        found = [await self._ledger.cases.get(case_id) for case_id in dict.fromkeys(s.case_id for s in sent)]
        return [case for case in found if case is not None]

    async def _act(self, reply: ReplyRecord, account: str, customer: str) -> None:
        match reply.kind:
            case "stop" | "start" | "wrong_person":
                await self._wish(reply, account, customer)
            case "paid":
                await self._wishes.tell(account, customer, hint("reply.paid", id=reply.id))
            case "more_time":
                asked = {
                    "days": DAYS,
                    "reason": f"asked for by {reply.channel}",
                    "by": "customer",
                    "request_id": reply.id,
                }
                for case in await self._wishes.open_cases(account, customer):
                    await self._receiver.signal(case.workflow_id, "request_extension", asked)
            case "help":
                return
        if reply.kind in ("wrong_person", "other"):
            await self._wishes.tell(account, customer, hint("reply.waiting", id=reply.id))

    async def _wish(self, reply: ReplyRecord, account: str, customer: str) -> None:
        wide = reply.kind == "wrong_person" or (reply.kind == "stop" and everywhere(reply.text))
        await self._wishes.state(
            account,
            customer,
            _BY_TEXT if wide else (reply.channel,),
            "granted" if reply.kind == "start" else "revoked",
            source="wrong_person" if reply.kind == "wrong_person" else f"{reply.channel}_keyword",
            at=reply.at,
            by="customer",
            text=reply.id,
        )
