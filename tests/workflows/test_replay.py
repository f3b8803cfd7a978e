"""Cases live for weeks while the engine is deployed daily: what was recorded must replay for ever."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pkgutil import resolve_name
from typing import Any

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from activities.interface import TASK_QUEUE, RecordActivities
from starter.temporal import data_converter
from tests.workflows.histories import (
    FOLDER,
    HOW,
    MANIFEST,
    ROOT,
    Recorded,
    digest,
    fingerprint,
    manifest,
    texts,
)
from worker import RUNNER, WORKFLOWS
from workflows.card_expiry import CardExpiry
from workflows.invoice_dunning import InvoiceDunning
from workflows.options import Effect
from workflows.renewal_reminder import RenewalReminder

#: Those that live for weeks.
LONG_LIVED = [InvoiceDunning, CardExpiry, RenewalReminder]


async def misfits(
    some: Iterable[Recorded], runner: WorkflowRunner, workflows: Sequence[type] = LONG_LIVED
) -> dict[str, Exception]:
    """Replay histories with the workflows as they are now: what does not fit, by the history's name."""

    async def histories() -> AsyncIterator[WorkflowHistory]:
        for recorded in some:
            yield WorkflowHistory.from_json(recorded.name, recorded.path.read_text(encoding="utf-8"))

    replayer = Replayer(
        workflows=workflows, data_converter=data_converter(), workflow_runner=runner, build_id="tests"
    )
    async with replayer.workflow_replay_iterator(histories()) as results:
        return {
            result.history.workflow_id: result.replay_failure
            async for result in results
            if result.replay_failure
        }


# --- rules may change under a running case ---------------------------------------------------------------


RULES = (
    "dunning.step.answer",
    "dunning.step.decide",
    "dunning.step.evolve",
    "dunning.step.command",
    "dunning.step.facets",
    "dunning.step.narrate",
    "dunning.decide.decide",
    "dunning.decide.next_retry",
    "dunning.evolve.evolve",
    "dunning.levers.command",
    "dunning.opening.open_case",
    "dunning.declines.classify",
    "dunning.words.planned",
    "dunning.retries.next_retry",
    "dunning.expiry.step.answer",
    "dunning.expiry.step.decide",
    "dunning.expiry.step.evolve",
    "dunning.expiry.decide.open_card",
    "dunning.renewals.decide.answer",
    "dunning.renewals.decide.decide",
    "dunning.renewals.decide.unwanted",
)


#: What operators are told may change too: it is no command.
WORDS = ("workflows.invoice_dunning.details", "workflows.card_expiry.details")
ANSWERS = (
    "workflows.invoice_dunning.status",
    "workflows.invoice_dunning.forecast",
    "workflows.card_expiry.status",
)


