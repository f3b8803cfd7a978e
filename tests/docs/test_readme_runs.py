"""The README as a user follows it: its Python and its shell, as written, against a running `dunning dev`."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from starter.binaries import temporal_binary
from starter.client import DunningClient
from starter.errors import CaseNotFound, EngineUnavailable
from starter.settings import Settings
from starter.stack import SANDBOX_PORT, Addresses
from tests.docs.markdown import ROOT, Block, blocks
from tests.docs.typed import typed_command
from tests.e2e.commands import VENV, environment
from tests.fixtures.stack import DevStack
from tests.fixtures.temporal import eventually

pytestmark = [pytest.mark.timeout(180), pytest.mark.xdist_group("stack")]

#: What the README writes, and which the reader replaces.
INVOICE, SANDBOX = "in_123", f"http://127.0.0.1:{SANDBOX_PORT}"
STARTER, CLIENT, _ = blocks("python")
BACKUP = "VACUUM"


@dataclass(frozen=True)
class Reader:
    """Somebody with a running stack, an invoice that failed, and a shell."""

    where: Addresses
    invoice: str
    client: DunningClient
    dunning: Path  # the folder of the command

    def shell(self, block: Block, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
        """Paste a block into a shell; the first command that fails ends it."""
        path = [str(self.dunning), str(VENV / "bin"), str(Path(temporal_binary()).parent), os.environ["PATH"]]
        mine = environment(
            PATH=os.pathsep.join(path),
            INVOICE=self.invoice,
            APP=self.where.app,
            TEMPORAL_ADDRESS=self.where.temporal,
            DATABASE_URL=self.where.database,
        )
        script = "set -euo pipefail\ncurl() { command curl --fail-with-body --noproxy '*' \"$@\"; }\n"
        return subprocess.run(
            ["bash", "-c", script + block.body],
            cwd=folder, env=mine, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip


async def run(block: Block, *replaced: tuple[str, str]) -> dict[str, Any]:
    """Run Python as written, `await` at its top included; returns its names."""
    text = block.body
    for old, new in replaced:
        text = text.replace(old, new)
    names: dict[str, Any] = {}
    code = compile(text, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    done = eval(code, names)
    if inspect.iscoroutine(done):
        await done
    return names


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def reader(dev: DevStack) -> AsyncIterator[Reader]:
    """Fails an invoice as the README says; its case appears by itself."""
    names = await run(STARTER, (SANDBOX, dev.where.sandbox))
    invoice = names["invoice"].id
    settings = Settings(_env_file=None, temporal_variables={"TEMPORAL_ADDRESS": dev.where.temporal})
    client = await DunningClient.connect(settings)

    async def there() -> bool:
        try:
            return (await client.status(invoice)).next_at is not None
        except (CaseNotFound, EngineUnavailable):
            return False

    await eventually(there, f"the case of {invoice} appears")
    with typed_command() as dunning:
        yield Reader(dev.where, invoice, client, dunning)


async def test_backend_code_starts_and_reads_a_case(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", reader.where.temporal)
    names = await run(CLIENT, (INVOICE, reader.invoice))
    assert names["status"].amount_remaining == 4200
    assert "charge/1" in capsys.readouterr().out


async def test_the_shell_does_what_is_written_from_top_to_bottom(reader: Reader, tmp_path: Path) -> None:
    for block in blocks("bash"):
        folder = ROOT
        if BACKUP in block.body:  # of a ledger in its usual place
            folder = tmp_path
            made = reader.shell(
                Block("bash", "mkdir .dunning\nunset DATABASE_URL\ndunning db upgrade"), folder
            )
            assert made.returncode == 0, made.stderr
        done = reader.shell(block, folder)
        assert done.returncode == 0, f"{block.body}\n{done.stdout}\n{done.stderr}"
        assert '"error"' not in done.stdout
    assert list((tmp_path / ".dunning").glob("backup-*.db"))

    granted = [entry for entry in await reader.client.timeline(reader.invoice) if entry.by == "maria"]
    assert [entry.what for entry in granted] == ["lever.grant_extension"] * 4


def test_an_api_key_of_the_readers_own_making_is_understood(reader: Reader) -> None:
    (recipe,) = [block for block in blocks("bash") if "DUNNING_API_KEYS" in block.body]
    made = reader.shell(recipe).stdout.splitlines()[-1].partition("=")[2]
    (key,) = Settings.model_validate({"dunning_api_keys": made}).dunning_api_keys
    assert (key.name, key.scope) == ("crm", "support")
