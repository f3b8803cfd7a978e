"""Logs of every process: one JSON object a line, or colours on a terminal; no secrets, no addresses."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import structlog
from structlog.typing import Processor
from temporalio import activity, workflow

_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b(sk|rk|pk)_(test|live)_\w+"), r"\1_\2_[hidden]"),
    (re.compile(r"\bwhsec_[\w+/=-]+"), "whsec_[hidden]"),
    (re.compile(r"\bSG\.[\w-]+(\.[\w-]+)?"), "SG.[hidden]"),
    (re.compile(r"(?<=/r/)[\w-]{6,}"), "[link]"),  # the token of a customer's page
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), r"\1 [hidden]"),
    (re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"), "[hidden]"),  # user:password@ of an address
    (re.compile(r"[\w.+'-]+@[\w-]+(\.[\w-]+)+"), "[e-mail]"),
    (re.compile(r"(?<![\w.+-])\+[1-9](?:[ ()-]?\d){6,14}(?!\w)"), "[phone]"),
)
#: What libraries say at INFO for every request.
_CHATTY = ("httpx", "httpcore", "stripe", "python_http_client", "twilio", "urllib3", "alembic")


def redact(text: str) -> str:
    """The text without keys, signing secrets, passwords, e-mail addresses and phone numbers."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def configure(level: str = "INFO", stream: TextIO | None = None, *, as_json: bool | None = None) -> None:
    """Send structlog and every stdlib logger through one formatter to `stream` (standard error).

    `as_json` None: JSON unless the stream is a terminal.
    """
    out = stream or sys.stderr
    plain = (not out.isatty()) if as_json is None else as_json
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _of_temporal,
    ]
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_rendering(plain))
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    # The facts of a case come as fields; repeating them in every message hides what happened.
    workflow.logger.workflow_info_on_message = False
    activity.logger.activity_info_on_message = False
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _rendering(as_json: bool) -> list[Processor]:
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if as_json:
        tail: list[Processor] = [structlog.processors.format_exc_info, _redacted]
        return [remove_meta, *tail, structlog.processors.JSONRenderer(ensure_ascii=False, default=str)]
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    return [remove_meta, structlog.processors.format_exc_info, _redacted, plain]


def _of_temporal(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Flatten what Temporal's loggers add: which workflow, which activity, which try."""
    for name in ("temporal_workflow", "temporal_activity"):
        info = event.pop(name, None)
        if isinstance(info, Mapping):
            for key in ("workflow_id", "run_id", "workflow_run_id", "activity_type", "attempt"):
                if key in info:
                    event.setdefault(key, info[key])
    for noise in ("workflow_info", "activity_info"):
        event.pop(noise, None)
    return event


def _redacted(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: _clean(value) for key, value in event.items()}


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {key: _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else redact(str(value))
