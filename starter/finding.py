"""Finding a case in the ledger by what people have at hand."""

from __future__ import annotations

from ledger import Ledger
from ledger.records import CaseRecord
from starter.errors import CaseNotFound
from workflows.ids import invoice_of


async def known_case(ledger: Ledger, invoice_id: str, account: str = "") -> CaseRecord:
    """The latest case of an invoice, named with or without the workflow's prefix. Raises CaseNotFound."""
    invoice = invoice_of(invoice_id) or invoice_id
    found = await ledger.cases.by_invoice(account, invoice)
    if found is None:
        of = f" of account {account}" if account else ""
        raise CaseNotFound(f"there is no case of {invoice}{of}: start it, or check the id")
    return found
