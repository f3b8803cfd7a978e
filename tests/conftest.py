"""What all tests share."""

from __future__ import annotations

import gc
import logging
import ssl
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

# Imports make no garbage worth looking for, and last as long as the session.
gc.disable()

# httpx asks for it several times a request, and each time all folders of imports are searched in vain.
if find_spec("sniffio") is None:
    sys.modules["sniffio"] = None  # type: ignore[assignment]

# A busy machine is no reason to fail: whoever wants a bound on time measures it.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")

_QUICK = Path(__file__).parent / "dunning"
_FIXTURES = ("command", "databases", "temporal", "engine", "gallery", "stack")


def pytest_configure(config: pytest.Config) -> None:
    """Load the fixtures and with them the engine: not where xdist only hands out tests to its workers."""
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        for name in _FIXTURES:
            config.pluginmanager.import_plugin(f"tests.fixtures.{name}")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Our own option."""
    parser.addoption(
        "--update-histories",
        action="store_true",
        help="record the histories of the fates into a new dated folder of tests/histories",
    )


@pytest.fixture(scope="session", autouse=True)
def _certificates_are_read_once() -> Iterator[None]:
    """Every client reads them, which takes longer than most calls; no test speaks TLS."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", cache(ssl.create_default_context))
        yield


@pytest.fixture(scope="session", autouse=True)
def _logs_are_as_loud_as_in_production() -> None:
    """Nobody reads ten lines a case of what was ignored."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))


def pytest_collection_finish() -> None:
    """All is imported. A session of some minutes may keep more garbage than a worker of weeks."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
    gc.enable()


def pytest_unconfigure() -> None:
    """pytest looks five times for what was left behind; the first look, here, finds it all."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes no time comes last, so that the processes end together.

    Whoever marks tests as one group relies on it: say so when pytest and xdist no longer agree on it.
    """
    items.sort(key=lambda item: item.path.is_relative_to(_QUICK))
    if not getattr(config.option, "loadgroup", False):
        return
    grouped = [item.nodeid for item in items if item.get_closest_marker("xdist_group")]
    lost = [name for name in grouped if "@" not in name]
    if lost:
        raise pytest.UsageError(f"xdist_group has no effect on {lost[0]}: two stacks would run at once")
