"""Why a webhook is refused; the text is one sentence for whoever looks into the provider's log."""

from __future__ import annotations


class BadSignature(Exception):
    """The request does not prove that it comes from the provider; the text says why."""


class Malformed(Exception):
    """The body is signed but says nothing that can be understood."""


class NotConfigured(Exception):
    """Nothing can be verified, because a setting is missing; the text names it."""

    def __init__(self, text: str, *, http_status: int = 403) -> None:
        super().__init__(text)
        self.http_status = http_status
