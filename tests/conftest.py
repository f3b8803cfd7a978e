"""What all tests share."""

from __future__ import annotations

import pytest

pytest_plugins = ["tests.fixtures.databases", "tests.fixtures.temporal", "tests.fixtures.engine"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Our own option."""
    parser.addoption(
        "--update-histories",
        action="store_true",
        help="record the histories of the fates into a new dated folder of tests/histories",
    )
