"""`dunning templates` as a user types it."""

from __future__ import annotations

from pathlib import Path

import pytest

from starter.cli import main


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DUNNING_POLICIES", str(tmp_path))
    return tmp_path


def test_a_businesss_own_mistake_is_named(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own / "templates" / "en").mkdir(parents=True)
    (own / "templates" / "en" / "messages.yaml").write_text("nonsense: [", encoding="utf-8")
    assert main(["templates", "check"]) == 1
    assert "messages.yaml" in capsys.readouterr().err
