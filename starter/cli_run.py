"""Commands that run the engine or change it as a whole."""

from __future__ import annotations

import asyncio
import importlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from dunning.policy import PolicyError, parse_policy
from ledger.records import CaseRecord, Halt
from starter import schedules, temporal
from starter.cli_levers import set_policy
from starter.cli_output import say, say_json
from starter.cli_session import open_ledger, run, user
from starter.endpoints import endpoints_of
from starter.errors import DunningError, EngineUnavailable, SettingsError
from starter.importing import imported
from starter.logs import configure
from starter.namespace import Registration, register_search_attributes
from starter.settings import Purpose, Settings

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

#: Workers believe what they read of the switch for a second. Until then effects still leave the house after a
#: halt; and a case that is told of the lift earlier would be held once more, and look again only after hours.
_BELIEVED_SECONDS = 1.5

run_app = typer.Typer()
policy_app = typer.Typer(help="Policies.", no_args_is_help=True)
db_app = typer.Typer(help="The ledger's database.", no_args_is_help=True)
run_app.add_typer(policy_app, name="policy")
run_app.add_typer(db_app, name="db")


class PolicyRefused(DunningError):
    """A policy that cannot be used; one problem a line."""

    code = "invalid_policy"


# --- the global stop ------------------------------------------------------------------------------------


@run_app.command()
def halt(
    reason: Annotated[str, typer.Option(help="Why; it stands in the ledger.")] = "",
    lift: Annotated[bool, typer.Option("--lift", help="Go on where everything was.")] = False,
    by: Annotated[str | None, typer.Option(help="Who does it; your user name if left out.")] = None,
    as_json: Json = False,
) -> None:
    """Hold every effect of the engine: no charge, no message, no suspension. --lift goes on."""
    settings = Settings.load()
    answer = run(_lift(settings, by or user()) if lift else _halt(settings, by or user(), reason))
    if as_json:
        say_json(answer)
    else:
        say(str(answer["text"]))


async def _halt(settings: Settings, by: str, reason: str) -> dict[str, Any]:
    async with open_ledger(settings) as ledger:
        before = await ledger.switches.halted(max_age=0)
        now: Halt = before or await ledger.switches.halt(by, reason, datetime.now(UTC))
    if before is None:
        await asyncio.sleep(_BELIEVED_SECONDS)
    since = f"since {now.at:%Y-%m-%d %H:%M} UTC by {now.by}"
    text = f"halted already {since}" if before else f"halted {since}: nothing leaves the house"
    return {"halted": True, "by": now.by, "reason": now.reason, "at": now.at.isoformat(), "text": text}


async def _lift(settings: Settings, by: str) -> dict[str, Any]:
    async with open_ledger(settings) as ledger:
        lifted = await ledger.switches.lift(by, datetime.now(UTC))
        if lifted:
            await asyncio.sleep(_BELIEVED_SECONDS)
        waiting = await ledger.cases.halted()
    timeout = timedelta(seconds=settings.dunning_rpc_timeout_seconds)
    told = 0
    if waiting:
        try:
            client = await temporal.connect(settings)
            told = sum(await asyncio.gather(*(_tell(client, case, timeout) for case in waiting)))
        except (EngineUnavailable, RPCError) as error:
            raise EngineUnavailable(
                f"the halt is lifted, but Temporal does not answer: {len(waiting)} waiting cases look again "
                "later by themselves; repeat the command to wake them now"
            ) from error
    text = f"{'lifted' if lifted else 'no halt was in force'}; {told} waiting cases go on"
    return {"halted": False, "lifted": lifted, "cases": told, "text": text}


async def _tell(client: Client, case: CaseRecord, timeout: timedelta) -> int:
    try:
        handle = client.get_workflow_handle(case.workflow_id)
        await handle.signal("billing_event", {"type": "halt_lifted"}, rpc_timeout=timeout)
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
        return 0  # it runs no more
    return 1


# --- set-up and checks ----------------------------------------------------------------------------------


policy_app.command("set")(set_policy)


