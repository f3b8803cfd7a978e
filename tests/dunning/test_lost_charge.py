"""A charge got no answer, and then the invoice is paid: the case asks whose money it was before it ends."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from dunning.case import AttemptResult, Charged, EffectFailed, Event
from dunning.decision import Action, Charge
from dunning.facts import Invoice
from dunning.values import Outcome, RecoveredVia, Stage
from tests.dunning.cases import DAY0, Run, opened

PAID = {"status": "paid", "amount_remaining": 0}


class Silent:
    """The first try of the first attempt gets no answer; `arrived`: Stripe carried it out all the same."""

    def __init__(self, arrived: bool) -> None:
        self.arrived, self.asked = arrived, list[tuple[datetime, Charge]]()

    def __call__(self, action: Action, run: Run) -> Event | None:
        if not isinstance(action, Charge):
            return None
        self.asked.append((run.now, action))
        facts: Invoice = run.world or run.state.invoice
        if len(self.asked) == 1:
            return EffectFailed(effect=action.key, at=run.now, error="Stripe gave no answer to invoices.pay")
        told = facts.model_copy(update={"read_at": run.now})
        result: AttemptResult = "succeeded" if self.arrived else "not_needed"
        return Charged(number=action.number, at=run.now, result=result, blind=action.blind, invoice=told)


def unanswered(arrived: bool) -> tuple[Run, Silent]:
    world = Silent(arrived)
    run = Run(opened("insufficient_funds"), intercept=world)
    while not world.asked:
        run.run_to(run.now + timedelta(hours=6))
    assert run.state.faults
    return run, world


@pytest.mark.parametrize(
    ("arrived", "via"), [(True, RecoveredVia.ENGINE), (False, RecoveredVia.CUSTOMER)], ids=["ours", "theirs"]
)
def test_who_paid_is_asked_under_the_key_of_the_lost_attempt(arrived: bool, via: RecoveredVia) -> None:
    run, world = unanswered(arrived)
    run.event(**PAID).to_the_end()
    assert [(action.number, action.blind) for _, action in world.asked] == [(1, True), (1, True)]
    assert (run.state.outcome, run.state.recovered_via) == (Outcome.RECOVERED, via)
    assert not run.state.faults
    assert run.now < DAY0 + timedelta(days=7)


def test_the_thank_you_does_not_wait_for_the_answer() -> None:
    run, _ = unanswered(arrived=True)
    run.event(**PAID)
    assert run.log[-1][1] == "email recovered"
    assert run.state.stage is Stage.RECOVERING  # Stripe is asked when its pause is over


def test_a_voided_invoice_ends_as_voided() -> None:
    run, world = unanswered(arrived=False)
    run.event(status="void", amount_remaining=0).to_the_end()
    assert run.state.outcome is Outcome.VOIDED
    assert len(world.asked) == 2


def test_a_stopped_case_is_not_charged_again_to_find_out() -> None:
    run, world = unanswered(arrived=False)
    run.lever("stop", {"reason": "paid by bank transfer", "by": "support"})
    run.to_the_end()
    assert run.state.outcome is Outcome.STOPPED
    assert len(world.asked) == 1
