"""The README says what is true: its tables are complete, its links lead somewhere, its samples are valid."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import typer.main
import yaml

from activities.context import BusinessProfile
from activities.endpoints import Endpoints
from dunning.announcements import EVENTS
from dunning.lever_payloads import Payload
from dunning.levers import LEVERS
from dunning.segments import parse_segments
from dunning.signing import parse_secret, signed_headers
from dunning.values import Outcome, RecoveredVia, Stage, WaitingOn
from sandbox.twilio import ACCOUNT_SID, AUTH_TOKEN
from starter.cli import app
from starter.settings import Settings
from starter.webhooks.routing import CONCERNS
from tests.docs.markdown import ROOT, TEXT, anchors, blocks, links, marked, names, rows
from workflows.search_attributes import KEYS

TEMPORALS_OWN = {"temporal_variables"}
PARSER: Any = typer.main.get_command(app)


def commands(group: Any = None, before: str = "dunning") -> Iterator[str]:
    """Every command with its groups in front."""
    for name, command in (group or PARSER).commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{before} {name}")
        else:
            yield f"{before} {name}"


def options(words: str) -> set[str]:
    """The options of a command, named with its groups."""
    command = PARSER
    for word in words.split()[1:]:
        command = command.commands[word]
    return {option for parameter in command.params for option in parameter.opts} | {"--help"}


# --- tables are complete ---------------------------------------------------------------------------------


def test_every_setting_stands_in_the_table_with_its_default() -> None:
    told = {names(name)[0]: default for name, default, _ in rows("settings")}
    fields = {n.upper(): f for n, f in Settings.model_fields.items() if n not in TEMPORALS_OWN}
    assert told.keys() == fields.keys()
    for name, field in fields.items():
        default = field.default if field.default not in (None, ()) else "–"
        written = told[name].strip("`")
        same = float(written) == default if isinstance(default, float) else written == str(default)
        assert same, f"{name}: the README says {written}, its default is {default}"


def test_every_command_stands_in_the_table() -> None:
    assert [names(row[0])[0] for row in rows("commands")] == sorted(
        commands(), key=[names(row[0])[0] for row in rows("commands")].index
    )


def test_every_lever_stands_in_the_table_with_the_fields_of_its_payload() -> None:
    told = {names(row[0])[0]: row for row in rows("levers")}
    assert told.keys() == LEVERS.keys()
    for lever, (model, _) in LEVERS.items():
        fields = set(model.model_fields) - set(Payload.model_fields)
        said = set(names(told[lever][1]))
        assert fields <= said, f"{lever} takes {fields}, the README names {said}"
        assert names(told[lever][3])[0] in set(commands())


def test_every_search_attribute_stands_in_the_table_with_its_type() -> None:
    told = {name: kind for cell, kind, _ in rows("search attributes") for name in names(cell)}
    assert told == {key.name: key.indexed_value_type.name.title() for key in KEYS}
    values = {names(row[0])[0]: names(row[2]) for row in rows("search attributes")}
    assert values["DunningStage"] == list(Stage)
    assert values["DunningWaitingOn"] == list(WaitingOn)


def test_every_way_to_end_is_told() -> None:
    section = TEXT.partition("## How cases end")[2].partition("Odd invoices")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.M) == list(Outcome)
    assert set(RecoveredVia) <= set(names(section))


def test_the_events_to_select_are_those_that_the_receiver_needs() -> None:
    listed = marked("events").removeprefix("```text\n").removesuffix("```").split()
    assert listed == sorted(CONCERNS)


def test_every_event_for_the_business_stands_in_the_table_with_its_words() -> None:
    assert {names(name)[0]: when for name, when, _ in rows("outgoing events")} == EVENTS


def test_every_make_target_stands_in_the_table() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.M)
    assert phony is not None
    told = {names(row[0])[0].removeprefix("make ") for row in rows("make targets")}
    assert told == set(phony[1].split()) - {"help"}


# --- what is written can be done -------------------------------------------------------------------------


def test_every_mention_of_a_command_and_its_options_exists() -> None:
    known = sorted(commands(), key=len, reverse=True)
    for mention in re.findall(r"dunning (?:[a-z]+)(?: [^`|\n]*)?", "\n".join(b.body for b in blocks("bash"))):
        command = next((name for name in known if mention.startswith(name)), None)
        assert command, f"there is no such command: {mention}"
        used = set(re.findall(r"(?<= )--[a-z-]+", mention))
        assert used <= options(command), f"{mention}: {command} has no {used - options(command)}"


def test_every_make_command_names_a_target() -> None:
    told = {names(row[0])[0].removeprefix("make ") for row in rows("make targets")}
    typed = re.findall(r"(?:^|`)make (\w+)", TEXT, re.M)
    assert set(typed) <= told


def test_the_env_file_holds_settings_and_is_all_that_up_needs() -> None:
    (env,) = blocks("ini")
    given = dict(line.split("=", 1) for line in env.body.splitlines())
    assert {name.lower() for name in given} <= set(Settings.model_fields)
    empty = Settings(_env_file=None)
    needed = {problem.split()[0] for problem in empty.missing("up") if " is missing" in problem}
    assert needed <= given.keys()


def test_the_segments_are_segments() -> None:
    [segments] = [block for block in blocks("yaml") if block.body.startswith("segments:")]
    assert len(parse_segments(segments.body, "README.md").segments) == 3


def test_the_business_file_is_one() -> None:
    [profile] = [block for block in blocks("yaml") if "sender_email" in block.body]
    [endpoints] = [block for block in blocks("yaml") if block.body.startswith("endpoints:")]
    business = BusinessProfile.model_validate(yaml.safe_load(profile.body + endpoints.body))
    assert business.name == "Example GmbH"
    secret = f"whsec_{base64.b64encode(b'k' * 32).decode()}"
    secrets = [(endpoint.name, secret) for endpoint in business.endpoints]
    assert len(Endpoints.of(business.endpoints, secrets).listed) == 2


async def test_the_receiver_takes_what_is_signed_once_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = f"whsec_{base64.b64encode(b'k' * 32).decode()}"
    monkeypatch.setenv("DUNNING_EVENTS_SECRET", secret)
    written: dict[str, Any] = {}
    [receiver] = [block for block in blocks("python") if "standardwebhooks" in block.body]
    exec(receiver.body, written)
    body = json.dumps({"type": "access.changed", "data": {"customer": "cus_1", "access": "none"}}).encode()
    signed = dict(signed_headers("evt_1", int(time.time()), body, [parse_secret(secret)]))
    transport = httpx.ASGITransport(written["app"])
    async with httpx.AsyncClient(transport=transport, base_url="http://backend") as backend:

        async def answer(content: bytes, headers: dict[str, str]) -> int:
            return (await backend.post("/dunning", content=content, headers=headers)).status_code

        assert [await answer(body, signed) for _ in range(2)] == [204, 204]
        assert await answer(body + b" ", signed) == 400
        assert await answer(body, signed | {"webhook-signature": "nonsense"}) == 400
        assert await answer(body, {}) == 400
    assert capsys.readouterr().out == "cus_1 may use: none\n"


def test_the_payload_to_paste_is_accepted() -> None:
    for sample in blocks("json"):
        LEVERS["grant_extension"][0].model_validate(json.loads(sample.body))


def test_the_sandbox_knows_the_twilio_account_that_is_named() -> None:
    assert ACCOUNT_SID in TEXT
    assert f"`{AUTH_TOKEN}`" in TEXT


@pytest.mark.parametrize("link", sorted(set(links())))
def test_every_link_leads_somewhere(link: str) -> None:
    if link.startswith("#"):
        assert link.removeprefix("#") in anchors()
    elif not link.startswith("https://"):
        assert (ROOT / link).is_file()


def test_every_folder_and_file_that_is_named_exists() -> None:
    house = next(block.body for block in blocks("text") if block.body.startswith("dunning/"))
    paths = [word.strip(",") for line in house.splitlines() for word in re.split(r"  +", line)[0].split()]
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_pictures_are_small() -> None:
    assert sum(path.stat().st_size for path in (ROOT / "docs").iterdir()) < 1_000_000
