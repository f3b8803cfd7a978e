"""Cases live for weeks while the engine is deployed daily: what was recorded must replay for ever."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from activities.interface import TASK_QUEUE, RecordActivities
from starter.temporal import data_converter
from tests.workflows.histories import FOLDER, HOW, MANIFEST, ROOT, Recorded, digest, fingerprint, manifest
from tests.workflows.test_levers import texts
from worker import WORKFLOWS
from workflows.card_expiry import CardExpiry
from workflows.invoice_dunning import InvoiceDunning
from workflows.options import Effect
from workflows.renewal_reminder import RenewalReminder

#: Those that live for weeks.
LONG_LIVED = [InvoiceDunning, CardExpiry, RenewalReminder]


async def replayed(recorded: Recorded, *, sandboxed: bool = True) -> None:
    """Replay a history with the workflows as they are now; raises what does not fit.

    In the workflow sandbox some modules are loaded anew, so what a test replaced is only seen without it.
    """
    history = WorkflowHistory.from_json(recorded.name, recorded.path.read_text(encoding="utf-8"))
    runner = SandboxedWorkflowRunner() if sandboxed else UnsandboxedWorkflowRunner()
    replayer = Replayer(workflows=LONG_LIVED, data_converter=data_converter(), workflow_runner=runner)
    await replayer.replay_workflow(history)


@pytest.mark.parametrize("recorded", manifest(), ids=lambda recorded: recorded.name)
async def test_every_recorded_history_replays(recorded: Recorded) -> None:
    await replayed(recorded)


async def test_the_sandbox_has_nothing_against_any_workflow() -> None:
    """A worker passes their modules through, so that only here it would say so."""
    some = manifest()[-1]
    history = WorkflowHistory.from_json(some.name, some.path.read_text(encoding="utf-8"))
    await Replayer(workflows=WORKFLOWS, data_converter=data_converter()).replay_workflow(history)


# --- rules may change under a running case ---------------------------------------------------------------


def _raises(*_args: Any, **_kwargs: Any) -> Any:
    raise AssertionError("a rule was asked while a history was replayed: its answer is recorded")


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
WORDS: dict[str, Callable[..., Any]] = {
    "workflows.invoice_dunning.details": lambda *_args: "other words",
    "workflows.invoice_dunning.status": _raises,
    "workflows.invoice_dunning.forecast": _raises,
    "workflows.card_expiry.details": lambda *_args: "other words",
    "workflows.card_expiry.status": _raises,
}


async def test_histories_replay_although_every_rule_of_the_core_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for rule in RULES:
        monkeypatch.setattr(rule, _raises)
    for name, other in WORDS.items():
        monkeypatch.setattr(name, other)
    for recorded in manifest():
        await replayed(recorded, sandboxed=False)


async def test_a_workflow_that_orders_other_effects_does_not_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard itself: a replay that could not fail would prove nothing."""
    other = Effect(RecordActivities.decide, TASK_QUEUE)
    monkeypatch.setattr("workflows.invoice_dunning.OPEN", other)
    [some] = [recorded for recorded in manifest() if recorded.name.endswith("/second_retry")][-1:]
    with pytest.raises(Exception, match=r"TMPRL1100|[Nn]ondeterminism"):
        await replayed(some, sandboxed=False)


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
