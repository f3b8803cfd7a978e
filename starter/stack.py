"""The whole engine on one machine: the demo, `dunning dev`, and `dunning up` with real providers."""

from __future__ import annotations

import asyncio
import fcntl
import json as json_module
import os
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NoReturn

import httpx
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from activities.interface import STRIPE_TASK_QUEUE, TASK_QUEUE
from ledger.upgrading import upgrade
from sandbox.control_client import ControlClient
from sandbox.twilio import ACCOUNT_SID, AUTH_TOKEN
from starter.account_check import looking_beside
from starter.binaries import dev_server, temporal_binary
from starter.cli_output import say, warn
from starter.errors import EngineUnavailable, SettingsError
from starter.namespace import register_search_attributes
from starter.processes import HOST, Child, Processes, StackError, port_near, processes, run_to_the_end
from starter.schedules import apply
from starter.settings import Settings
from starter.temporal import address, connect
from starter.webhooks.routing import CONCERNS
from starter.webhooks.twilio import INBOUND_PATH

Kind = Literal["demo", "dev", "bench"]
Tell = Callable[[str], None]

FOLDER = Path(".dunning")
TEMPORAL_PORT, UI_PORT, APP_PORT, SANDBOX_PORT = 7233, 8233, 8000, 9100
#: What the sandbox takes for keys; they look like real ones and open nothing.
STRIPE_KEY = "sk_test_sandbox"
_SENDGRID_KEY = "SG.sandbox.sandbox"
_MESSAGING_SERVICE = "MG" + "0" * 32
#: The local stack must never use a key that happens to lie in the environment.
_OURS = ("TEMPORAL_", "STRIPE_", "SENDGRID_", "TWILIO_", "DUNNING_", "DATABASE_URL", "PUBLIC_BASE_URL")


@dataclass(frozen=True)
class Addresses:
    """Where the parts of a running stack are."""

    temporal: str
    ui: str
    app: str
    sandbox: str
    database: str
    webhook_secret: str
    task_queue: str = TASK_QUEUE


@dataclass(frozen=True)
class Stack:
    """A running local stack with the sandbox."""

    addresses: Addresses
    settings: Settings  # those of the parent: Temporal and the ledger
    client: Client
    children: Processes
    environment: Mapping[str, str]  # of the worker and the app
    folder: Path
    worker: Child

    async def another_worker(self) -> Child:
        """Start one more worker; returns once it polls."""
        worker = await start_worker(self.children, self.environment, self.folder)
        await self.children.wait_ready(worker, lambda: _is_polled(self.client))
        return worker


@asynccontextmanager
async def local_stack(
    kind: Kind, tell: Tell, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Stack]:
    """The stack against the sandbox: ready when the block begins, gone when it ends. Raises StackError.

    `settings` are environment variables for its processes, beside those that make it local.
    """
    with _own_folder(kind) as folder:
        async with processes(folder / "logs") as children:
            yield await _start(children, folder, tell, settings or {})


