"""Whether the stories came out as cast: by the ledger, and by the sandbox's own books."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dunning.values import Outcome
from starter.demo.conductor import Story


@dataclass(frozen=True)
class Verdict:
    """What is not as cast; nothing when all is."""

    story: Story
    wrong: Sequence[str]

    @property
    def good(self) -> bool:
        """Whether the story came out as cast."""
        return not self.wrong


def judge(stories: Sequence[Story], books: Mapping[str, Any]) -> list[Verdict]:
    """Compare every story with its fate. `books` are those of the sandbox's Stripe."""
    return [Verdict(story, _wrong(story, books)) for story in stories]


def _wrong(story: Story, books: Mapping[str, Any]) -> list[str]:
    case, fate, member = story.case, story.role.fate, story.member
    if case is None:
        return ["no case was opened"]
    paid = fate.outcome is Outcome.RECOVERED
    invoice = _row(books, "invoices", member.invoice)
    subscription = _row(books, "subscriptions", member.subscription)
    charges = [c for c in books["charges"] if c["invoice"] == member.invoice and c["status"] == "succeeded"]
    done = {entry.what for entry in story.entries}
    written_off = fate.outcome is Outcome.WRITTEN_OFF
    facts = [
        ("stage", fate.stage, case.stage),
        ("outcome", fate.outcome, case.outcome),
        ("recovered via", fate.via, case.recovered_via),
        ("suspended", fate.suspended, "suspend.done" in done),
        ("restored", fate.suspended and paid, "restore.done" in done),
        ("collection paused", written_off, subscription["pause_collection"] is not None),
        ("subscription canceled", written_off, subscription["status"] == "canceled"),
        ("invoice uncollectible", written_off, invoice["status"] == "uncollectible"),
        ("charges that succeeded", int(paid), len(charges)),
    ]
    if fate.attempts is not None:
        facts.append(("attempts", fate.attempts, story.attempts))
    return [
        f"{name}: wanted {_word(wanted)}, got {_word(got)}" for name, wanted, got in facts if wanted != got
    ]


def _row(books: Mapping[str, Any], table: str, row_id: str) -> Mapping[str, Any]:
    row: Mapping[str, Any] = next(row for row in books[table] if row["id"] == row_id)
    return row


def _word(value: object) -> str:
    return "none" if value is None else str(value)
