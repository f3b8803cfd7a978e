"""Charge attempts: reserved before Stripe is asked, within every limit, and completed after."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, or_, update
from sqlalchemy.ext.asyncio import AsyncSession

from dunning.budget import Lock, Planned, Slot, check, limits_at
from ledger.database import Database, changed, insert_once, rows_where
from ledger.errors import NotInLedger
from ledger.past import card_name, past_attempts, past_queries
from ledger.records import AttemptClaim, AttemptRecord, from_row
from ledger.tables import AttemptRow, table
from ledger.turns import customer_name, moved_on, not_my_turn

#: Outcomes that a later look at Stripe may still replace.
PROVISIONAL = ("unknown", "processing")


class Attempts:
    """The charge attempts of the ledger, one row per account, invoice and number."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reserve(
        self,
        *,
        case_id: str,
        account: str,
        customer: str,
        number: int,
        params: Mapping[str, Any],
        planned: Planned,
        nothing_to_charge: bool = False,
    ) -> AttemptClaim:
        """Claim the attempt; exactly one caller gets `new`.

        `refused`: a limit of the payment method, another charge of the customer that goes first, or a case
        that has decided something else since this try began; nothing is reserved. The limits are checked and
        the attempt is written in one transaction that no other one of the same card or customer overlaps.
        `nothing_to_charge`: nobody will be asked, so no limit counts.
        `reserved`: somebody began it and no end is known. Send the stored `params` under the same idempotency
        key; once that is older than 24 hours ask Stripe first (Stripe API reference: Idempotent requests).
        `done`: take its result. Raises NotInLedger if the case was never claimed.
        """
        attempt = _row(case_id, account, customer, number, params, planned)
        async with self._database.write() as session:
            names = (customer_name(account, customer), card_name(account, planned))
            await self._database.alone(session, *names)
            known = await _known(session, account, planned.invoice_id, number)
            if known is not None:
                return known
            refusal = None if nothing_to_charge else await _refusal(session, attempt, planned)
            if refusal is not None:
                return AttemptClaim(state="refused", params={}, reserved_at=planned.at, refusal=refusal)
            if await insert_once(session, attempt):
                return AttemptClaim(state="new", params=attempt.params, reserved_at=planned.at)
            winner = await _known(session, account, planned.invoice_id, number)
            assert winner is not None  # who came first has committed
            return winner

    async def complete(
        self,
        *,
        account: str,
        invoice_id: str,
        number: int,
        result: Mapping[str, Any],
        outcome: str,
        decline_class: str | None,
        charge_id: str | None,
        at: datetime,
        charged_at: datetime | None = None,
        amount: int | None = None,
        reached_network: bool = True,
        lock: Lock | None = None,
    ) -> bool:
        """Record how the attempt ended; False if it had ended before, which is then left as it is.

        Only a provisional outcome (`unknown`, `processing`) is replaced. An attempt that did not reach the
        network gives its slot back. `amount`, in minor units, if another one than planned was charged.
        Raises NotInLedger for an attempt that was never reserved.
        """
        key = {"of_account": account, "of_invoice": invoice_id, "of_number": number}
        news = {
            "result": dict(result),
            "outcome": outcome,
            "decline_class": decline_class,
            "new_charge_id": charge_id,
            "completed_at": at,
            "charged_at": charged_at,
            "new_amount": amount,
            "reached_network": reached_network,
            "lock": lock,
        }
        async with self._database.write() as session:
            if await changed(session, _COMPLETE, key | news) == 1:
                return True
        if await self.get(account, invoice_id, number) is None:
            raise NotInLedger(
                f"attempt {number} of invoice {invoice_id} was never reserved: reserve it before you charge"
            )
        return False

    async def slot(self, account: str, planned: Planned) -> Slot:
        """What the limits say of a charge, without reserving anything."""
        limits = limits_at(planned.at.date())
        queries, values = past_queries(account, planned, limits)
        return check(planned, past_attempts(*await self._database.found(queries, values)), limits)

    async def get(self, account: str, invoice_id: str, number: int) -> AttemptRecord | None:
        """One attempt."""
        found = await self._all(account=account, invoice_id=invoice_id, number=number)
        return found[0] if found else None

    async def of_case(self, case_id: str) -> tuple[AttemptRecord, ...]:
        """The attempts of a case, in order."""
        return await self._all(case_id=case_id)

    async def of_invoice(self, account: str, invoice_id: str) -> tuple[AttemptRecord, ...]:
        """The attempts of an invoice over all episodes, in order."""
        return await self._all(account=account, invoice_id=invoice_id)

    async def _all(self, **where: str | int) -> tuple[AttemptRecord, ...]:
        rows = await self._database.rows(AttemptRow, "number", **where)
        return tuple(from_row(AttemptRecord, row) for row in rows)


async def _refusal(session: AsyncSession, attempt: AttemptRow, planned: Planned) -> Slot | None:
    """The turn goes before the limits: what is charged now may change what they say."""
    at = attempt.reserved_at
    turn = await moved_on(session, attempt.case_id, at) or await not_my_turn(
        session, attempt.account, attempt.customer or "", attempt.case_id, at
    )
    if turn is not None:
        return turn
    limits = limits_at(planned.at.date())
    (ours, others), values = past_queries(attempt.account, planned, limits)
    past = past_attempts(await session.execute(ours, values), await session.execute(others, values))
    slot = check(planned, past, limits)
    return None if slot.granted else slot


async def _known(session: AsyncSession, account: str, invoice_id: str, number: int) -> AttemptClaim | None:
    key = {"account": account, "invoice_id": invoice_id, "number": number}
    row = (await session.execute(rows_where(AttemptRow, tuple(key)), key)).first()
    if row is None:
        return None
    return AttemptClaim(
        state="reserved" if row.completed_at is None else "done",
        params=row.params,
        reserved_at=row.reserved_at,
        result=row.result,
    )


def _row(
    case_id: str, account: str, customer: str, number: int, params: Mapping[str, Any], planned: Planned
) -> AttemptRow:
    same = ("invoice_id", "amount", "currency", "scheme", "fingerprint", "expiry", "brand", "funding")
    return AttemptRow(
        account=account,
        number=number,
        case_id=case_id,
        customer=customer,
        params=dict(params),
        country=planned.country,
        customer_present=planned.customer_present,
        reserved_at=planned.at,
        **{name: getattr(planned, name) for name in same},
    )


# Built once: building a statement costs more than executing it.
_ATTEMPTS = table(AttemptRow).c
_COMPLETE = (
    update(table(AttemptRow))
    .where(
        _ATTEMPTS.account == bindparam("of_account"),
        _ATTEMPTS.invoice_id == bindparam("of_invoice"),
        _ATTEMPTS.number == bindparam("of_number"),
        or_(_ATTEMPTS.completed_at.is_(None), _ATTEMPTS.outcome.in_(PROVISIONAL)),
    )
    .values(
        {
            name: func.coalesce(bindparam(f"new_{name}", type_=_ATTEMPTS[name].type), _ATTEMPTS[name])
            for name in ("charge_id", "amount")  # kept where there is nothing new
        }
    )
)
