"""Links to the customer's page: opaque tokens, and the seals of its forms. Pure; no clock.

A token is 128 bits of HMAC-SHA256 under the business's secret key. The same message has the same token, so an
activity that is tried again makes no second link; and nothing has to be kept but the token's SHA-256.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import date, timedelta

from dunning.values import Channel

#: What the links of messages are for, so that a link for something else can never open the page.
PAGE = "page"
#: So long a link opens the page. Who comes later has a new one sent, to the address on file.
LIFE = timedelta(days=30)
#: Letters of a token: 16 bytes in base64url.
LENGTH = 22

#: The page as operators see it, who need a key and no token.
PREVIEW = "/cases/{invoice_id}/page"

_KEPT = 16


def token(key: str, case_id: str, step: str, channel: Channel) -> str:
    """The token of a message's link."""
    return base64.urlsafe_b64encode(_mac(key, "link", case_id, step, channel)[:_KEPT]).rstrip(b"=").decode()


def digest(token: str) -> str:
    """What the ledger knows of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def address(base: str, token: str) -> str:
    """The address of the page; `base` is PUBLIC_BASE_URL."""
    return f"{base.rstrip('/')}/r/{token}"


def preview_address(base: str, account: str, invoice_id: str) -> str:
    """Where an operator sees what the customer of a case sees. It opens nothing by itself."""
    of_account = f"?account={account}" if account else ""
    return f"{base.rstrip('/')}{PREVIEW.format(invoice_id=invoice_id)}{of_account}"


def seal(key: str, digest: str, action: str, fields: Mapping[str, str], day: date, marker: str) -> str:
    """What a form of the page carries: nobody else can make it, and the same form always has the same one.

    It covers the action and the fields that the page wrote itself. `marker` names the state that the form was
    shown in, so that the same wish in another state is another request.
    """
    written = [f"{name}={value}" for name, value in sorted(fields.items())]
    mac = _mac(key, "form", digest, action, day.isoformat(), marker, *written).hex()[:32]
    return f"{day.isoformat()}.{marker}.{mac}"


def is_sealed(given: str, key: str, digest: str, action: str, fields: Mapping[str, str], today: date) -> bool:
    """Whether the form is one of the page's, of today or yesterday. Every wrong one takes the same time."""
    written, _, rest = given.partition(".")
    marker = rest.partition(".")[0]
    fresh = {(today - timedelta(days=ago)).isoformat(): today - timedelta(days=ago) for ago in (0, 1)}
    day = fresh.get(written, today)
    right = seal(key, digest, action, fields, day, marker)
    return hmac.compare_digest(given.encode(), right.encode())


def _mac(key: str, *parts: str) -> bytes:
    # Purposes cannot be mistaken for each other: no part holds the separator.
    return hmac.new(key.encode(), "\0".join(parts).encode(), hashlib.sha256).digest()
