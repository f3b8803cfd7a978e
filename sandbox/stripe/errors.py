"""Refusals in the words and with the statuses of the Stripe API (Stripe API reference, "Errors")."""

from __future__ import annotations

from typing import Any


class StripeError(Exception):
    """A refusal. `body` becomes the `error` object of the response.

    `stored` says whether an idempotency key remembers it: Stripe remembers every result of an execution that
    began, and forgets requests whose parameters failed validation (API reference, "Idempotent requests").
    """

    def __init__(self, status: int, body: dict[str, Any], *, stored: bool = True) -> None:
        super().__init__(body.get("message", ""))
        self.status = status
        self.body = body
        self.stored = stored


def invalid_request(
    message: str, *, code: str | None = None, param: str | None = None, status: int = 400, stored: bool = True
) -> StripeError:
    """An `invalid_request_error`: the state of the object or the request forbids the call."""
    body: dict[str, Any] = {"message": message, "type": "invalid_request_error"}
    if code is not None:
        body["code"] = code
        body["doc_url"] = f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"
    if param is not None:
        body["param"] = param
    return StripeError(status, body, stored=stored)


def parameter_missing(param: str) -> StripeError:
    """A required parameter is absent."""
    return invalid_request(
        f"Missing required param: {param}.", code="parameter_missing", param=param, stored=False
    )


def parameter_invalid(param: str, message: str, *, code: str | None = None) -> StripeError:
    """A parameter has the wrong form."""
    return invalid_request(message, code=code, param=param, stored=False)


def parameter_unknown(param: str, known: list[str]) -> StripeError:
    """The endpoint does not take this parameter; the sandbox lists those that it does take."""
    message = f"Received unknown parameter: {param}. The sandbox takes here: {', '.join(known) or 'none'}."
    return invalid_request(message, code="parameter_unknown", param=param, stored=False)


def resource_missing(kind: str, identifier: str, param: str = "id") -> StripeError:
    """No object of that kind has that id in this account."""
    return invalid_request(
        f"No such {kind}: '{identifier}'", code="resource_missing", param=param, status=404
    )


def unknown_route(method: str, path: str) -> StripeError:
    """No such endpoint."""
    return invalid_request(
        f"Unrecognized request URL ({method}: {path}). "
        "The sandbox does not know this endpoint; see https://stripe.com/docs for those of Stripe.",
        status=404,
        stored=False,
    )


def unauthenticated(key: str | None) -> StripeError:
    """No API key, or one of a wrong form."""
    if key is None:
        message = (
            "You did not provide an API key. You need to provide your API key in the Authorization header, "
            "using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY')."
        )
    else:
        message = (
            f"Invalid API Key provided: {key[:8]}***. "
            "The sandbox takes any key that starts with sk_test_ or rk_."
        )
    return StripeError(401, {"message": message, "type": "invalid_request_error"}, stored=False)


def idempotency_mismatch(key: str, first_path: str, same_path: bool) -> StripeError:
    """The key was first used for another request."""
    difference = (
        "with the same parameters they were first used with"
        if same_path
        else f"for the same endpoint they were first used for ('{first_path}')"
    )
    message = (
        f"Keys for idempotent requests can only be used {difference}. "
        f"Try using a key other than '{key}' if you meant to execute a different request."
    )
    return StripeError(400, {"message": message, "type": "idempotency_error"}, stored=False)


def idempotency_in_use(key: str) -> StripeError:
    """A request with this key is still being executed."""
    return invalid_request(
        "There is currently another in-progress request using this Idempotent Key (that probably means you "
        f"submitted twice, and the other request is still going through): {key}. Please try again later.",
        code="idempotency_key_in_use",
        status=409,
        stored=False,
    )


def card_error(error: dict[str, Any], **objects: Any) -> StripeError:
    """A 402: `error` is a `last_payment_error`-like object, `objects` the payment_intent and the like."""
    return StripeError(402, {**error, **objects, "type": "card_error"})
