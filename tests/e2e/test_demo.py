"""`make demo ARGS=--exit`, as a user types it."""

from __future__ import annotations

import re

import pytest

from starter.demo.cast import CAST
from tests.e2e.commands import make


@pytest.mark.timeout(300)
@pytest.mark.xdist_group("stack")
def test_every_fate_comes_out_as_cast_and_the_demo_ends_by_itself() -> None:
    demo = make("demo", "--exit", timeout=280)

    assert demo.returncode == 0, demo.stdout[-6000:] + demo.stderr[-3000:]
    ticked = [line.removeprefix("✓").strip() for line in demo.stdout.splitlines() if line.startswith("✓")]
    assert [line.split("  ")[0] for line in ticked] == [role.name for role in CAST]
    assert "Recovered €257.00 and $426.00" in demo.stdout
    assert re.search(r"TEMPORAL_ADDRESS=\S+ \S*dunning extend in_\w+ --days 7 .* --by you", demo.stdout)
    assert "Traceback" not in demo.stderr
