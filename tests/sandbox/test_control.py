"""The control API through its client, and the sandbox as a process of its own."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from sandbox.app import serving
from sandbox.control_client import ControlClient, ControlError
from sandbox.twilio import ACCOUNT_SID, AUTH_TOKEN
from sandbox.world import World

ROOT = Path(__file__).parents[2]


async def test_the_clock_can_be_set_ahead_but_not_back(sandbox: ControlClient) -> None:
    start = await sandbox.now()
    later = await sandbox.set_clock(start + timedelta(days=3))

    assert later >= start + timedelta(days=3)
    assert await sandbox.set_clock(start) >= later
    assert await sandbox.advance(3600) >= later + timedelta(hours=1)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('{"to": "2026-03-01T00:00:00"}', "to: Input should have timezone info"),
        ("{}", "give either `to` (a moment) or `advance` (seconds)"),
        ('{"too": 1}', "too: Extra inputs are not permitted"),
        ("no json", "body: Invalid JSON"),
    ],
)
async def test_a_bad_call_is_refused_with_what_to_change(
    sandbox: ControlClient, body: str, told: str
) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        response = await client.post(f"{sandbox.url}/_control/clock", content=body)

    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith(told)


async def test_the_journal_shows_requests_without_their_secrets(sandbox: ControlClient) -> None:
    async with httpx.AsyncClient(trust_env=False, auth=("sk_test_hidden", "")) as client:
        await client.post(f"{sandbox.url}/v3/mail/send?tag=a&tag=b", json={"api_key": "hidden", "x": [1]})
        await client.post(
            f"{sandbox.url}/v1/payment_methods", data={"type": "card", "card[number]": "4242hidden"}
        )
        await client.get(f"{sandbox.url}/v1/invoices/in_1")

    journal = await sandbox.requests()
    assert [(seen.service, seen.method, seen.path) for seen in journal] == [
        ("sendgrid", "POST", "/v3/mail/send"),
        ("stripe", "POST", "/v1/payment_methods"),
        ("stripe", "GET", "/v1/invoices/in_1"),
    ]
    assert journal[0].body == {"api_key": "[redacted]", "x": [1]}
    assert journal[0].query == {"tag": ["a", "b"]}
    assert journal[0].status == 401
    assert journal[1].body == {"type": "card", "card[number]": "[redacted]"}
    assert "hidden" not in "".join(seen.model_dump_json() for seen in journal)
    assert [seen.path for seen in await sandbox.requests(path="invoices", method="GET")] == [
        "/v1/invoices/in_1"
    ]
    assert await sandbox.requests(service="sendgrid", after=journal[0].number) == []


async def test_reset_forgets_what_was_set_and_what_arrived(sandbox: ControlClient) -> None:
    await sandbox.fault("drop_before", times=0)
    await sandbox.sms_fate("+14155550123", refuse=21610)
    await sandbox.inbound("+14155550124", "STOP")
    later = await sandbox.advance(86_400)
    await sandbox.reset()

    assert await sandbox.faults() == []
    assert await sandbox.requests() == []
    assert await sandbox.now() >= later
    async with httpx.AsyncClient(trust_env=False, auth=(ACCOUNT_SID, AUTH_TOKEN)) as client:
        for to in ("+14155550123", "+14155550124"):
            form = {"To": to, "From": "+15005550006", "Body": "x"}
            path = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"
            assert (await client.post(sandbox.url + path, data=form)).status_code == 201


async def test_another_twilio_account_can_be_made_known(sandbox: ControlClient) -> None:
    sid = "AC" + "2" * 32
    await sandbox.twilio_account(sid, "secret-token")

    async with httpx.AsyncClient(trust_env=False) as client:
        url = f"{sandbox.url}/2010-04-01/Accounts/{sid}/Messages.json"
        assert (await client.get(url, auth=(sid, "secret-token"))).status_code == 200
        assert (await client.get(url, auth=(sid, "wrong"))).status_code == 401


async def test_it_serves_inside_a_running_loop_too() -> None:
    async with serving(World()) as url, ControlClient(url) as client:
        assert (await client.now()).tzinfo is not None


async def test_a_busy_port_is_said_in_words() -> None:
    async with serving(World()) as url:
        port = int(url.rsplit(":", 1)[1])
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
            async with serving(World(), port=port):
                pass


async def test_it_runs_alone_says_where_it_is_and_ends_on_a_signal() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sandbox", "--twilio-auth-token", "t", stdout=subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout is not None
    where = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
    async with ControlClient(where["sandbox"]) as client:
        assert await client.messages() == []
        with pytest.raises(ControlError):
            await client.release("fault_none")
    process.send_signal(signal.SIGINT)

    assert await asyncio.wait_for(process.wait(), 10) == 0
