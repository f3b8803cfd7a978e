"""A policy is refused as a whole, with the line, the field and what to write instead."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dunning.durations import parse_duration, write_duration
from dunning.policy import Policy, PolicyError, parse_policy

SHIPPED = Path(__file__).parents[2] / "dunning/policies"
STANDARD = (SHIPPED / "standard.yaml").read_text(encoding="utf-8")


def line_of(text: str, part: str) -> int:
    return next(n for n, line in enumerate(text.splitlines(), start=1) if part in line)


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_policy_is_valid_and_bears_its_files_name(path: Path) -> None:
    assert parse_policy(path.read_text(encoding="utf-8"), path.name).name == path.stem


def test_a_policy_survives_the_wire_and_keeps_its_version() -> None:
    policy = parse_policy(STANDARD, "standard.yaml")
    again = Policy.model_validate_json(policy.model_dump_json())
    assert again == policy
    assert again.version == policy.version


def test_the_version_changes_with_the_meaning_and_not_with_the_comments() -> None:
    policy = parse_policy(STANDARD, "standard.yaml")
    assert parse_policy("# a comment\n" + STANDARD, "x").version == policy.version
    assert parse_policy(STANDARD.replace("max: 8", "max: 7"), "x").version != policy.version


@pytest.mark.parametrize(
    ("good", "bad", "says"),
    [
        ("starts: 14d", "starts: 14 days", "write a whole number and d, h or m"),
        ("max: 8 ", "maxx: 8 ", "not a field of a policy"),
        ("template: impact", "template: impct", "is not a message"),
        ("timezone: UTC", "timezone: Mars/Olympus", "is not a time zone"),
        ("length: 7d", "length: 60h", "whole days"),
        ("soft: [1d, 3d,", "soft: [3d, 1d,", "rising order"),
        ("shadow: false", "shadow: perhaps", "boolean"),
        ("channels: [email, sms]}", "channels: [pigeon]}", "'email'"),
        ("owner: engine", "owner: nobody", "'engine'"),
        ("before_end: 3d,", "before_end: 3d, after_start: 1d,", "either after_start or before_end"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_the_remedy(good: str, bad: str, says: str) -> None:
    assert good in STANDARD
    text = STANDARD.replace(good, bad, 1)
    with pytest.raises(PolicyError) as refusal:
        parse_policy(text, "mine.yaml")
    [sentence] = str(refusal.value).splitlines()
    assert sentence.startswith(f"mine.yaml:{line_of(text, bad)}: ")
    assert says in sentence


def test_every_mistake_is_named_at_once() -> None:
    text = STANDARD.replace("starts: 14d", "starts: soon").replace("max_total: 30", "max_total: -1")
    with pytest.raises(PolicyError) as refusal:
        parse_policy(text, "mine.yaml")
    assert len(str(refusal.value).splitlines()) == 2


@pytest.mark.parametrize("text", ["", "[]", "name", "name: [", "\tname: x"])
def test_what_is_no_policy_at_all_is_refused_too(text: str) -> None:
    with pytest.raises(PolicyError, match=r"mine\.yaml:\d+: "):
        parse_policy(text, "mine.yaml")


def test_a_grace_too_short_to_give_notice_is_refused() -> None:
    with pytest.raises(PolicyError, match="nobody could be told in time"):
        parse_policy(STANDARD.replace("notice: 48h", "notice: 9d"), "mine.yaml")


def test_a_grace_without_a_message_is_refused() -> None:
    start, end = STANDARD.index("  grace:  "), STANDARD.index("  answers:")
    with pytest.raises(PolicyError, match="no message would name the last day"):
        parse_policy(STANDARD[:start] + STANDARD[end:], "mine.yaml")


@given(st.integers(1, 60 * 24 * 60))
def test_a_duration_is_read_as_it_is_written(minutes: int) -> None:
    value = timedelta(minutes=minutes)
    assert parse_duration(write_duration(value)) == value


@pytest.mark.parametrize("text", ["", "7", "d", "-7d", "7 d", "1.5d", "7w", 7, None, "999999d"])
def test_what_is_no_duration_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match="such as 7d or 36h"):
        parse_duration(text)
