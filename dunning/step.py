"""One recorded step of a case: fold the inbox into the state, take the turns that are due, decide."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from dunning.announcements import announce
from dunning.case import Announcement, BillingEvent, CaseState, Entry, Event, InvoiceRead, Lever
from dunning.decide import decide
from dunning.decision import Answer, Question, Step
from dunning.evolve import evolve
from dunning.forgetting import ERASED, unsaid
from dunning.levers import command
from dunning.policy import Policy
from dunning.policy_change import Offers
from dunning.timeline import narrate, opened
from dunning.view import facets

#: More turns than this in one step would be a rule that undoes itself: a bug, and better loud than endless.
_MOST_TURNS = 64


def answer(question: Question, offers: Offers | None = None) -> Step:
    """The step that follows from a question. Pure: the same question has the same answer.

    `offers` are the policies that levers in the inbox name.
    """
    state, now = question.state, question.now
    book = _Book(question.policy, offers or {})
    if not question.seq:
        book.entries.append(opened(state, book.policy.name, book.policy.version))
        book.told += announce(None, state, book.policy, state.opened_at)
    for event in question.inbox:
        state = book.fold(state, event)
    decision = decide(state, book.policy, now)
    for _ in range(_MOST_TURNS):
        if decision.turn is None:
            break
        state = book.fold(state, decision.turn)
        decision = decide(state, book.policy, now)
    else:
        raise AssertionError(f"the case turns in circles: {decision.reason}")
    shown = facets(state, decision, book.policy)
    return Step(
        changes=_changes(question.state, state),
        decision=decision,
        answers=tuple(book.answers),
        entries=tuple(book.entries),
        facets=shown if shown != question.facets else None,
        policy=book.policy if book.policy is not question.policy else None,
        forgets=book.forgets,
        announcements=() if book.policy.shadow else tuple(book.told),  # in shadow nothing leaves the house
    )


def applied(state: CaseState, step: Step) -> CaseState:
    """The state after a recorded step."""
    changes = {
        name: _field(name).validate_python(value)
        for name, value in step.changes.items()
        if name in CaseState.model_fields  # a field that a later release knows is left alone, as everywhere
    }
    return state.model_copy(update=changes) if changes else state


@cache  # one entry for each field
def _field(name: str) -> TypeAdapter[Any]:
    annotation: Any = CaseState.model_fields[name].annotation
    return TypeAdapter(annotation)


def _changes(before: CaseState, after: CaseState) -> dict[str, Any]:
    if before is after:
        return {}
    old = dict(before)
    changed = {name for name, value in after if value is not old[name] and value != old[name]}
    written = after.model_dump(mode="json", include=changed)
    # What equals its default is left out when a value is written; here it has to be said.
    defaults = {name: CaseState.model_fields[name].get_default(call_default_factory=True) for name in changed}
    return {name: written.get(name, defaults[name]) for name in sorted(changed)}


@dataclass
class _Book:
    """What a step writes down while it folds events in; a lever may change the policy on the way."""

    policy: Policy
    offers: Offers
    answers: list[Answer] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    told: list[Announcement] = field(default_factory=list)
    forgets: bool = False

    def fold(self, state: CaseState, event: Event) -> CaseState:
        held = self.policy
        if isinstance(event, Lever):
            done = command(state, event, self.policy, self.offers)
            after, self.policy = done.state, done.policy or self.policy
            if event.ticket is not None:
                self.answers.append(Answer(ticket=event.ticket, accepted=done.accepted, text=done.text))
        else:
            done, after = None, evolve(state, event, self.policy)
        if isinstance(event, BillingEvent) and event.type == ERASED:
            self.forgets, self.entries = True, [unsaid(line) for line in self.entries]
        entry = narrate(state, event, after, done)
        if entry is not None:
            self.entries.append(entry)
        at = event.invoice.read_at if isinstance(event, InvoiceRead) else event.at
        self.told += announce(state, after, self.policy, at, before_policy=held)
        return after