async def _start(children: Processes, folder: Path, tell: Tell, more: Mapping[str, str]) -> Stack:
    binary = await asyncio.to_thread(temporal_binary)
    taken: set[int] = set()
    port = port_near(TEMPORAL_PORT, taken, tell, "Temporal")
    ui_port = port_near(UI_PORT, taken, tell, "its UI")
    app_port = port_near(APP_PORT, taken, tell, "the app")
    sandbox_port = port_near(SANDBOX_PORT, taken, tell, "the sandbox")
    database = f"sqlite:///{folder / 'ledger.db'}"
    local = _local_environment(folder, f"{HOST}:{port}", database, app_port, sandbox_port)
    env = {"STRIPE_ACTIVITIES_PER_SECOND": "0", **more, **local}
    server = await children.start(
        "temporal", dev_server(binary, HOST, port, ui_port, skipping=True), env, folder
    )
    sandbox = await children.start("sandbox", _python("sandbox", "--port", str(sandbox_port)), env, folder)
    settings = Settings(
        _env_file=None,
        database_url=database,
        temporal_variables={k: v for k, v in env.items() if k.startswith("TEMPORAL_")},
    )
    _, client, _ = await asyncio.gather(
        asyncio.to_thread(upgrade, database),
        _temporal_ready(children, server, settings),
        children.wait_ready(sandbox, lambda: _answers(f"{env['STRIPE_API_BASE']}/_control/health")),
    )
    app = f"http://{HOST}:{app_port}"
    worker = await start_worker(children, env, folder)
    env |= await _connect_providers(env["STRIPE_API_BASE"], app)
    serving = await children.start("app", _python("starter", "serve"), env, folder)
    await asyncio.gather(
        children.wait_ready(serving, lambda: _answers(f"{app}/readyz")),
        children.wait_ready(worker, lambda: _is_polled(client)),
    )
    where = Addresses(
        temporal=f"{HOST}:{port}",
        ui=f"http://{HOST}:{ui_port}",
        app=app,
        sandbox=env["STRIPE_API_BASE"],
        database=database,
        webhook_secret=env["STRIPE_WEBHOOK_SECRET"],
    )
    return Stack(where, settings, client, children, env, folder, worker)


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def _local_environment(
    folder: Path, temporal: str, database: str, app_port: int, sandbox_port: int
) -> dict[str, str]:
    """The environment of the children: nothing of ours comes from outside, so no real key can slip in.

    They also run in `folder`, where no `.env` lies, and with an empty configuration of Temporal's own.
    """
    profile = folder / "temporal.toml"
    profile.write_text("", encoding="utf-8")
    sandbox = f"http://{HOST}:{sandbox_port}"
    return {name: value for name, value in os.environ.items() if not name.startswith(_OURS)} | {
        "TEMPORAL_ADDRESS": temporal,
        "TEMPORAL_NAMESPACE": "default",
        "TEMPORAL_CONFIG_FILE": str(profile),
        "DATABASE_URL": database,
        "STRIPE_API_KEY": STRIPE_KEY,
        "STRIPE_API_BASE": sandbox,
        "SENDGRID_API_KEY": _SENDGRID_KEY,
        "SENDGRID_API_BASE": sandbox,
        "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
        "TWILIO_AUTH_TOKEN": AUTH_TOKEN,
        "TWILIO_API_BASE": sandbox,
        "TWILIO_MESSAGING_SERVICE_SID": _MESSAGING_SERVICE,
        "PUBLIC_BASE_URL": f"http://{HOST}:{app_port}",
        "DUNNING_SECRET_KEY": secrets.token_urlsafe(32),
        "DUNNING_HOST": HOST,
        "DUNNING_PORT": str(app_port),
        "PYTHONUNBUFFERED": "1",
    }


async def start_worker(children: Processes, env: Mapping[str, str], folder: Path | None) -> Child:
    """Start a worker process."""
    return await children.start("worker", _python("starter", "worker"), env, folder)


async def _temporal_ready(children: Processes, server: Child, settings: Settings) -> Client:
    found: list[Client] = []

    async def is_ready() -> bool:
        try:
            found.append(await connect(settings))
        except EngineUnavailable:
            return False
        return True

    await children.wait_ready(server, is_ready)
    return found[0]


async def _answers(url: str) -> bool:
    try:
        # Not to read certificates makes asking a hundred times cheaper; on this machine nobody needs one.
        async with httpx.AsyncClient(timeout=2.0, trust_env=False, verify=False) as http:
            return (await http.get(url)).is_success
    except httpx.HTTPError:
        return False


async def _is_polled(client: Client) -> bool:
    kinds = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
    wanted = [(TASK_QUEUE, kinds[0]), (TASK_QUEUE, kinds[1]), (STRIPE_TASK_QUEUE, kinds[1])]
    for queue, kind in wanted:
        request = DescribeTaskQueueRequest(
            namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind
        )
        if not (await client.workflow_service.describe_task_queue(request)).pollers:
            return False
    return True


async def _connect_providers(sandbox: str, app: str) -> dict[str, str]:
    """Tell the sandbox where its webhooks go; returns the settings with which the app checks them."""
    events = {f"enabled_events[{i}]": name for i, name in enumerate(CONCERNS)}
    async with httpx.AsyncClient(timeout=10.0, trust_env=False) as http, ControlClient(sandbox) as control:
        answer = await http.post(
            f"{sandbox}/v1/webhook_endpoints",
            data={"url": f"{app}/webhooks/stripe", **events},
            headers={"Authorization": f"Bearer {STRIPE_KEY}"},
        )
        answer.raise_for_status()
        await control.set_targets(
            sendgrid_events=f"{app}/webhooks/sendgrid", twilio_inbound=app + INBOUND_PATH
        )
        return {
            "STRIPE_WEBHOOK_SECRET": answer.json()["secret"],
            "SENDGRID_WEBHOOK_PUBLIC_KEY": await control.sendgrid_public_key(),
        }


