"""The budget of a payment method: what may still be charged, from when on, and why not."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dunning.budget import PastAttempt, Planned, Slot, WindowRule, check, limits_at
from dunning.values import DeclineClass

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
TODAY = limits_at(NOW.date())
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


SAME: dict[str, Any] = {"fingerprint": "fp_1", "expiry": "2029-04", "brand": "visa", "amount": 2000}
SAME |= {"currency": "usd", "invoice_id": "in_1"}


def plan(**given: Any) -> Planned:
    return Planned(**SAME | {"at": NOW} | given)


def tried(ago: timedelta, **given: Any) -> PastAttempt:
    failed = {"at": NOW - ago, "succeeded": False, "reached_network": True, "cls": DeclineClass.SOFT}
    return PastAttempt(**SAME | failed | given)


def daily(count: int, first: timedelta = 2 * DAY, **given: Any) -> list[PastAttempt]:
    return [tried(first + n * timedelta(hours=25), **given) for n in range(count)]


def ask(past: list[PastAttempt], **given: Any) -> Slot:
    return check(plan(**given), past, TODAY)


class TestNetworkWindows:
    def test_a_card_without_a_past_is_granted_and_says_how_full_the_window_is(self) -> None:
        slot = ask([])
        assert (slot.granted, slot.until, slot.rule) == (True, NOW, "visa")
        assert slot.reason == (
            "Visa, failed attempts with this card and amount: 0 of 15 in 30 days (the network allows 20)"
        )

    def test_visa_is_refused_after_fifteen_failures_of_one_amount_until_the_oldest_is_thirty_days_old(
        self,
    ) -> None:
        past = daily(15)
        slot = ask(past)
        assert (slot.granted, slot.rule) == (False, "visa")
        assert slot.until == past[-1].at + 30 * DAY
        assert slot.reason == (
            "Visa, failed attempts with this card and amount: 15 of 15 in 30 days (the network allows 20);"
            " free again on Sun 6 Dec 2026 20:00 UTC"
        )
        assert check(plan(at=slot.until), past, TODAY).granted
        assert not check(plan(at=slot.until - timedelta(seconds=1)), past, TODAY).granted

    def test_another_amount_of_the_same_visa_card_has_its_own_count(self) -> None:
        assert ask(daily(15), amount=999).granted
        assert ask(daily(15), currency="eur").granted

    def test_other_invoices_and_stripes_own_attempts_count(self) -> None:
        past = [*daily(8, invoice_id="in_other"), *daily(7, first=12 * DAY, invoice_id="in_by_stripe")]
        assert not ask(past).granted

    def test_what_never_reached_the_network_does_not_count(self) -> None:
        assert ask(daily(15, reached_network=False)).granted

    def test_another_card_has_its_own_count(self) -> None:
        assert ask(daily(15), fingerprint="fp_2").granted

    @pytest.mark.parametrize(
        ("brand", "rule"),
        [
            ("mastercard", "mastercard_month"),
            ("amex", "other_brands"),
            ("discover", "other_brands"),
            (None, "other_brands"),
        ],
    )
    def test_every_brand_is_held_to_fifteen_in_thirty_days(self, brand: str | None, rule: str) -> None:
        assert ask(daily(14), brand=brand).granted
        assert ask(daily(15), brand=brand).rule == rule

    def test_a_success_starts_the_engines_count_again_but_not_the_networks(self) -> None:
        past = [*daily(10), tried(13 * DAY, succeeded=True), *daily(9, first=14 * DAY)]
        assert ask(past).granted  # ten since the success, nineteen in all
        past.append(tried(28 * DAY))
        slot = ask(past)
        assert slot.until == past[-1].at + 30 * DAY
        assert "20 of 20 in 30 days" in slot.reason

    def test_visa_allowed_fifteen_before_may_2025(self) -> None:
        def allowed(day: date) -> list[int | None]:
            return [rule.limit for rule in limits_at(day).windows if rule.name == "visa"]

        assert (allowed(date(2025, 5, 24)), allowed(date(2025, 5, 25))) == ([15], [20])

    def test_mastercard_in_brazil_is_charged_from_the_eighth_repeat_of_a_day(self) -> None:
        brazil = [r for r in TODAY.windows if r.concerns(plan(brand="mastercard", country="BR"))]
        assert min(r.limit for r in brazil if r.limit) == 7


class TestTheSameDay:
    def test_one_refusal_by_the_bank_holds_the_card_for_24_hours_for_every_invoice(self) -> None:
        slot = ask([tried(3 * HOUR, invoice_id="in_other", amount=500)])
        assert (slot.rule, slot.until) == ("one_decline_a_day", NOW + 21 * HOUR)
        assert slot.reason == (
            "refusals by the bank with this card: 1 of 1 in 24 hours; free again on Tue 24 Nov 2026 07:00 UTC"
        )
        assert ask([tried(24 * HOUR)]).granted

    def test_an_answer_without_a_class_counts_as_a_refusal(self) -> None:
        assert ask([tried(HOUR, cls=None)]).rule == "one_decline_a_day"

    def test_technical_failures_may_come_three_times_a_day(self) -> None:
        past = [tried(n * HOUR, cls=DeclineClass.TECHNICAL) for n in (1, 2)]
        assert ask(past).granted
        past.append(tried(3 * HOUR, cls=DeclineClass.TECHNICAL))
        assert (ask(past).rule, ask(past).until) == ("technical_a_day", NOW + 21 * HOUR)

    def test_after_a_success_the_next_open_invoice_follows_at_once(self) -> None:
        past = [tried(3 * HOUR), tried(HOUR, succeeded=True, amount=700, invoice_id="in_other", cls=None)]
        assert ask(past).granted
        assert not ask([*past, tried(HOUR / 2)]).granted

    def test_a_new_expiry_does_not_wait_for_the_day_of_the_old_one(self) -> None:
        past = [tried(HOUR, lock="expiry", cls=DeclineClass.NEW_METHOD)]
        assert ask(past, expiry="2031-04").granted

    def test_a_charge_waits_for_the_answer_of_the_one_before_it(self) -> None:
        past = [tried(timedelta(seconds=30), pending=True, reached_network=False, cls=None)]
        slot = ask(past)
        assert (slot.rule, slot.until) == ("in_flight", NOW + timedelta(seconds=90))

    def test_an_attempt_whose_answer_never_came_counts_as_refused(self) -> None:
        assert ask([tried(HOUR, pending=True, cls=None)]).rule == "one_decline_a_day"

    def test_wallets_without_a_fingerprint_are_counted_by_invoice(self) -> None:
        past = [tried(HOUR, fingerprint=None, brand=None)]
        assert not ask(past, fingerprint=None, brand=None, scheme="paypal").granted
        assert ask(past, fingerprint=None, brand=None, scheme="paypal", invoice_id="in_2").granted
        assert ask(past).granted


class TestTheCustomerIsPresent:
    def test_may_go_once_beyond_what_is_only_caution(self) -> None:
        assert ask([tried(HOUR)], customer_present=True).granted
        assert not ask([tried(HOUR), tried(2 * HOUR)], customer_present=True).granted
        assert ask(daily(15), customer_present=True).granted
        assert not ask(daily(16), customer_present=True).granted

    def test_never_goes_beyond_the_network(self) -> None:
        failures = [tried(13 * DAY, succeeded=True), *daily(9), *daily(11, first=14 * DAY)]
        assert "20 of 20" in ask(failures, customer_present=True).reason

    def test_does_not_open_a_lock(self) -> None:
        assert ask([tried(90 * DAY, lock="card")], customer_present=True).until is None


class TestLocks:
    def test_a_locked_card_is_never_charged_again_whatever_the_expiry(self) -> None:
        slot = ask([tried(400 * DAY, lock="card")], expiry="2035-01")
        assert (slot.granted, slot.until, slot.rule) == (False, None, "lock_card")
        assert slot.reason == (
            "a bank or network said never to charge this card again; only another card can be charged"
            " (since Sun 19 Oct 2025 10:00 UTC)"
        )

    def test_another_card_opens_it(self) -> None:
        assert ask([tried(HOUR, lock="card")], fingerprint="fp_2").granted

    def test_a_later_success_does_not(self) -> None:
        assert ask([tried(9 * DAY, lock="card"), tried(DAY, succeeded=True)]).until is None

    def test_an_expired_card_is_charged_again_with_another_expiry_only(self) -> None:
        past = [tried(90 * DAY, lock="expiry")]
        assert (ask(past).until, ask(past).rule) == (None, "lock_expiry")
        assert ask(past, expiry="2031-04").granted

    def test_an_expiry_that_is_not_known_opens_nothing(self) -> None:
        assert ask([tried(90 * DAY, lock="expiry")], expiry=None).until is None
        assert ask([tried(90 * DAY, lock="expiry", expiry=None)]).until is None

    def test_a_lock_goes_before_a_rule_that_time_lifts(self) -> None:
        assert ask([tried(HOUR), tried(9 * DAY, lock="card")]).rule == "lock_card"


class TestIndia:
    def test_the_engine_never_charges_a_card_issued_there_again(self) -> None:
        assert (ask([], country="IN").until, ask([], country="IN").rule) == (None, "india")

    def test_the_customer_may(self) -> None:
        assert ask([], country="IN", customer_present=True).granted

    def test_other_payment_methods_from_there_are_not_meant(self) -> None:
        assert ask([], country="IN", scheme="paypal").granted


class TestBankDebits:
    def ask(self, entries: list[timedelta], **given: Any) -> Slot:
        debit: dict[str, Any] = {"brand": None, "fingerprint": "ba_1", "expiry": None}
        return check(plan(**debit | given), [tried(ago, **debit) for ago in entries], TODAY)

    def test_ach_may_be_presented_twice_more(self) -> None:
        ach = {"scheme": "us_bank_account"}
        assert self.ask([20 * DAY], **ach).granted
        assert self.ask([20 * DAY, 10 * DAY], **ach).granted
        slot = self.ask([30 * DAY, 20 * DAY, 10 * DAY], **ach)
        assert (slot.granted, slot.until, slot.rule) == (False, None, "us_bank_account")
        assert slot.reason == (
            "ACH: presented again 2 of 2 times in 180 days for this invoice; no more with this account"
        )

    def test_ach_may_not_be_presented_again_after_180_days(self) -> None:
        assert self.ask([180 * DAY], scheme="us_bank_account").granted
        slot = self.ask([181 * DAY], scheme="us_bank_account")
        assert slot.until is None
        assert (
            slot.reason
            == "ACH: more than 180 days after the first debit of this invoice; no more with this account"
        )

    @pytest.mark.parametrize(
        "scheme", ["bacs_debit", "sepa_debit", "au_becs_debit", "nz_bank_account", "acss_debit"]
    )
    def test_the_others_once_more_within_thirty_days(self, scheme: str) -> None:
        assert self.ask([9 * DAY], scheme=scheme).granted
        assert self.ask([9 * DAY, 4 * DAY], scheme=scheme).until is None
        assert self.ask([31 * DAY], scheme=scheme).until is None

    def test_another_invoice_and_another_account_begin_anew(self) -> None:
        assert self.ask([9 * DAY, 4 * DAY], scheme="sepa_debit", invoice_id="in_2").granted
        assert self.ask([9 * DAY, 4 * DAY], scheme="sepa_debit", fingerprint="ba_2").granted


# --- for any sequence ---------------------------------------------------------------------------------

BRANDS = st.sampled_from(["visa", "mastercard", "amex", "discover"])
ATTEMPTS = st.builds(
    tried,
    st.integers(0, 40 * 24 * 60).map(lambda minutes: timedelta(minutes=minutes)),
    fingerprint=st.sampled_from(["fp_1", "fp_1", "fp_2", None]),
    expiry=st.sampled_from(["2029-04", "2031-04", None]),
    amount=st.sampled_from([2000, 500]),
    succeeded=st.booleans(),
    reached_network=st.booleans(),
    cls=st.sampled_from([None, DeclineClass.SOFT, DeclineClass.TECHNICAL]),
    lock=st.sampled_from([None, None, None, None, "card", "expiry"]),
    invoice_id=st.sampled_from(["in_1", "in_2"]),
)
FAILURES = st.builds(
    tried,
    st.integers(0, 40 * 24 * 60).map(lambda minutes: timedelta(minutes=minutes)),
    cls=st.sampled_from([None, DeclineClass.SOFT, DeclineClass.TECHNICAL]),
    lock=st.sampled_from([None, "card", "expiry"]),
    pending=st.booleans(),
)
PLANS = st.builds(
    plan,
    brand=BRANDS,
    country=st.sampled_from(["US", "BR", "IN"]),
    customer_present=st.booleans(),
    scheme=st.sampled_from(["card", "card", "us_bank_account", "sepa_debit"]),
)


@given(planned=PLANS, past=st.lists(ATTEMPTS, max_size=25))
def test_a_slot_is_free_exactly_from_the_moment_it_names(planned: Planned, past: list[PastAttempt]) -> None:
    slot = check(planned, past, TODAY)
    assert slot == check(planned, list(reversed(past)), TODAY)
    if slot.granted or slot.until is None:
        return
    assert slot.until > planned.at
    at_that_time = check(planned.model_copy(update={"at": slot.until}), past, TODAY)
    # Only the last day of a bank debit can pass in between.
    assert at_that_time.granted or (planned.scheme != "card" and at_that_time.until is None)
    just_before = slot.until - timedelta(microseconds=1)
    assert not check(planned.model_copy(update={"at": just_before}), past, TODAY).granted


@given(planned=PLANS, past=st.lists(ATTEMPTS, max_size=20), more=FAILURES)
def test_another_failure_never_opens_a_slot_earlier(
    planned: Planned, past: list[PastAttempt], more: PastAttempt
) -> None:
    def opens(slot: Slot) -> datetime:
        return slot.until or datetime.max.replace(tzinfo=UTC)

    assert opens(check(planned, [*past, more], TODAY)) >= opens(check(planned, past, TODAY))


@given(planned=PLANS, past=st.lists(ATTEMPTS, max_size=10), years=st.integers(0, 60))
def test_a_lock_never_opens_by_time_or_by_what_comes_after_it(
    planned: Planned, past: list[PastAttempt], years: int
) -> None:
    later = planned.model_copy(update={"at": planned.at + years * 365 * DAY})
    for lock in ("card", "expiry"):
        slot = check(later, [*past, tried(50 * DAY, lock=lock)], TODAY)
        assert (slot.granted, slot.until) == (False, None)


OUTCOMES = st.sampled_from(["soft", "soft", "soft", "technical", "technical", "succeeded", "unreached"])


@settings(max_examples=40, deadline=None)
@given(
    brand=BRANDS,
    country=st.sampled_from(["US", "BR"]),
    outcomes=st.lists(OUTCOMES, min_size=60, max_size=120),
    present=st.lists(st.booleans(), min_size=120, max_size=120),
)
def test_charging_whenever_a_slot_is_free_exceeds_no_limit_in_any_window(
    brand: str, country: str, outcomes: list[str], present: list[bool]
) -> None:
    past: list[PastAttempt] = []
    at = NOW
    for outcome, customer in zip(outcomes, present, strict=False):
        amount = 2000 if len(past) % 3 else 500
        planned = plan(at=at, brand=brand, country=country, amount=amount, customer_present=customer)
        slot = check(planned, past, TODAY)
        if not slot.granted:
            assert slot.until is not None
            at = slot.until
            assert check(planned.model_copy(update={"at": at}), past, TODAY).granted
        cls = {"soft": DeclineClass.SOFT, "technical": DeclineClass.TECHNICAL}.get(outcome)
        past.append(
            tried(
                NOW - at,
                brand=brand,
                amount=amount,
                cls=cls,
                succeeded=outcome == "succeeded",
                reached_network=outcome != "unreached",
            )
        )
    sent = [a for a in past if a.reached_network and not a.succeeded]
    for amount in (500, 2000):
        of_amount = [a.at for a in sent if a.amount == amount]
        assert most(of_amount, 30 * DAY) <= {"visa": 20, "mastercard": 35}.get(brand, 10**9)
    if brand == "mastercard":
        assert most([a.at for a in sent], DAY) <= (7 if country == "BR" else 10)


def most(moments: list[datetime], window: timedelta) -> int:
    """The most moments that any rolling window holds, counted the plain way."""
    return max((sum(1 for m in moments if at - window < m <= at) for at in moments), default=0)


@settings(max_examples=30, deadline=None)
@given(brand=BRANDS, technical=st.lists(st.booleans(), min_size=60, max_size=60))
def test_without_the_customer_and_without_success_the_cautious_numbers_hold_too(
    brand: str, technical: list[bool]
) -> None:
    past: list[PastAttempt] = []
    at = NOW
    for is_technical in technical:
        at = check(plan(at=at, brand=brand), past, TODAY).until or at
        past.append(
            tried(NOW - at, brand=brand, cls=DeclineClass.TECHNICAL if is_technical else DeclineClass.SOFT)
        )
    assert most([a.at for a in past], 30 * DAY) <= 15
    assert most([a.at for a in past if a.cls is DeclineClass.SOFT], DAY) <= 1
    assert most([a.at for a in past if a.cls is DeclineClass.TECHNICAL], DAY) <= 3


class TestTheData:
    def test_every_rule_has_a_source_and_a_cap_within_its_limit(self) -> None:
        assert {rule.name for rule in TODAY.windows} >= {
            "visa",
            "mastercard_day",
            "mastercard_month",
            "other_brands",
        }
        assert {rule.scheme for rule in TODAY.debits} == {
            "us_bank_account",
            "bacs_debit",
            "sepa_debit",
            "au_becs_debit",
            "nz_bank_account",
            "acss_debit",
        }
        assert all(rule.cap <= rule.limit for rule in TODAY.debits)
        assert set(TODAY.locks) == {"card", "expiry"}

    def test_a_cap_above_the_limit_is_refused(self) -> None:
        row = TODAY.windows[0].model_dump() | {"cap": 99}
        with pytest.raises(ValueError, match="the cap of 99 is more than the limit of 20"):
            WindowRule.model_validate(row)

    @pytest.mark.parametrize(
        "brand", ["visa", "mastercard", "amex", "discover", "diners", "jcb", "unionpay", "unknown"]
    )
    def test_every_brand_has_a_window_of_thirty_days(self, brand: str) -> None:
        rules = [rule for rule in TODAY.windows if rule.concerns(plan(brand=brand))]
        assert any(rule.window == 30 * DAY and rule.cap == 15 for rule in rules)
