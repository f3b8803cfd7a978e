"""Whose is it: customers that exist and the payment methods that are theirs."""

from __future__ import annotations

from sandbox.stripe.errors import invalid_request
from sandbox.stripe.store import Account, Obj, Origin


def own_method(account: Account, customer: Obj, method: str, param: str) -> Obj:
    """The payment method, which must be attached to the customer. Raises StripeError 400 otherwise."""
    found = account.tables.get("payment_method", {}).get(method)
    if found is None or found["customer"] != customer["id"]:
        raise invalid_request(
            f"The customer does not have a payment method with the ID {method}. "
            "The payment method must be attached to the customer.",
            code="resource_missing",
            param=param,
        )
    return found


def living(account: Account, identifier: str, param: str = "customer") -> Obj:
    """The customer, who must not be deleted. Raises StripeError."""
    customer = account.get("customer", identifier, param)
    refuse_deleted(customer)
    return customer


def refuse_deleted(customer: Obj) -> None:
    if customer.get("deleted"):
        raise invalid_request(
            f"No such customer: '{customer['id']}'; it was deleted.",
            code="resource_missing",
            param="customer",
            status=404,
        )


def set_delinquent(account: Account, customer: Obj, delinquent: bool, origin: Origin) -> None:
    """Whether the latest charge for the customer's latest invoice failed."""
    with account.changing(customer, "customer.updated", origin):
        if not customer.get("deleted"):
            customer["delinquent"] = delinquent
