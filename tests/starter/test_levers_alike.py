"""Every lever exists in all four ways, and whichever way it is pulled, the audit trail says the same."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import typer.main
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import WorkflowUpdateFailedError

from dunning.levers import LEVERS
from starter.api_models import lever_body
from starter.cli import app
from starter.cli_levers import levers_app
from tests.docs.markdown import names, rows
from tests.fixtures.command import Dunning
from tests.fixtures.temporal import eventually
from tests.starter.conftest import Engine

#: The command of each lever, as the README tells it.
COMMANDS = {names(row[0])[0]: " ".join(names(row[3])) for row in rows("levers")}
PARSER: Any = typer.main.get_command(app)
#: Who pulls one of these says why.
REASONED = {
    "grant_extension", "request_extension", "deny_extension", "hold", "suspend_now", "restore_now", "stop",
}  # fmt: skip


def command_of(lever: str) -> Any:
    """The command, as the parser knows it."""
    found = PARSER
    for word in COMMANDS[lever].split()[1:]:
        found = found.commands[word]
    return found


async def test_a_lever_is_a_signal_an_update_a_command_and_a_route_or_it_is_none(engine: Engine) -> None:
    renewal = await engine.case()
    told = await engine.handle(renewal.invoice).query(
        "__temporal_workflow_metadata", result_type=WorkflowMetadata
    )
    definition = told.definition
    signals = {signal.name: signal.description for signal in definition.signal_definitions if signal.name}
    updates = {update.name: update.description for update in definition.update_definitions}
    paths = (await engine.http.get("/api/v1/openapi.json")).json()["paths"]
    routes = {lever for path in paths for _, found, lever in [path.rpartition("/levers/")] if found}
    commands = {f"dunning {name}" for name in typer.main.get_group(levers_app).commands}

    assert signals.pop("billing_event")  # the webhooks' own
    assert signals == updates
    assert signals.keys() == LEVERS.keys()
    assert routes == LEVERS.keys()
    assert COMMANDS.keys() == LEVERS.keys()
    assert set(COMMANDS.values()) == commands | {"dunning policy set"}
    for lever, description in signals.items():
        shown = re.search(r"\{.*?\}", description)
        assert shown, f"{lever}: the dialog of the UI shows no payload"
        LEVERS[lever][0].model_validate(json.loads(shown[0]))


@pytest.mark.parametrize("lever", LEVERS)
def test_a_command_and_a_route_take_what_the_lever_takes(lever: str) -> None:
    fields = LEVERS[lever][0].model_fields
    assert fields["by"].is_required()
    assert ("reason" in fields) is (lever in REASONED)
    wanted = {name for name, field in fields.items() if field.is_required()} - {"by"}  # known to both

    parameters = {parameter.name: parameter for parameter in command_of(lever).params}
    assert fields.keys() <= parameters.keys()
    assert {name for name in fields if parameters[name].required} == wanted

    schema = lever_body(lever)["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"].keys() == fields.keys()
    assert set(schema["required"]) == wanted


# --- one story, four ways ----------------------------------------------------------------------------------

TODAY = datetime.now(UTC).date()
#: All levers, in an order in which the case accepts them. What ends a case comes last, so there are two.
STORIES: list[dict[str, dict[str, Any]]] = [
    {
        "add_note": {"text": "called back"},
        "request_extension": {"days": 20, "reason": "new job"},
        "deny_extension": {"reason": "too long"},
        "grant_extension": {"days": 7, "reason": "salary comes on Friday"},
        "set_policy": {"name": "standard"},
        "send_link": {},
        "retry_now": {},
        "suspend_now": {"reason": "asked for it"},
        "restore_now": {"reason": "our mistake"},
        "hold": {"reason": "on the phone", "until": str(TODAY + timedelta(days=3))},
        "release": {},
        "promise_to_pay": {"on": str(TODAY + timedelta(days=9))},
        "pause": {},
        "cancel": {},
    },
    {"stop": {"outcome": "canceled", "reason": "paid in cash", "give_back": True}},
]
REFUSED = {"suspend_now", "restore_now"}  # nothing may be suspended yet, so nothing was

Pull = Callable[[str, str, dict[str, Any]], Awaitable[object]]


def ways(engine: Engine, dunning: Dunning) -> dict[str, Pull]:
    """How people pull a lever of an invoice's case."""

    async def signal(invoice: str, lever: str, payload: dict[str, Any]) -> None:
        await engine.handle(invoice).signal(lever, payload)  # as the UI's dialog does

    async def update(invoice: str, lever: str, payload: dict[str, Any]) -> None:
        with suppress(WorkflowUpdateFailedError):
            await engine.handle(invoice).execute_update(lever, payload)

    async def command(invoice: str, lever: str, payload: dict[str, Any]) -> None:
        words = [*COMMANDS[lever].split()[1:], invoice]
        for parameter in command_of(lever).params:
            if (value := payload.get(parameter.name)) is None:
                continue
            option = [] if parameter.param_type_name == "argument" else parameter.opts
            words += option if value is True else [*option, str(value)]
        await dunning(*words)

    async def http(invoice: str, lever: str, payload: dict[str, Any]) -> None:
        await engine.http.post(f"/api/v1/cases/{invoice}/levers/{lever}", json=payload)

    return {"signal": signal, "update": update, "command": command, "http": http}


async def test_whichever_way_a_lever_is_pulled_the_audit_trail_says_the_same(
    engine: Engine, dunning: Dunning
) -> None:
    assert {lever for story in STORIES for lever in story} == LEVERS.keys()

    async def trail(invoice: str) -> list[tuple[str, str, str, Any]]:
        case = await engine.ledger.cases.by_invoice("", invoice)
        assert case is not None
        entries = [e for e in await engine.ledger.cases.entries(case.id) if e.what.startswith("lever.")]
        # Of the hour in "charging at Sat 28 Nov 10:15" each case has its own.
        return [(e.what, re.sub(r"\d\d:\d\d", "…", e.text), e.by, e.data) for e in entries]

    async def audited(pull: Pull, story: dict[str, dict[str, Any]]) -> list[tuple[str, str, str, Any]]:
        invoice = (await engine.case()).invoice
        for count, (lever, payload) in enumerate(story.items(), start=1):
            await pull(invoice, lever, payload | {"by": "maria"})

            async def told(count: int = count) -> bool:
                return len(await trail(invoice)) == count

            await eventually(told, f"the ledger tells of {lever}")
        return await trail(invoice)

    for story in STORIES:
        pulls = ways(engine, dunning)
        trails = await asyncio.gather(*(audited(pull, story) for pull in pulls.values()))
        assert [what for what, *_ in trails[0]] == [
            "lever.refused" if lever in REFUSED else f"lever.{lever}" for lever in story
        ]
        assert {by for _, _, by, _ in trails[0]} == {"maria"}
        for way, entries in zip(pulls, trails, strict=True):
            assert entries == trails[0], way


async def test_from_the_list_a_supporter_grants_time_and_has_the_proof_in_two_commands(
    engine: Engine, dunning: Dunning
) -> None:
    renewal = await engine.case()
    (_, line) = (await dunning("cases", "--customer", renewal.customer)).out.splitlines()
    invoice = line.split("\t")[0]

    granted = await dunning("extend", invoice, "--days", "7", "--reason", "new job", "--by", "maria")
    shown = await dunning("show", invoice)

    (proof,) = [line for line in shown.out.splitlines() if "new job" in line]
    assert proof.split("\t")[1:] == [f'{granted.out.strip()} ("new job")', "maria"]
