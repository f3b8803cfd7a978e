"""Each fault, as real clients of three kinds meet it: urllib (SendGrid's SDK), requests (Twilio's), httpx."""

from __future__ import annotations

import asyncio
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import requests
from webhook_receiver import Receiver

from sandbox.control_client import ControlClient, ControlError
from sandbox.twilio import ACCOUNT_SID, AUTH_TOKEN

PATH = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"
FORM = {"To": "+14155550123", "From": "+15005550006", "Body": "Hello"}


def by_httpx(url: str) -> int:
    return httpx.post(
        url + PATH, data=FORM, auth=(ACCOUNT_SID, AUTH_TOKEN), timeout=5, trust_env=False
    ).status_code


def by_requests(url: str) -> int:
    with requests.Session() as session:
        session.trust_env = False
        return session.post(url + PATH, data=FORM, auth=(ACCOUNT_SID, AUTH_TOKEN), timeout=5).status_code


def by_urllib(url: str) -> int:
    body = b'{"personalizations":[{"to":[{"email":"a@b.example"}]}],"from":{"email":"c@d.example"},'
    body += b'"subject":"s","content":[{"type":"text/plain","value":"x"}]}'
    headers = {"Authorization": "Bearer SG.key", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/v3/mail/send", body, headers, method="POST")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


CLIENTS = pytest.mark.parametrize(
    ("client", "lost"),
    [
        (by_httpx, httpx.TransportError),
        (by_requests, requests.exceptions.ConnectionError),
        (by_urllib, ConnectionError),
    ],
)
Client = Callable[[str], int]


@CLIENTS
async def test_a_request_lost_before_it_was_applied(
    sandbox: ControlClient, client: Client, lost: type[Exception]
) -> None:
    await sandbox.fault("drop_before")
    with pytest.raises(lost):
        await asyncio.to_thread(client, sandbox.url)

    assert await sandbox.messages() == []
    assert await asyncio.to_thread(client, sandbox.url) in (201, 202)
    assert [(seen.status, seen.faults) for seen in await sandbox.requests()][:1] == [(None, ["drop_before"])]


@CLIENTS
async def test_an_answer_lost_after_it_was_applied(
    sandbox: ControlClient, client: Client, lost: type[Exception]
) -> None:
    await sandbox.fault("drop_after")
    with pytest.raises(lost):
        await asyncio.to_thread(client, sandbox.url)

    assert len(await sandbox.messages()) == 1


@CLIENTS
@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_an_error_instead_of_applying(
    sandbox: ControlClient, client: Client, lost: type[Exception], status: int
) -> None:
    await sandbox.fault("status", status=status)

    assert await asyncio.to_thread(client, sandbox.url) == status
    assert await sandbox.messages() == []


@CLIENTS
async def test_an_error_after_applying(sandbox: ControlClient, client: Client, lost: type[Exception]) -> None:
    await sandbox.fault("status_after", status=500)

    assert await asyncio.to_thread(client, sandbox.url) == 500
    assert len(await sandbox.messages()) == 1


async def test_a_delay_applies_and_answers_later(sandbox: ControlClient) -> None:
    await sandbox.fault("delay", seconds=0.3)
    began = time.monotonic()

    assert await asyncio.to_thread(by_httpx, sandbox.url) == 201
    assert time.monotonic() - began >= 0.3


async def test_a_client_that_gives_up_waiting_has_sent_all_the_same(
    sandbox: ControlClient, receiver: Receiver
) -> None:
    held = await sandbox.fault("pause", service="twilio")
    with pytest.raises(httpx.ReadTimeout):
        await asyncio.to_thread(
            httpx.post,
            sandbox.url + PATH,
            data=FORM | {"StatusCallback": receiver.url},
            auth=(ACCOUNT_SID, AUTH_TOKEN),
            timeout=0.3,
            trust_env=False,
        )
    assert await sandbox.messages() == []

    await sandbox.release(held)
    await asyncio.wait_for(receiver.arrived.wait(), 5)
    assert len(await sandbox.messages()) == 1


@pytest.mark.parametrize(("kind", "applied"), [("pause", 0), ("pause_after", 1)])
async def test_a_pause_holds_requests_until_they_are_released(
    sandbox: ControlClient, kind: Any, applied: int
) -> None:
    held = await sandbox.fault(kind, times=0)
    calls = [asyncio.create_task(asyncio.to_thread(by_httpx, sandbox.url)) for _ in range(2)]
    assert await sandbox.held(held, count=2) == 2
    assert len(await sandbox.messages()) == 2 * applied
    assert not any(call.done() for call in calls)

    await sandbox.release(held)
    assert await asyncio.gather(*calls) == [201, 201]
    with pytest.raises(ControlError, match=f"fault {held} holds 0 of 1") as waited:
        await sandbox.held(held, count=1, timeout=0.05)
    assert waited.value.status == 408


async def test_a_rule_hits_only_what_it_names_and_as_often_as_it_says(sandbox: ControlClient) -> None:
    await sandbox.fault(
        "status", service="twilio", method="post", path=r"Messages\.json$", body="To=%2B1415", times=2
    )

    assert await asyncio.to_thread(by_urllib, sandbox.url) == 202
    answers = [await asyncio.to_thread(by_httpx, sandbox.url) for _ in range(3)]
    assert answers == [500, 500, 201]
    assert [rule["fired"] for rule in await sandbox.faults()] == [2]


async def test_chance_repeats_with_its_seed(sandbox: ControlClient) -> None:
    runs = []
    for _ in range(2):
        rule = await sandbox.fault("status", probability=0.5, seed=7)
        runs.append([await asyncio.to_thread(by_httpx, sandbox.url) for _ in range(12)])
        await sandbox.remove_fault(rule)

    assert runs[0] == runs[1]
    assert set(runs[0]) == {201, 500}


async def test_an_answer_can_be_written_out(sandbox: ControlClient) -> None:
    await sandbox.fault("status", status=401, answer={"errors": [{"message": "Maximum credits exceeded"}]})
    async with httpx.AsyncClient(trust_env=False) as client:
        response = await client.post(f"{sandbox.url}/v3/mail/send")

    assert response.status_code == 401
    assert response.json()["errors"][0]["message"] == "Maximum credits exceeded"


async def test_stripe_answers_too_many_requests_as_stripe_does(sandbox: ControlClient) -> None:
    await sandbox.fault("status", service="stripe", status=429, headers={"Stripe-Should-Retry": "true"})
    async with httpx.AsyncClient(trust_env=False) as client:
        response = await client.get(f"{sandbox.url}/v1/invoices/in_1")

    assert response.json()["error"]["code"] == "rate_limit"
    assert response.headers["Stripe-Should-Retry"] == "true"
    assert response.headers["Request-Id"].startswith("req_")


async def test_a_fault_that_cannot_be_is_refused_in_words(sandbox: ControlClient) -> None:
    with pytest.raises(ControlError, match="not a regular expression") as refused:
        await sandbox.fault("delay", path="(")
    assert (refused.value.status, refused.value.param) == (400, "path")
    with pytest.raises(ControlError, match="needs `seconds`"):
        await sandbox.webhook_fault("late")
    with pytest.raises(ControlError, match="no fault fault_none"):
        await sandbox.remove_fault("fault_none")


async def told(sandbox: ControlClient, receiver: Receiver, *faults: Any, **how: Any) -> list[str]:
    """Send two SMS whose callbacks (sent, delivered) pass through the faults; the order they arrived in."""
    for kind in faults:
        await sandbox.webhook_fault(kind, service="twilio", **how)
    async with httpx.AsyncClient(trust_env=False, auth=(ACCOUNT_SID, AUTH_TOKEN)) as client:
        for name in ("a", "b"):
            form = FORM | {"Body": name, "StatusCallback": f"{receiver.url}/{name}"}
            assert (await client.post(sandbox.url + PATH, data=form)).status_code == 201
    await sandbox.drain()
    return [
        f"{got.path[1:]} {status}"
        for got in receiver.received
        for status in [got.body.decode().split("MessageStatus=")[1].split("&")[0]]
        if got.path == "/a"
    ]


async def test_a_webhook_sent_twice(sandbox: ControlClient, receiver: Receiver) -> None:
    assert await told(sandbox, receiver, "duplicate") == ["a sent", "a sent", "a delivered"]


async def test_a_webhook_lost(sandbox: ControlClient, receiver: Receiver) -> None:
    assert await told(sandbox, receiver, "drop", event=":delivered") == ["a sent"]
    assert [lost.fault for lost in await sandbox.deliveries(state="dropped")] == ["drop"]


async def test_webhooks_out_of_order(sandbox: ControlClient, receiver: Receiver) -> None:
    assert await told(sandbox, receiver, "reorder") == ["a delivered", "a sent"]


async def test_a_reordered_webhook_with_nothing_behind_it_still_comes(
    sandbox: ControlClient, receiver: Receiver
) -> None:
    assert await told(sandbox, receiver, "reorder", event=":delivered") == ["a sent", "a delivered"]


async def test_a_webhook_delayed_is_overtaken(sandbox: ControlClient, receiver: Receiver) -> None:
    assert await told(sandbox, receiver, "delay", seconds=0.2) == ["a delivered", "a sent"]


async def test_a_late_webhook_waits_for_the_sandbox_clock(sandbox: ControlClient, receiver: Receiver) -> None:
    assert await told(sandbox, receiver, "late", seconds=86_400) == ["a delivered"]
    receiver.received.clear()
    await sandbox.advance(86_400)
    await sandbox.drain()

    assert [got.path for got in receiver.received] == ["/a"]
