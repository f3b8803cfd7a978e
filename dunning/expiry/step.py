"""One recorded step of a card's case: fold the inbox in, take the turns that are due, decide."""

from __future__ import annotations

from dunning.case import Entry, Lever
from dunning.decision import Answer
from dunning.expiry.card import CardEvent, CardQuestion, CardState, CardStep
from dunning.expiry.decide import decide
from dunning.expiry.evolve import evolve, read_stop
from dunning.expiry.view import facets, narrate, opened
from dunning.policy import Policy

_MOST_TURNS = 16


def answer(question: CardQuestion) -> CardStep:
    """The step that follows from a question. Pure: the same question has the same answer."""
    state, policy = question.state, question.policy
    answers: list[Answer] = []
    entries: list[Entry] = [] if question.seq else [opened(state, policy)]
    for event in question.inbox:
        if isinstance(event, Lever) and event.ticket is not None:
            stop = read_stop(state, event)
            answers.append(Answer(ticket=event.ticket, accepted=stop.accepted, text=stop.text))
        state = _fold(state, event, policy, entries)
    decision = decide(state, policy, question.now)
    for _ in range(_MOST_TURNS):
        if decision.turn is None:
            break
        state = _fold(state, decision.turn, policy, entries)
        decision = decide(state, policy, question.now)
    else:
        raise AssertionError(f"the case turns in circles: {decision.reason}")
    shown = facets(state, policy)
    return CardStep(
        state=state,
        decision=decision,
        answers=tuple(answers),
        entries=tuple(entries),
        facets=shown if shown != question.facets else None,
    )


def _fold(state: CardState, event: CardEvent, policy: Policy, entries: list[Entry]) -> CardState:
    after = evolve(state, event, policy)
    entry = narrate(state, event, after)
    if entry is not None:
        entries.append(entry)
    return after
