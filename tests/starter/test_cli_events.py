"""`dunning events` as an operator types it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from dunning.case import Announcement
from ledger import Ledger
from ledger.outgoing import Outgoing
from tests.fixtures.backend import OTHER_SECRET, SECRET
from tests.fixtures.command import Dunning
from tests.ledger.acts import NOW, claim_case, said, summary
from tests.starter.conftest import Engine

BUSINESS = """
name: Example GmbH
sender_email: billing@example.com
postal_address: "Example GmbH, 1 Example Street, Berlin"
support_contact: support@example.com
endpoints:
  - {name: backend, url: https://api.example.com/dunning}
  - {name: support, url: "https://hooks.example.com/x", events: [human.needed]}
"""


@pytest_asyncio.fixture
async def told(engine: Engine) -> AsyncIterator[Ledger]:
    """A ledger with an event that was given up."""
    ledger = engine.ledger
    claim = await claim_case(ledger, "in_events")
    announcement = Announcement(id="evt_cli", type="suspended", at=NOW, data={"invoice": "in_events"})
    going = [Outgoing(announcement=announcement, endpoints=("backend", "support"))]
    await ledger.cases.remember(claim.case_id, 0, said("opened"), summary(), outgoing=going)
    await ledger.outbox.tried("evt_cli", "backend", at=NOW, status=500, detail="oops")
    for endpoint in ("backend", "support"):
        await ledger.outbox.end("evt_cli", endpoint, "failed", at=NOW, detail="answered 500")
    yield ledger


@pytest.fixture
def business(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A business with two endpoints."""
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "business.yaml").write_text(BUSINESS, encoding="utf-8")
    monkeypatch.setenv("DUNNING_POLICIES", str(folder))
    secrets = f"backend:{SECRET},backend:{OTHER_SECRET},support:{SECRET}"
    monkeypatch.setenv("DUNNING_ENDPOINT_SECRETS", secrets)
    return folder / "business.yaml"


def change(business: Path, old: str, new: str) -> None:
    """The business changes its file."""
    business.write_text(BUSINESS.replace(old, new), encoding="utf-8")


async def test_what_was_given_up_is_found_looked_at_and_sent_again(dunning: Dunning, told: Ledger) -> None:
    listed = (await dunning("events", "list", "--state", "failed", "--json")).json["events"]
    assert [event["id"] for event in listed] == ["evt_cli"]
    assert (await dunning("events", "list", "--invoice", "in_events")).out.count("evt_cli") == 1

    shown = await dunning("events", "show", "evt_cli")
    assert '"type":"suspended"' in shown.out
    assert "backend: failed, answered 500" in shown.out
    assert "500  oops" in shown.out

    again = await dunning("events", "resend", "evt_cli", "--endpoint", "backend")
    assert again.out == "evt_cli goes to backend again\n"
    listed = (await dunning("events", "show", "evt_cli", "--json")).json["deliveries"]
    assert [d["state"] for d in listed if d["endpoint"] == "support"] == ["failed"]


async def test_an_event_of_no_case_is_shown_like_any_other(dunning: Dunning, engine: Engine) -> None:
    told = Announcement(id="evt_run", type="reconciliation.finished", at=NOW, data={"run": "r1"})
    going = [Outgoing(announcement=told, endpoints=("backend",))]
    await engine.ledger.reconciliations.finish("r1", {}, NOW, going)
    listed = (await dunning("events", "list", "--json")).json["events"]
    assert [event["case_id"] for event in listed if event["id"] == "evt_run"] == [None]
    assert '{"run":"r1"}' in (await dunning("events", "show", "evt_run")).out
    assert "reconciliation.finished\t\tbackend pending" in (await dunning("events", "list")).out


@pytest.mark.parametrize("command", [("show", "evt_none"), ("resend", "evt_none"), ("enable", "nobody")])
async def test_what_does_not_exist_is_said_in_one_sentence(
    dunning: Dunning, command: tuple[str, ...]
) -> None:
    said = await dunning("events", *command)
    assert said.status == 1
    assert len(said.err.splitlines()) == 1


async def test_endpoints_are_shown_without_their_secrets(
    dunning: Dunning, engine: Engine, business: Path
) -> None:
    await engine.ledger.outbox.disable("backend", at=NOW, reason="it answered 410 Gone")
    shown = await dunning("events", "endpoints")
    assert "https://api.example.com/dunning\tall\t2\tit answered 410 Gone at 2026-03-02" in shown.out
    assert "human.needed\t1\tno" in shown.out
    assert "whsec_" not in shown.out

    assert (await dunning("events", "enable", "backend")).status == 0
    as_json = (await dunning("events", "endpoints", "--json")).json["endpoints"]
    assert [endpoint["disabled"] for endpoint in as_json] == [None, None]


async def test_the_check_of_policies_reads_the_endpoints_too(alone: Dunning, business: Path) -> None:
    assert (await alone("policy", "check", str(business))).status == 0
    change(business, "https://api.example.com", "http://10.0.0.1")
    refused = await alone("policy", "check", str(business))
    assert refused.status == 1
    assert "backend: 'http://10.0.0.1/dunning' is not encrypted: write https://" in refused.err
    change(business, "human.needed", "human.needs")
    assert "'human.needs' is not an event" in (await alone("policy", "check", str(business))).err


async def test_a_secret_that_cannot_be_used_is_named_by_its_endpoint(
    alone: Dunning, business: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUNNING_ENDPOINT_SECRETS", "backend:whsec_short")
    refused = await alone("events", "endpoints")
    assert refused.status == 1
    assert "DUNNING_ENDPOINT_SECRETS: backend: a signing secret is whsec_ and 24 to 64" in refused.err
    assert "short" not in refused.err
