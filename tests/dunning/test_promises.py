"""The promises of the core, tried with any sequence of failures, levers, payments and outages."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from dunning.asking import asking
from dunning.calendar import end_of_day, local_date
from dunning.case import CaseState, EffectDone, EffectFailed, Event, MessageSent
from dunning.decide import decide
from dunning.decision import Action
from dunning.evolve import evolve
from dunning.forecast import forecast
from dunning.grace import days_granted
from dunning.policy import Policy, parse_policy
from dunning.values import Outcome, Stage
from dunning.view import needs_human
from tests.dunning.cases import DAY0, NEW_CARD, SHIPPED, STANDARD, Run, is_closed, opened

CODES = st.sampled_from(
    ["insufficient_funds", "do_not_honor", "processing_error", "expired_card", "stolen_card", "fraudulent",
     "authentication_required", "revocation_of_authorization", "card_velocity_exceeded", "no_such_code"]
)  # fmt: skip
GRANT = st.fixed_dictionaries({"days": st.integers(-1, 20), "reason": st.just("x"), "by": st.just("y")})
BY = st.fixed_dictionaries({"reason": st.just("x"), "by": st.just("y")})
PROMISE = st.integers(-2, 70).map(lambda d: {"on": (DAY0 + timedelta(days=d)).date().isoformat(), "by": "y"})


def written(name: str, *changes: tuple[str, str]) -> Policy:
    """The standard policy with other words, checked as a file is."""
    text = SHIPPED.read_text(encoding="utf-8")
    for old, new in (("name: standard", f"name: {name}"), *changes):
        assert old in text, old
        text = text.replace(old, new)
    return parse_policy(text, f"{name}.yaml")


#: What `set_policy` may name: all is shorter and less in the one, longer and more in the other.
OFFERS = {
    "standard": STANDARD,
    "hasty": written(
        "hasty", ("starts: 14d", "starts: 5d"), ("length: 7d", "length: 2d"), ("max: 14d", "max: 1d"),
        ("max_total: 30", "max_total: 5"), ("answer_within: 3d", "answer_within: 1d"),
        ("max_days: 14", "max_days: 2"), ("how: pause_collection", "how: cancel"),
        ("retryable: 12d, customer: 12d", "retryable: 4d, customer: 4d"),
    ),
    "patient": written(
        "patient", ("starts: 14d", "starts: 20d"), ("length: 7d", "length: 10d"),
        ("after_suspension: refuse", "after_suspension: restore"), ("leaves: 2d", "leaves: 4d"),
    ),
}  # fmt: skip
POLICIES = st.sampled_from([STANDARD, OFFERS["patient"]])
SET_POLICY = st.sampled_from([*OFFERS, "unknown"]).map(lambda name: ("set_policy", {"name": name, "by": "y"}))
LEVERS = st.one_of(
    st.tuples(st.just("grant_extension"), GRANT),
    st.tuples(st.just("request_extension"), GRANT),
    st.tuples(st.just("deny_extension"), BY),
    st.tuples(st.just("hold"), BY),
    st.tuples(st.just("release"), st.just({"by": "y"})),
    st.tuples(st.just("retry_now"), st.just({"by": "y"})),
    st.tuples(st.just("stop"), BY),
    st.tuples(st.just("promise_to_pay"), PROMISE),
    st.tuples(st.just("suspend_now"), BY),
    st.tuples(st.just("restore_now"), BY),
    SET_POLICY,
    st.tuples(st.just("add_note"), st.just({"text": "x", "by": "y"})),
    st.tuples(st.just("no_such_lever"), st.none()),
)
EVENTS = st.one_of(
    st.tuples(st.just("lever"), LEVERS),
    st.tuples(st.just("event"), st.sampled_from([{"method": NEW_CARD}, {"method": None}, {"processing": True},
                                                 {"processing": False}])),
)  # fmt: skip


def scripts(days: int, most: int) -> st.SearchStrategy[list[Any]]:
    """What happens to a case in its first days, by the hour."""
    events = st.lists(st.tuples(st.integers(0, days * 24), EVENTS), max_size=most)
    return events.map(in_order)


def in_order(script: list[Any]) -> list[Any]:
    """By the hour."""
    return sorted(script, key=lambda event: event[0])


SCRIPTS = scripts(70, 8)
POLICY_CHANGE = st.tuples(st.integers(0, 20 * 24), st.tuples(st.just("lever"), SET_POLICY))
#: A third each: the standard policy; either one; either one, and another while the case runs.
TERMS = st.one_of(
    st.just((STANDARD, None)), st.tuples(POLICIES, st.none()), st.tuples(POLICIES, POLICY_CHANGE)
)
FATES = st.dictionaries(
    st.integers(0, 40), st.sampled_from(["unknown", "failed", "down", "held", "too_late"]), max_size=15
)


class Faulty:
    """A world in which the n-th effect goes wrong in a given way."""

    def __init__(self, fates: dict[int, str]) -> None:
        self.fates, self.count = fates, -1

    def __call__(self, action: Action, run: Run) -> Event | None:
        self.count += 1
        fate = self.fates.get(self.count)
        if fate is None or action.kind == "read_invoice":
            return None
        if fate == "down":
            return EffectFailed(effect=action.key, at=run.now, error="nobody answers")
        if action.kind == "send":
            return MessageSent(step=action.step, channel=action.channel, at=run.now, fate=fate)  # type: ignore[arg-type]
        if action.kind != "charge" and fate in ("held", "too_late"):
            return EffectDone(effect=action.kind, at=run.now, result=fate)  # type: ignore[arg-type]
        return None


def play(code: str, script: list[Any], fates: dict[int, str], policy: Policy = STANDARD) -> Run:
    run = Run(opened(code), intercept=Faulty(fates), policy=policy, offers=OFFERS)
    for hour, (kind, what) in script:
        run.run_to(max(run.now, DAY0 + timedelta(hours=hour)))
        if is_closed(run):
            break
        if kind == "lever":
            had = days_granted(run.state)
            run.lever(*what)
            assert days_granted(run.state) <= max(had, run.policy.grace.extensions.max_total)
        else:
            run.event(**what)
    return run


@settings(max_examples=150, deadline=None)
@given(code=CODES, script=SCRIPTS, fates=FATES, terms=TERMS)
def test_a_case_ends_and_kept_every_promise(
    code: str, script: list[Any], fates: dict[int, str], terms: tuple[Policy, Any]
) -> None:
    """One life for all of them: to live it costs more than to look at it."""
    policy, change = terms
    run = play(code, in_order([change, *script]) if change else script, fates, policy)
    run.run_to(run.now + timedelta(days=30))
    run.event(processing=False)  # a bank answers some day
    assert is_closed(run.to_the_end())
    assert run.state.outcome is not None
    _no_effect_happened_twice(run)
    _nobody_was_suspended_early_or_unwarned(run.state)
    _no_suspension_preceded_what_was_last_promised(run)
    _totals_never_exceeded_the_policy(run.state, policy)


def _no_effect_happened_twice(run: Run) -> None:
    numbers = [a.number for a in run.state.attempts]
    assert len(numbers) == len(set(numbers))
    said = [(s.step, s.channel) for s in run.state.sent]
    assert len(said) == len(set(said))
    acts = [what for _, what in run.log if what in ("suspend", "restore")]
    assert acts == (["suspend", "restore"] * len(acts))[: len(acts)]


def _nobody_was_suspended_early_or_unwarned(state: CaseState) -> None:
    if state.suspended_at is None:
        return
    ends = end_of_day(state.plan.last_day, state.plan.zone)
    assert state.suspended_at >= ends
    warned = [s for s in state.sent if s.fate == "accepted" and s.named_day == state.plan.last_day]
    assert warned
    assert min(s.at for s in warned) <= state.suspended_at - timedelta(hours=48)


def _no_suspension_preceded_what_was_last_promised(run: Run) -> None:
    zone, promised_days = run.state.plan.zone, [p.on for p in run.state.promises if p.state != "kept"]
    for at, action in run.actions:
        if action.kind != "suspend":
            continue
        told = [s.named_day for s in run.state.sent if s.at <= at and s.named_day and s.fate == "accepted"]
        assert told, "suspended unheard"
        assert at >= end_of_day(max(told), zone)
        open_then = [p.on for p in run.state.promises if p.at <= at and p.on in promised_days]
        assert all(local_date(at, zone) >= day for day in open_then)


def _totals_never_exceeded_the_policy(state: CaseState, policy: Policy) -> None:
    assert days_granted(state) <= OFFERS["patient"].grace.extensions.max_total  # `play` looks at each grant
    mine = [e for e in state.extensions if e.by_customer]
    assert len(mine) <= policy.grace.extensions.by_customer.count
    assert len(state.promises) <= policy.promises.count


@settings(max_examples=25, deadline=None)
@given(code=CODES, script=SCRIPTS, fates=FATES, day=st.integers(0, 70))
def test_the_inbox_lists_exactly_what_needs_a_person(
    code: str, script: list[Any], fates: dict[int, str], day: int
) -> None:
    run = play(code, script, fates)
    run.run_to(max(run.now, DAY0 + timedelta(days=day)))
    if not is_closed(run):
        assert needs_human(run.state) == (asking(run.state, run.policy) is not None)


@settings(max_examples=40, deadline=None)
@given(code=CODES, script=SCRIPTS, fates=FATES, day=st.integers(0, 60))
def test_a_paid_case_only_closes(code: str, script: list[Any], fates: dict[int, str], day: int) -> None:
    run = play(code, script, fates)
    run.run_to(max(run.now, DAY0 + timedelta(days=day)))
    if is_closed(run):
        return
    run.intercept = None
    before = len(run.log)
    suspended = run.state.suspended_at is not None
    run.event(status="paid", amount_remaining=0)
    run.to_the_end()
    assert is_closed(run)
    assert run.state.outcome is Outcome.RECOVERED
    after = [what for _, what in run.log[before:]]
    assert after == (["restore", "email restored"] if suspended else ["email recovered"])


@settings(max_examples=50, deadline=None)
@given(
    code=CODES,
    script=scripts(18, 4),  # most cases are still open then
    lever=st.booleans().flatmap(lambda policy: SET_POLICY if policy else LEVERS),  # the likeliest to do it
    day=st.integers(0, 25),
)
def test_no_lever_brings_a_promised_date_forward(code: str, script: list[Any], lever: Any, day: int) -> None:
    run = play(code, script, {})
    run.run_to(max(run.now, DAY0 + timedelta(days=day)))
    if is_closed(run):
        return
    before = run.state
    accepted, _ = run.lever(*lever)
    last_day = run.state.plan.last_day
    assert last_day >= before.plan.last_day
    assert run.state.plan.grace_starts_at >= before.plan.grace_starts_at
    if accepted and lever[0] == "grant_extension":
        assert last_day > before.plan.last_day
    foreseen = [e.at for e in forecast(run.state, run.policy, run.now) if e.what == "suspend"]
    assert all(moment >= _promised(run.state) for moment in foreseen)


@settings(max_examples=40, deadline=None)
@given(code=CODES, script=SCRIPTS, day=st.integers(0, 60), ahead=st.integers(1, 48))
def test_no_action_before_its_time(code: str, script: list[Any], day: int, ahead: int) -> None:
    run = play(code, script, {})
    run.run_to(max(run.now, DAY0 + timedelta(days=day)))
    decision = decide(run.state, run.policy, run.now)
    if decision.until is None:
        return
    earlier = decide(run.state, run.policy, max(run.now, decision.until - timedelta(hours=ahead)))
    assert earlier.action is None or earlier.until is None
    just_before = decide(run.state, run.policy, max(run.now, decision.until - timedelta(seconds=1)))
    assert just_before.action is None


#: Five attempts a day apart, the last of them at the hour of a reminder.
_AT_ONE_HOUR = [
    (0, ("event", {"method": None})),
    (446, ("event", {"method": NEW_CARD})),
    (600, ("lever", ("restore_now", {"reason": "x", "by": "y"}))),
]


@settings(max_examples=25, deadline=None)
@example(code="insufficient_funds", script=_AT_ONE_HOUR, day=0)
@given(code=CODES, script=SCRIPTS, day=st.integers(0, 40))
def test_the_forecast_is_what_then_happens(code: str, script: list[Any], day: int) -> None:
    run = play(code, script, {})
    run.run_to(max(run.now, DAY0 + timedelta(days=day)))
    if is_closed(run) or run.state.invoice.processing:
        return
    outcomes = (
        {n: run.state.invoice.failure.decline_code for n in range(1, 60)} if run.state.invoice.failure else {}
    )
    expected = [(e.at, e.what) for e in forecast(run.state, run.policy, run.now) if "/" in e.what]
    run.outcomes = {n: c or "generic_decline" for n, c in outcomes.items()}
    seen = len(run.actions)
    run.to_the_end()
    happened = [(at, a.key) for at, a in run.actions[seen:] if "/" in a.key]
    assert [k for _, k in happened] == [k for _, k in expected]


def test_a_closed_case_hears_everything_and_does_nothing() -> None:
    run = Run(opened(), outcomes={1: "succeeded"}).to_the_end()
    state = run.state
    for event in (
        EffectFailed(effect="charge/2", at=run.now, error="x"),
        MessageSent(step="x", channel="email", at=run.now, fate="accepted"),  # type: ignore[arg-type]
    ):
        assert evolve(state, event, STANDARD) == state
    assert state.stage is Stage.CLOSED


def _promised(state: CaseState) -> datetime:
    """The first moment at which all is over that was promised to the customer: days, answers, a wait."""
    zone = state.plan.zone
    moments = [end_of_day(state.plan.last_day, zone)]
    moments += [end_of_day(state.promise.on, zone)] if state.promise else []
    moments += [state.request.answer_by] if state.request else []
    moments += [state.hold.until] if state.hold else []
    return max(moments)
