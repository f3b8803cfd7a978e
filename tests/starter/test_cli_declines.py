"""`dunning declines explain` as a user types it."""

from __future__ import annotations

import json

import pytest

from starter.cli import main


def test_json_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["declines", "explain", "stolen_card", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["decline_class"] == "new_method"
    assert answer["locked"] is True
    assert answer["sources"]


def test_words_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["declines", "explain", "expired_card"]) == 0
    assert "ask for another card" in capsys.readouterr().out


@pytest.mark.parametrize(
    "args", [["insufficient_funds", "--network-advice", "26"], ["insufficient_funds", "--brand", "fisa"]]
)
def test_a_network_code_without_its_brand_is_refused(
    args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["declines", "explain", *args]) == 2
    assert "brand" in capsys.readouterr().err
