"""Levers of many cases on the command line: a dry run, a progress bar, and a count of what came of it."""

from __future__ import annotations

import sys
import uuid
from dataclasses import dataclass
from typing import Any

import typer

from starter.bulk import Pulled, found, pull_all
from starter.cli_output import say, say_json, warn
from starter.cli_session import run, user
from starter.client import DunningClient
from starter.errors import DunningError
from starter.settings import Settings


@dataclass(frozen=True)
class Caller:
    """Who pulls a lever, of which account's case, and how the answer is printed."""

    account: str
    by: str | None
    request_id: str | None
    as_json: bool

    def signed(self, payload: dict[str, Any]) -> dict[str, Any]:
        """The payload with who pulls it, and the id that makes a repeat harmless."""
        return payload | {"by": self.by or user(), "request_id": self.request_id}


class NotAll(DunningError):
    """Some cases did not answer."""

    code = "engine_unavailable"
    http_status = 503


def pull_many(where: str, lever: str, payload: dict[str, Any], caller: Caller, *, dry_run: bool) -> None:
    """Pull the lever of every open case that the filter finds, or only say which ones those are."""
    request_id = caller.request_id or f"bulk-{uuid.uuid4().hex[:12]}"
    whole = caller.signed(payload) | {"request_id": request_id}

    async def work() -> tuple[list[str], list[Pulled]]:
        client = await DunningClient.connect(Settings.load())
        cases = await found(client, where)
        if dry_run:
            return cases, []
        bar = typer.progressbar(length=len(cases), label=lever, show_pos=True, file=sys.stderr)
        with bar as progress:
            answers = []
            async for answer in pull_all(client, cases, lever, whole):
                answers.append(answer)
                progress.update(1)
        return cases, answers

    cases, answers = run(work())
    refused = [each for each in answers if not each.accepted and not each.again]
    silent = [each for each in answers if each.again]
    if caller.as_json:
        counts = {"found": len(cases), "accepted": sum(each.accepted for each in answers)}
        say_json({**counts, "cases": cases, "refused": [vars(e) for e in refused], "request_id": request_id})
    elif dry_run:
        say(f"{lever} would reach {len(cases)} open cases; nothing was done")
        for case in cases:
            say(case)
    else:
        say(f"{lever}: {len(answers) - len(refused) - len(silent)} of {len(cases)} cases accepted it")
    for each in refused:
        warn(f"{each.workflow_id}: {each.text}")
    if silent:
        raise NotAll(f"{len(silent)} cases did not answer in time: repeat it with --request-id {request_id}")
