"""Addresses as the ledger may know them: a fingerprint tells two apart and tells nobody the address."""

from __future__ import annotations

import hashlib
import re

_NOT_OF_A_NUMBER = re.compile(r"[^\d+]")


def fingerprint(address: str) -> str:
    """The same 64 hex digits for the same e-mail address or phone number, however it is written.

    A WhatsApp address (`whatsapp:+49…`) has the fingerprint of its number: one person reads both.
    """
    plain = address.strip().casefold().removeprefix("whatsapp:")
    if "@" not in plain:
        plain = _NOT_OF_A_NUMBER.sub("", plain)
    return hashlib.sha256(plain.encode("utf-8", "replace")).hexdigest()
