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
    ("args", "expected"),
    [
        (["insufficient_funds"], {"decline_class": "soft", "wait_hours": None, "locked": False}),
        (["insufficient_funds", "--advice", "do_not_try_again"], {"decline_class": "new_method"}),
        (["insufficient_funds", "--network-advice", "26", "--brand", "mastercard"], {"wait_hours": 48}),
        (["generic_decline", "--network-advice", "03", "--brand", "mastercard"], {"locked": True}),
        (["generic_decline", "--network-decline", "04", "--brand", "visa"], {"locked": True}),
    ],
)
def test_every_option_has_its_say(
    args: list[str], expected: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["declines", "explain", *args, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert expected.items() <= answer.items()
    assert {"words", "action", "customer_may_be_told", "sources"} <= answer.keys()
    assert len(answer["sources"]) == 1 + (len(args) > 1)  # of the code, and of what the option names


@pytest.mark.parametrize(
    "args", [["insufficient_funds", "--network-advice", "26"], ["insufficient_funds", "--brand", "fisa"]]
)
def test_a_network_code_without_its_brand_is_refused(
    args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["declines", "explain", *args]) == 2
    assert "brand" in capsys.readouterr().err
