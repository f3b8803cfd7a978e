"""Signatures of outgoing events: Standard Webhooks 1.0.0, symmetric (`v1`, HMAC-SHA256).

github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence

PREFIX = "whsec_"
_SHORTEST, _LONGEST = 24, 64  # bytes, as the specification says


def parse_secret(text: str) -> bytes:
    """The key in a secret such as `whsec_MfKQ9r8G…`. Raises ValueError, which never repeats the secret."""
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not text.startswith(PREFIX) or not _SHORTEST <= len(key) <= _LONGEST:
        raise ValueError(
            f"a signing secret is {PREFIX} and {_SHORTEST} to {_LONGEST} random bytes in base64: "
            f'make one with echo "{PREFIX}$(openssl rand -base64 32)"'
        )
    return key


def signed_headers(event_id: str, at: int, body: bytes, keys: Sequence[bytes]) -> Mapping[str, str]:
    """The headers of one attempt at `at` (Unix seconds). While a secret is rotated, each key signs."""
    content = f"{event_id}.{at}.".encode() + body
    digests = (hmac.new(key, content, hashlib.sha256).digest() for key in keys)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests),
    }
