"""Invoices before money moves: the object, its lines, its number, its finalisation."""

from __future__ import annotations

from sandbox.stripe.charging import new_intent
from sandbox.stripe.errors import invalid_request
from sandbox.stripe.store import Account, Obj, Origin, list_object, new_id

FINALIZES_AFTER = 3600
"""Seconds a draft with `auto_advance` waits (docs.stripe.com/invoicing/integration/workflow-transitions)."""


def new_invoice(
    account: Account,
    customer: Obj,
    *,
    currency: str,
    billing_reason: str,
    subscription: Obj | None = None,
    collection_method: str = "charge_automatically",
    days_until_due: int | None = None,
    auto_advance: bool = False,
    period: tuple[int, int] | None = None,
) -> Obj:
    """A draft without lines; the caller adds them and then emits `invoice.created`."""
    identifier = new_id("in")
    start, end = period or (account.now, account.now)
    settings: Obj = {"default_mandate": None, "payment_method_options": None, "payment_method_types": None}
    invoice: Obj = {
        "id": identifier,
        "object": "invoice",
        "account_country": "US",
        "account_name": "Sandbox",
        "account_tax_ids": None,
        "amount_due": 0,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_remaining": 0,
        "amount_shipping": 0,
        "application": None,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": auto_advance,
        "automatic_tax": {
            "disabled_reason": None,
            "enabled": False,
            "liability": None,
            "provider": None,
            "status": None,
        },
        "automatically_finalizes_at": account.now + FINALIZES_AFTER if auto_advance else None,
        "billing_reason": billing_reason,
        "collection_method": collection_method,
        "created": account.now,
        "currency": currency,
        "custom_fields": None,
        "customer": customer["id"],
        "customer_account": None,
        "customer_tax_ids": [],
        "customer_tax_exempt": customer["tax_exempt"],
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "due_date": None if days_until_due is None else account.now + days_until_due * 86400,
        "effective_at": None,
        "ending_balance": None,
        "footer": customer["invoice_settings"]["footer"],
        "from_invoice": None,
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "issuer": {"type": "self"},
        "last_finalization_error": None,
        "latest_revision": None,
        "lines": list_object(f"/v1/invoices/{identifier}/lines", []),
        "livemode": False,
        "metadata": {},
        "next_payment_attempt": None,
        "number": None,
        "on_behalf_of": None,
        "parent": None,
        "payment_settings": settings,
        "period_end": end,
        "period_start": start,
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": None,
        "rendering": None,
        "shipping_cost": None,
        "shipping_details": None,
        "starting_balance": 0,
        "statement_descriptor": None,
        "status": "draft",
        "status_details": None,
        "status_transitions": {
            "finalized_at": None,
            "marked_uncollectible_at": None,
            "paid_at": None,
            "voided_at": None,
        },
        "subtotal": 0,
        "subtotal_excluding_tax": 0,
        "test_clock": None,
        "total": 0,
        "total_discount_amounts": [],
        "total_excluding_tax": 0,
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
        "webhooks_delivered_at": account.now,
    }
    if subscription is not None:
        details = {"metadata": dict(subscription["metadata"]), "subscription": subscription["id"]}
        invoice["parent"] = {
            "quote_details": None,
            "subscription_details": details,
            "type": "subscription_details",
        }
    copy_customer(invoice, customer)
    if auto_advance:
        account.books.wake(invoice["automatically_finalizes_at"])
    return account.add(invoice)


def copy_customer(invoice: Obj, customer: Obj) -> None:
    """What the invoice says about the customer; frozen from finalisation on."""
    for name in ("address", "email", "name", "phone", "shipping"):
        invoice[f"customer_{name}"] = customer.get(name)