async def test_every_recorded_history_replays_although_every_rule_of_the_core_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As the worker runs them. Nothing that is gone was missed, so that with the rules they replay too."""
    missed: list[str] = []

    def gone(rule: str) -> Callable[..., Any]:
        def asked(*_args: Any, **_kwargs: Any) -> Any:
            missed.append(rule)
            raise AssertionError(f"{rule} was asked while a history was replayed: its answer is recorded")

        return asked

    def other_words(words: Callable[..., str]) -> Callable[..., str]:
        return lambda *args: f"other words than {words(*args)}"

    for rule in (*RULES, *ANSWERS):
        monkeypatch.setattr(rule, gone(rule))
    for words in WORDS:
        monkeypatch.setattr(words, other_words(resolve_name(words)))
    assert await misfits(manifest(), RUNNER) == {}
    assert missed == []


async def test_the_sandbox_has_nothing_against_any_workflow() -> None:
    """A worker passes their modules through, so that only here it would say so."""
    assert await misfits(_with_all_that_happens(manifest()), SandboxedWorkflowRunner(), WORKFLOWS) == {}


def _with_all_that_happens(some: list[Recorded]) -> list[Recorded]:
    """A few histories, in which every workflow meets whatever it meets in any of these."""
    happens = {recorded: _happenings(recorded) for recorded in some}
    left = set().union(*happens.values())
    few: list[Recorded] = []
    while left:
        few.append(max(some, key=lambda recorded: len(happens[recorded] & left)))
        left -= happens[few[-1]]
    return few


def _happenings(recorded: Recorded) -> set[tuple[str, ...]]:
    """The kinds of events of a history, with the name of the activity or signal."""
    events = json.loads(recorded.path.read_text(encoding="utf-8"))["events"]
    workflow = events[0]["workflowExecutionStartedEventAttributes"]["workflowType"]["name"]
    found = set()
    for event in events:
        [said] = [value for key, value in event.items() if key.endswith("EventAttributes")]
        name = said.get("activityType", {}).get("name") or said.get("signalName", "")
        found.add((workflow, event["eventType"], name))
    return found


# --- the guard itself: a replay that could not fail would prove nothing ----------------------------------


def _latest(*names: str) -> list[Recorded]:
    return [[line for line in manifest() if line.name.endswith(f"/{name}")][-1] for name in names]


async def test_a_workflow_that_orders_other_effects_does_not_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    other = Effect(RecordActivities.decide, TASK_QUEUE)
    monkeypatch.setattr("workflows.invoice_dunning.OPEN", other)
    some = _latest("card_expired", "second_retry", "reminded")
    [(name, error)] = (await misfits(some, RUNNER)).items()
    assert name == some[1].name
    assert re.search("TMPRL1100|[Nn]ondeterminism", str(error))


async def test_a_workflow_that_fails_does_not_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_args: Any) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr("workflows.card_expiry.details", fails)
    some = _latest("card_expired", "reminded")
    assert list(await misfits(some, RUNNER)) == [some[0].name]


# --- the guard on what is recorded ------------------------------------------------------------------------


def test_the_manifest_lists_exactly_the_histories_unchanged() -> None:
    lines = manifest()
    assert lines, f"nothing is recorded: run {HOW}"
    files = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.glob("*/*.json"))
    assert sorted(line.file for line in lines) == files
    changed = [line.file for line in lines if digest(line.path) != line.sha256]
    assert changed == [], "a recorded history is never edited: take these back and record anew"


def test_the_manifest_only_grows() -> None:
    committed = _committed_manifest()
    if committed is None:
        pytest.skip("no commit to compare with: not a git checkout, or the manifest is new")
    assert manifest()[: len(committed)] == committed, (
        "lines of the manifest were removed or changed: put them back"
    )


def test_what_is_recorded_was_made_by_the_present_workflows() -> None:
    assert manifest()[-1].workflows == fingerprint(), (
        "workflows/ changed since the newest histories were recorded. If the tests above pass, running cases "
        f"survive the change; now record what the new code does: {HOW} (adds a dated folder; commit it)"
    )


@pytest.mark.parametrize("recorded", manifest(), ids=lambda recorded: recorded.name)
def test_recorded_histories_name_no_person_and_no_machine(recorded: Recorded) -> None:
    history = json.loads(recorded.path.read_text(encoding="utf-8"))
    written = "\n".join(texts(history))
    for secret in ("@customer.example", "Ada Example", "+12025550143", "/pay/", '"last4"'):
        assert secret not in written
    identities = {text for text in _identities(history) if "@" in text}
    assert identities == set()


def _identities(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [str(node["identity"])] if "identity" in node else []
        return own + [text for value in node.values() for text in _identities(value)]
    return [text for value in node for text in _identities(value)] if isinstance(node, list) else []


def _committed_manifest() -> list[Recorded] | None:
    name = MANIFEST.relative_to(ROOT).as_posix()
    try:
        shown = subprocess.run(
            ["git", "show", f"HEAD:{name}"], cwd=ROOT, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:  # no git here
        return None
    return manifest(shown.stdout) if shown.returncode == 0 else None
