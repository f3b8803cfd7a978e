"""What is read at Stripe: the raw answer of the SDK, made into values of our own.

The SDK would make objects of an answer first. For one invoice that takes longer than the rest of the call.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import stripe

from activities.stripe_objects import W, parse_dict


class StripeReads:
    """GET requests. Raises stripe.StripeError, and what `parse_dict` raises."""

    def __init__(self, client: stripe.StripeClient) -> None:
        self._ask: Any = client.raw_request_async

    async def get(self, model: type[W], account: str, *path: str, **params: Any) -> W:
        """The object at a path, such as `"invoices", "in_1"`, or a page of a list; `account` may be empty."""
        url = "/".join(["/v1", *(quote(part, safe="") for part in path)])
        of_account = {"stripe_account": account} if account else {}
        return parse_dict(model, (await self._ask("get", url, **params, **of_account)).data)

    async def known(self, model: type[W], account: str, *path: str, **params: Any) -> W | None:
        """The same, or None when Stripe does not know it."""
        try:
            return await self.get(model, account, *path, **params)
        except stripe.InvalidRequestError as error:
            if error.http_status == 404:
                return None
            raise