@policy_app.command("check")
def policy_check(
    files: Annotated[list[Path] | None, typer.Argument(help="All of DUNNING_POLICIES if left out.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Check policies as a whole: fields, times, dates, and whether they fit together."""
    settings = Settings.load()
    paths = files or _policy_files(settings)
    problems = [line for path in paths for line in _check(path, settings)]
    if as_json:
        say_json({"files": [str(path) for path in paths], "problems": problems})
        raise typer.Exit(1 if problems else 0)
    if problems:
        raise PolicyRefused("\n".join(problems))
    for path in paths:
        say(f"{path}: good")


def _policy_files(settings: Settings) -> list[Path]:
    folder = settings.dunning_policies or Path(__file__).parent.parent / "dunning" / "policies"
    found = sorted(folder.glob("*.yaml"))
    if not found:
        raise PolicyRefused(f"{folder}: there is no policy here: add a file such as standard.yaml")
    return found


def _check(path: Path, settings: Settings) -> list[str]:
    try:
        if path.name in ("business.yaml", "segments.yaml"):
            # Imported late: the activities bring the providers' SDKs along.
            context = importlib.import_module("activities.context")
            if path.name == "business.yaml":
                endpoints_of(settings, context.load_business(path.parent).endpoints)
            else:
                context.PolicyBook(path.parent).segments()
        else:
            policy = parse_policy(path.read_text(encoding="utf-8"), str(path))
            if policy.name != path.stem:
                return [f"{path}: name: is {policy.name!r}, but cases find a policy by its file: rename one"]
    except PolicyError as error:
        return str(error).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        return [f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}"]
    return []


@db_app.command("upgrade")
def db_upgrade(as_json: Json = False) -> None:
    """Bring the ledger's tables to this version; harmless to repeat."""
    importlib.import_module("ledger.upgrading").upgrade(Settings.load().database_url)
    if as_json:
        say_json({"schema": "current"})
    else:
        say("the ledger's schema is current")


@run_app.command()
def setup(as_json: Json = False) -> None:
    """Register search attributes and apply the schedules on the Temporal namespace; harmless to repeat."""

    async def work() -> tuple[str, Registration, tuple[str, ...]]:
        client = await temporal.connect(Settings.load())
        done = await register_search_attributes(client)
        return client.namespace, done, (await schedules.apply(client))[0]

    namespace, done, created = run(work())
    if as_json:
        found = {"namespace": namespace, "added": done.added, "present": done.present}
        say_json(found | {"schedules_created": created})
    else:
        what = f"added {', '.join(done.added)}" if done.added else "nothing to add"
        say(f"namespace {namespace}: {what}; {len(done.present)} were there")
        say(f"schedules: created {', '.join(created) or 'none'}; the others are up to date")


# --- processes ------------------------------------------------------------------------------------------


@run_app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="DUNNING_HOST if left out.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="DUNNING_PORT if left out.")] = None,
) -> None:
    """Run the ASGI app: webhooks, the HTTP API, health and metrics."""
    settings = _settings_for("serve")
    configure(settings.dunning_log_level)
    address = host or settings.dunning_host, settings.dunning_port if port is None else port
    run(imported("starter.serve").serve(settings, *address))


@run_app.command()
def worker() -> None:
    """Run a worker: it carries the cases, charges and writes."""
    raise typer.Exit(imported("worker").main())


@run_app.command()
def sandbox(
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
) -> None:
    """Run the stand-ins for Stripe, SendGrid and Twilio alone."""
    try:
        importlib.import_module("sandbox.app").run(host, port)
    except OSError as error:
        raise SettingsError([f"the sandbox cannot listen on {host}:{port}: {error.strerror}"]) from error


@run_app.command()
def up() -> None:
    """Run everything against the real providers, with the keys of the environment or `.env`."""
    _settings_for("up")
    imported("starter.stack").up()


@run_app.command()
def dev(as_json: Json = False) -> None:
    """Run the demo's whole stack without its cast, until Ctrl-C."""
    imported("starter.stack").dev(as_json)


@run_app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def demo(context: typer.Context) -> None:
    """Watch ten customers with different fates, weeks in half a minute."""
    status = imported("starter.demo").main(list(context.args))
    raise typer.Exit(status or 0)


def _settings_for(purpose: Purpose) -> Settings:
    settings = Settings.load()
    problems = settings.missing(purpose)
    if problems:
        raise SettingsError(problems)
    return settings