def add_line(
    invoice: Obj,
    *,
    amount: int,
    description: str | None,
    period: tuple[int, int],
    parent: Obj,
    price: Obj | None = None,
    quantity: int = 1,
    metadata: dict[str, str] | None = None,
) -> Obj:
    """Add a line to a draft and sum up again. Amounts in minor units."""
    pricing: Obj | None = None
    if price is not None:
        pricing = {
            "price_details": {"price": price["id"], "product": price["product"]},
            "type": "price_details",
            "unit_amount_decimal": price["unit_amount_decimal"],
        }
    line: Obj = {
        "id": new_id("il"),
        "object": "line_item",
        "amount": amount,
        "currency": invoice["currency"],
        "description": description,
        "discount_amounts": [],
        "discountable": True,
        "discounts": [],
        "invoice": invoice["id"],
        "livemode": False,
        "metadata": metadata or {},
        "parent": parent,
        "period": {"start": period[0], "end": period[1]},
        "pretax_credit_amounts": [],
        "pricing": pricing,
        "quantity": quantity,
        "subtotal": amount,
        "taxes": [],
    }
    invoice["lines"]["data"].append(line)
    sum_up(invoice)
    return line


def sum_up(invoice: Obj) -> None:
    """Totals from the lines; a negative total is due as nothing."""
    lines = invoice["lines"]
    lines["total_count"] = len(lines["data"])
    total = sum(line["amount"] for line in lines["data"])
    for name in ("subtotal", "subtotal_excluding_tax", "total", "total_excluding_tax"):
        invoice[name] = total
    invoice["amount_due"] = invoice["amount_remaining"] = max(0, total)


def subscription_line(invoice: Obj, item: Obj, product: Obj) -> None:
    """The line of one subscription item for its current period."""
    price = item["price"]
    add_line(
        invoice,
        amount=price["unit_amount"] * item["quantity"],
        description=f"{item['quantity']} × {product['name']}",
        period=(item["current_period_start"], item["current_period_end"]),
        parent={
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": False,
                "proration_details": None,
                "subscription": item["subscription"],
                "subscription_item": item["id"],
            },
            "type": "subscription_item_details",
        },
        price=price,
        quantity=item["quantity"],
    )


def open_invoice(account: Account, invoice: Obj, origin: Origin) -> None:
    """Finalise a draft: number, customer's data, hosted page, and the default payment of what is due.

    Raises StripeError 400 when it is no draft.
    """
    if invoice["status"] != "draft":
        raise invalid_request("This invoice is already finalized, you can't re-finalize a non-draft invoice.")
    customer = account.get("customer", invoice["customer"])
    if not customer.get("deleted"):
        copy_customer(invoice, customer)
        sequence = customer["next_invoice_sequence"]
        customer["next_invoice_sequence"] = sequence + 1
        invoice["number"] = invoice["number"] or f"{customer['invoice_prefix']}-{sequence:04d}"
    invoice["status"] = "open"
    invoice["automatically_finalizes_at"] = None
    invoice["effective_at"] = invoice["status_transitions"]["finalized_at"] = account.now
    invoice["starting_balance"] = invoice["ending_balance"] = 0
    invoice["hosted_invoice_url"] = account.books.page(account, invoice["id"], "pay")
    if invoice["amount_due"] > 0:
        _default_payment(account, invoice)
    account.emit("invoice.finalized", invoice, origin)


def _default_payment(account: Account, invoice: Obj) -> None:
    """The PaymentIntent and InvoicePayment that Stripe makes for every finalised invoice with money due."""
    intent = new_intent(
        account,
        amount=invoice["amount_due"],
        currency=invoice["currency"],
        customer=invoice["customer"],
        description=invoice["description"] or f"Payment for Invoice {invoice['number']}",
    )
    account.add(
        {
            "id": new_id("inpay"),
            "object": "invoice_payment",
            "amount_paid": None,
            "amount_requested": invoice["amount_due"],
            "created": account.now,
            "currency": invoice["currency"],
            "invoice": invoice["id"],
            "is_default": True,
            "livemode": False,
            "payment": {"payment_intent": intent["id"], "type": "payment_intent"},
            "status": "open",
            "status_transitions": {"canceled_at": None, "paid_at": None},
        }
    )
