"""`dunning serve` as a process: it listens, tells that it is ready, takes a webhook, and stops in peace."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path

import httpx
import stripe

from starter.serve import listen
from tests.fixtures.temporal import eventually
from tests.starter.conftest import SECRET, Engine


def test_an_answer_does_not_wait_for_the_other_side_to_acknowledge_its_headers() -> None:
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_the_app_serves_and_stops_on_sigterm(engine: Engine, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("dunning"),
        "serve",
        "--port",
        "0",
        cwd=tmp_path,
        env={**os.environ, **engine.environment},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        port = None
        while port is None:
            line = json.loads(await asyncio.wait_for(process.stderr.readline(), 30))
            port = line.get("port")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:

            async def ready() -> bool:
                return (await http.get("/readyz")).status_code == 200

            await eventually(ready, "the app is ready")
            renewal = await engine.failed()
            event = {"id": "evt_1", "type": "invoice.payment_failed", "created": 1793523600,
                     "data": {"object": {"id": renewal.invoice}}}  # fmt: skip
            body = json.dumps(event)
            signature = stripe.WebhookSignature.generate_signature_header(body, SECRET)
            told = await http.post("/webhooks/stripe", content=body, headers={"Stripe-Signature": signature})
            assert told.json()["result"] == "woken"
            await engine.opened(renewal.invoice)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 20) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert b"Traceback" not in await process.stderr.read()
