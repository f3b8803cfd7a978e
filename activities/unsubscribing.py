"""The link of one-click unsubscription: signed, without end, and with nothing personal in it (RFC 8058).

It names the message that it came with; whose that was, the ledger knows.
"""

from __future__ import annotations

import hashlib

from itsdangerous import BadSignature, URLSafeSerializer

PATH = "/u/"


class UnsubscribeLinks:
    """Makes and reads the links. `secret` is DUNNING_SECRET_KEY, `base` the app's public address."""

    def __init__(self, base: str, secret: str) -> None:
        self._base = base.rstrip("/") + PATH
        self._signer = URLSafeSerializer(
            secret,
            salt="unsubscribe",  # a link for another purpose does not open this one
            signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
        )

    def url(self, dispatch_id: str) -> str:
        """The link in one message."""
        return self._base + self.token(dispatch_id)

    def token(self, dispatch_id: str) -> str:
        """The signed part of the link."""
        return str(self._signer.dumps(dispatch_id.removeprefix("dsp_")))

    def read(self, token: str) -> str | None:
        """The message that a link came with; None for a link that is none of ours."""
        try:
            named = self._signer.loads(token)
        except (BadSignature, UnicodeError, ValueError):
            return None
        return f"dsp_{named}" if isinstance(named, str) else None
