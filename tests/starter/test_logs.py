"""Logs: one shape for every logger, and nothing in them that must not be there."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from starter.logs import configure, redact


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What is logged; afterwards logging is as it was."""
    root = logging.getLogger()
    handlers, level, ours = root.handlers[:], root.level, structlog.get_config()
    out = io.StringIO()
    configure("INFO", out)
    yield out
    root.handlers[:], root.level = handlers, level
    structlog.configure(**ours)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_structlog_and_the_standard_library_come_out_alike(stream: io.StringIO) -> None:
    structlog.get_logger("ours").info("case opened", case="acct/in_1/1")
    logging.getLogger("theirs").warning("attempt %s", 2, extra={"case": "acct/in_1/1"})
    ours, theirs = lines(stream)
    assert (ours["event"], ours["level"], ours["logger"], ours["case"]) == (
        "case opened", "info", "ours", "acct/in_1/1",
    )  # fmt: skip
    assert (theirs["event"], theirs["level"], theirs["logger"], theirs["case"]) == (
        "attempt 2", "warning", "theirs", "acct/in_1/1",
    )  # fmt: skip
    assert ours["timestamp"].endswith("Z")


def test_what_temporal_adds_becomes_fields(stream: io.StringIO) -> None:
    info = {"workflow_id": "invoice-dunning/in_1", "activity_type": "charge", "attempt": 3, "namespace": "x"}
    logging.getLogger("temporalio.activity").info("charged", extra={"temporal_activity": info})
    (line,) = lines(stream)
    assert (line["workflow_id"], line["activity_type"], line["attempt"]) == (
        "invoice-dunning/in_1",
        "charge",
        3,
    )
    assert "temporal_activity" not in line


def test_secrets_and_addresses_are_hidden_in_messages_fields_and_tracebacks(stream: io.StringIO) -> None:
    try:
        raise ValueError("no such customer ada@example.com with sk_live_51Habc")
    except ValueError:
        logging.getLogger("x").exception(
            "failed for %s", "+49 170 1234567", extra={"to": ["ada@example.com"]}
        )
    structlog.get_logger("x").info("connect", url="postgresql://user:hunter2@db/ledger")
    text = stream.getvalue()
    for hidden in ("ada@", "sk_live_51Habc", "170 1234567", "hunter2"):
        assert hidden not in text
    assert "no such customer [e-mail]" in text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("rk_test_abc123 and whsec_XyZ+/=9", "rk_test_[hidden] and whsec_[hidden]"),
        ("key SG.abc-1.def_2 used", "key SG.[hidden] used"),
        ("Authorization: Bearer abc.def-ghi", "Authorization: Bearer [hidden]"),
        ("to +15005550006.", "to [phone]."),
        ("in_1PqR sub_2 cus_3 evt_4 pm_5", "in_1PqR sub_2 cus_3 evt_4 pm_5"),
        ("2026-11-01T09:00:00+00:00 took 12345678901", "2026-11-01T09:00:00+00:00 took 12345678901"),
        ("dunning-acct-in_1-2", "dunning-acct-in_1-2"),
    ],
)
def test_what_is_hidden_and_what_is_not(text: str, clean: str) -> None:
    assert redact(text) == clean