@contextmanager
def _own_folder(kind: Kind) -> Iterator[Path]:
    """An emptied state folder that no other running stack uses: `.dunning/demo`, else `.dunning/demo-2`, …"""
    for number in range(1, 100):
        folder = (FOLDER / (kind if number == 1 else f"{kind}-{number}")).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            for old in folder.glob("ledger.db*"):
                old.unlink()
            yield folder
            return
    raise StackError(f"a hundred stacks run in {FOLDER.absolute()}: stop some")


# --- `dunning dev` ----------------------------------------------------------------------------------------


def dev(json: bool = False) -> NoReturn:
    """The local stack until SIGINT or SIGTERM. Prints where everything is once it is ready. Never returns."""

    async def main() -> int:
        async with local_stack("dev", warn if json else say) as stack:
            where = stack.addresses
            say(json_module.dumps(asdict(where)) if json else _block(where))
            raise await stack.children.first_end()

    run_to_the_end(main())


def _block(where: Addresses) -> str:
    rows = {name.replace("_", " "): value for name, value in asdict(where).items()}
    lines = [f"  {name:<15} {value}" for name, value in rows.items()]
    hint = f"  Stripe SDK      api_key={STRIPE_KEY!r}, base address {where.sandbox}"
    return "\n".join(["The stack is ready. Ctrl-C ends it.", "", *lines, hint])


# --- `dunning up` -----------------------------------------------------------------------------------------


def up() -> NoReturn:
    """The engine against the real providers, until SIGINT or SIGTERM; does not return.

    Exit status 2, with one line for each, when settings are missing or malformed.
    """
    run_to_the_end(_up())


async def _up() -> int:
    settings = Settings.load()
    missing = settings.missing("up")
    if missing:
        raise SettingsError(missing)
    async with processes(FOLDER / "logs") as children:
        env = dict(os.environ)
        if "TEMPORAL_ADDRESS" not in settings.temporal_variables:
            settings, ui = await _own_temporal(children, settings)
            env["TEMPORAL_ADDRESS"] = address(settings)
            say(f"Temporal   {address(settings)}, UI {ui}, kept in {FOLDER / 'temporal.db'}")
        client = await connect(settings)
        await register_search_attributes(client)
        await apply(client)
        await asyncio.to_thread(upgrade, settings.database_url)
        worker = await start_worker(children, env, None)
        serving = await children.start("app", _python("starter", "serve"), env)
        app = f"http://{settings.dunning_host}:{settings.dunning_port}"
        await asyncio.gather(
            children.wait_ready(serving, lambda: _answers(f"{app}/readyz")),
            children.wait_ready(worker, lambda: _is_polled(client)),
        )
        say(f"App        {app}, for {settings.public_base_url}")
        say("The engine runs. Ctrl-C ends it.")
        async with looking_beside(settings, lambda found: warn(f"{found.severity}: {found.text}")):
            raise await children.first_end()


async def _own_temporal(children: Processes, settings: Settings) -> tuple[Settings, str]:
    """A dev server whose cases survive a restart, for who has no Temporal yet."""
    taken: set[int] = set()
    port = port_near(TEMPORAL_PORT, taken, say, "Temporal")
    ui_port = port_near(UI_PORT, taken, say, "its UI")
    binary = await asyncio.to_thread(temporal_binary)
    file = (FOLDER / "temporal.db").absolute()
    command = dev_server(binary, HOST, port, ui_port, skipping=False, database=file)
    server = await children.start("temporal", command, os.environ)
    variables = settings.temporal_variables | {"TEMPORAL_ADDRESS": f"{HOST}:{port}"}
    settings = settings.model_copy(update={"temporal_variables": variables})
    await _temporal_ready(children, server, settings)
    return settings, f"http://{HOST}:{ui_port}"
