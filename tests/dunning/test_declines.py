"""What a failed payment asks for, by everything that Stripe and the networks say about it."""

from __future__ import annotations

import inspect
import re
from datetime import UTC, datetime, timedelta

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from dunning.case import Verdict
from dunning.declines import NEVER, STRICTNESS, classify, is_known, rules
from dunning.facts import Failure, Method
from dunning.values import RETRYABLE, DeclineClass

AT = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
VISA = Method(id="pm_1", fingerprint="fp_visa", brand="visa", exp_month=4, exp_year=2029)
MASTERCARD = Method(id="pm_2", fingerprint="fp_mc", brand="mastercard", exp_month=4, exp_year=2029)
AMEX = Method(id="pm_3", fingerprint="fp_amex", brand="amex", exp_month=4, exp_year=2029)


def words(text: str) -> list[str]:
    return text.split()


def verdict(decline: str | None = None, method: Method | None = None, **fields: str | None) -> Verdict:
    return classify(Failure(at=AT, decline_code=decline, method=method, **fields))


# --- the table is complete ----------------------------------------------------------------------------

# docs.stripe.com/declines/codes, November 2026
CARD_DECLINES = words("""
approve_with_id authentication_not_handled authentication_required call_issuer card_not_supported
card_velocity_exceeded currency_not_supported do_not_honor do_not_try_again duplicate_transaction expired_card
fraudulent generic_decline incorrect_address incorrect_cvc incorrect_number incorrect_pin incorrect_zip
insufficient_funds invalid_account invalid_amount invalid_cvc invalid_expiry_month invalid_expiry_year
invalid_number invalid_pin issuer_not_available lost_card merchant_blacklist
mobile_device_authentication_required new_account_information_available no_action_taken not_permitted
offline_pin_required online_or_offline_pin_required pickup_card pin_try_exceeded processing_error
reenter_transaction restricted_card revocation_of_all_authorizations revocation_of_authorization
security_violation service_not_allowed stolen_card stop_payment_order testmode_decline transaction_not_allowed
try_again_later withdrawal_count_limit_exceeded
""")
OTHER_METHODS = words("""
partner_generic_decline invalid_customer_account payment_limit_exceeded invalid_billing_agreement
partner_expired_card partner_processing_error partner_insufficient_funds partner_invalid_currency
partner_invalid_amount invalid_business_account partner_high_risk_customer compliance_violation
payment_disputed invalid_authorization invalid_payment_information partner_payment_not_found
expired_payment_information partner_duplicate_transaction recurring_not_supported_by_bank
partner_action_not_supported lost_or_stolen_card card_already_activated invalid_track_data
""")
OUTCOMES_AND_ERRORS = words("""
highest_risk_level elevated_risk_level rule blocklist requested_block_on_incorrect_cvc
low_probability_of_authorization previously_declined_do_not_retry card_decline_rate_limit_exceeded
invoice_payment_intent_requires_action live_mode_test_card
""")
MASTERCARD_ADVICE = words("01 02 03 04 05 21 22 24 25 26 27 28 29 30 40 41 42 43")
VISA_CATEGORIES = {
    1: "04 07 12 14 15 41 43 46 57 R0 R1 R3",
    2: "03 19 39 51 52 53 59 61 62 65 75 78 83 86 91 93 96 5C 9G N3 N4 Z5",
    3: "54 55 82 6P N7",
    4: "70 1A 01 05 13 58 63",
}
# docs.stripe.com/billing/revenue-recovery/smart-retries: never charged again by Stripe without a new method
NEVER_REPEATED_BY_STRIPE = words("""
authentication_required highest_risk_level incorrect_number lost_card pickup_card
revocation_of_all_authorizations revocation_of_authorization stolen_card transaction_not_allowed
""")

# Error codes of Stripe that cannot be why a payment failed: other objects, other requests, other products.
ELSEWHERE = re.compile(
    r"account_(country|error|token)|acss_debit_session|alipay_upgrade|anomalous_|api_key|application_fees"
    r"|authentication_failure|balance_|bank_account_exists|bitcoin|capture_|cardholder_phone|charge_(already|expired|invalid|not)"
    r"|clearing_code|country_|coupon_|customer_(max|session|tax)|dispute_|email_invalid|failed_tax|financial_"
    r"|forwarding_api|instant_payouts|intent_(invalid_state|verification)|invalid_(canceled|characters|mandate|tax)"
    r"|invoice_(no_(customer|subscription)|not|on|upcoming)|not_allowed_on|out_of_inventory|ownership_|parameter"
    r"|payment_evaluation|payment_intent_(invalid|konbini|unexpected)"
    r"|payment_method_(bank_account_already|configuration|invalid|microdeposit_verification|unexpected)"
    r"|payout|platform_|product_|progressive_|refund_|resource_|return_intent|secret_key|service_period"
    r"|setup_(attempt|intent)|shipping_|siret_|sku_|smart_disputes|state_|status_|storer_|stripe_tax"
    r"|subscription_|tax|terminal_|three_d_secure_authentication_not|tls_|token_(card_network|in_use)|transfer|url_"
)


def literals_of_sdk(owner: type, field: str) -> set[str]:
    """The values that the installed Stripe SDK lists for a field, read from its typed source."""
    source = inspect.getsource(owner)
    listed = re.search(rf"\b{field}: Optional\[\s*Union\[\s*Literal\[(.*?)\]", source, re.DOTALL)
    assert listed, f"the SDK lists no values for {owner.__name__}.{field} any more"
    return set(re.findall(r'"([a-z0-9_]+)"', listed[1]))


def test_every_published_code_has_a_rule() -> None:
    assert len(CARD_DECLINES) == 50
    wanted = {*CARD_DECLINES, *OTHER_METHODS, *OUTCOMES_AND_ERRORS}
    assert wanted - rules().texts.keys() == set()
    assert all(is_known(code) for code in wanted)


def test_every_network_code_has_a_rule_and_no_other_claims_to_be_one() -> None:
    assert sorted(rules().mastercard_advice) == MASTERCARD_ADVICE
    assert sorted(rules().visa) == sorted(words(" ".join(VISA_CATEGORIES.values())))


def test_every_advice_that_the_sdk_knows_has_a_rule() -> None:
    assert literals_of_sdk(stripe.Charge.Outcome, "advice_code") == set(rules().advice)


def test_every_error_code_that_the_sdk_knows_is_ruled_or_belongs_elsewhere() -> None:
    codes = literals_of_sdk(stripe.PaymentIntent.LastPaymentError, "code")
    assert len(codes) > 150
    ruled = codes & rules().texts.keys()
    elsewhere = {code for code in codes if ELSEWHERE.match(code)}
    assert ruled & elsewhere == set()
    assert codes - ruled - elsewhere == set(), "decide for each new code whether it explains a failed payment"


def test_every_outcome_reason_that_the_sdk_documents_has_a_rule() -> None:
    source = inspect.getsource(stripe.Charge.Outcome)
    text = re.search(r'reason: Optional\[str\]\s+"""(.*?)"""', source, re.DOTALL)
    assert text
    documented = set(re.findall(r"value `([a-z_]+)`", text[1]))
    assert documented == {
        "highest_risk_level",
        "elevated_risk_level",
        "low_probability_of_authorization",
        "rule",
    }
    assert documented <= rules().outcome_reasons


# --- every single code --------------------------------------------------------------------------------


@pytest.mark.parametrize("code", NEVER_REPEATED_BY_STRIPE)
def test_what_stripe_never_repeats_is_not_repeated_by_us(code: str) -> None:
    judged = verdict(code)
    assert judged.cls not in RETRYABLE
    assert judged.max_retries == 0
    # Authentication is the customer's to give; the card itself stays good for the next invoice.
    assert judged.locked is (code != "authentication_required")


@pytest.mark.parametrize("code", words("03 04 21 22 41 42"))
def test_a_mastercard_stop_forbids_this_card(code: str) -> None:
    judged = verdict("insufficient_funds", MASTERCARD, network_advice_code=code)
    assert judged.locked
    assert judged.cls not in RETRYABLE


@pytest.mark.parametrize("code", words(VISA_CATEGORIES[1]))
def test_a_visa_code_of_category_1_forbids_this_card(code: str) -> None:
    judged = verdict("do_not_honor", VISA, network_decline_code=code)
    assert judged.locked
    assert judged.cls is (DeclineClass.REVOKED if code.startswith("R") else DeclineClass.NEW_METHOD)


@pytest.mark.parametrize("category", [2, 3, 4])
def test_other_visa_categories_forbid_nothing(category: int) -> None:
    for code in words(VISA_CATEGORIES[category]):
        assert not verdict("generic_decline", VISA, network_decline_code=code).locked


@pytest.mark.parametrize(
    "code",
    words(
        "lost_card stolen_card fraudulent merchant_blacklist pickup_card restricted_card lost_or_stolen_card"
    ),
)
def test_a_reason_that_must_not_be_told_is_hidden(code: str) -> None:
    judged = verdict(code)
    assert judged.hide_reason
    assert judged.words.endswith("(never tell the customer)")


@pytest.mark.parametrize(
    "code",
    words("testmode_decline invalid_amount duplicate_transaction live_mode_test_card"),
)
def test_what_only_the_business_can_mend_goes_to_a_person(code: str) -> None:
    judged = verdict(code)
    assert judged.cls is DeclineClass.REVIEW
    assert judged.hide_reason


@pytest.mark.parametrize(
    ("code", "hours"),
    [("24", 1), ("25", 24), ("26", 48), ("27", 96), ("28", 144), ("29", 192), ("30", 240)],
)
def test_mastercard_says_how_long_to_wait(code: str, hours: int) -> None:
    judged = verdict("insufficient_funds", MASTERCARD, network_advice_code=code)
    assert (judged.cls, judged.max_retries) == (DeclineClass.SOFT, None)
    assert judged.not_before == AT + timedelta(hours=hours)
    assert judged.words == "insufficient funds"


def test_a_rate_limit_of_stripe_is_waited_out() -> None:
    judged = verdict(code="card_decline_rate_limit_exceeded", decline="generic_decline")
    assert judged.not_before == AT + timedelta(hours=24)
    assert judged.max_retries == 1


# --- one failure, many voices -------------------------------------------------------------------------


def test_no_money_is_retried_as_often_as_the_policy_says() -> None:
    assert verdict("insufficient_funds", VISA, code="card_declined", network_decline_code="51") == Verdict(
        cls=DeclineClass.SOFT,
        code="insufficient_funds",
        at=AT,
        identity="fp_visa/2029-04",
        words="insufficient funds",
    )


def test_a_soft_network_code_never_softens_a_stolen_card() -> None:
    judged = verdict("stolen_card", VISA, network_decline_code="05", advice_code="try_again_later")
    assert (judged.cls, judged.locked, judged.hide_reason) == (DeclineClass.NEW_METHOD, True, True)
    assert judged.words == "stolen card (never tell the customer)"


@pytest.mark.parametrize("network_code", ["91", "96", "19", "05", "93", "ZZ"])
@pytest.mark.parametrize("decline", ["processing_error", "issuer_not_available", "reenter_transaction"])
def test_a_technical_failure_stays_technical_beside_codes_that_say_not_now(
    decline: str, network_code: str
) -> None:
    judged = verdict(decline, VISA, network_decline_code=network_code, advice_code="try_again_later")
    assert judged.cls is DeclineClass.TECHNICAL


def test_an_expired_card_is_the_customers_to_replace_and_its_renewal_may_be_charged() -> None:
    judged = verdict("expired_card", VISA, network_decline_code="54", advice_code="confirm_card_data")
    assert (judged.cls, judged.locked, judged.code) == (DeclineClass.NEW_METHOD, False, "expired_card")


def test_new_account_information_waits_for_the_card_updater() -> None:
    assert verdict("new_account_information_available").cls is DeclineClass.UPDATER
    judged = verdict("do_not_honor", MASTERCARD, network_advice_code="01")
    assert (judged.cls, judged.max_retries, judged.locked) == (DeclineClass.UPDATER, 1, False)


@pytest.mark.parametrize("decline", ["incorrect_zip", "incorrect_cvc"])
def test_a_hint_at_wrong_data_does_not_ask_for_another_card_when_one_field_is_wrong(decline: str) -> None:
    assert verdict(decline, advice_code="confirm_card_data").cls is DeclineClass.FIX_DATA
    assert verdict("do_not_honor", advice_code="confirm_card_data").cls is DeclineClass.NEW_METHOD


def test_a_bank_that_says_never_again_overrides_no_money() -> None:
    judged = verdict("insufficient_funds", AMEX, code="card_declined", advice_code="do_not_try_again")
    assert (judged.cls, judged.locked, judged.code) == (DeclineClass.NEW_METHOD, True, "insufficient_funds")
    assert judged.words == "the bank advises never to try again (declined as insufficient_funds)"


def test_a_stopped_subscription_is_a_revoked_authorisation_whatever_the_decline_says() -> None:
    judged = verdict("do_not_honor", MASTERCARD, network_advice_code="21")
    assert (judged.cls, judged.locked, judged.code) == (DeclineClass.REVOKED, True, "do_not_honor")
    assert judged.words == (
        "Mastercard advice 21: the cardholder stopped this recurring payment (declined as do_not_honor)"
    )


def test_the_codes_of_one_network_mean_nothing_at_another() -> None:
    expected = verdict("insufficient_funds", AMEX)
    assert (
        verdict("insufficient_funds", AMEX, network_advice_code="03", network_decline_code="R1") == expected
    )
    assert not verdict("insufficient_funds", VISA, network_advice_code="03").locked
    assert not verdict("insufficient_funds", MASTERCARD, network_decline_code="R1").locked
    assert not verdict("insufficient_funds", None, network_advice_code="03").locked


def test_radar_blocked_it_and_a_person_decides() -> None:
    judged = verdict(
        "generic_decline", VISA, outcome_type="blocked", outcome_reason="highest_risk_level",
        advice_code="do_not_try_again", network_status="not_sent_to_network",
    )  # fmt: skip
    assert (judged.cls, judged.code, judged.locked) == (DeclineClass.REVIEW, "highest_risk_level", True)


def test_stripe_blocked_it_without_a_reason_we_know() -> None:
    for reason in (None, "a_new_reason"):
        judged = verdict("generic_decline", VISA, outcome_type="blocked", outcome_reason=reason)
        assert judged.cls is DeclineClass.REVIEW


def test_stripe_held_a_hopeless_attempt_back_and_it_may_go_out_later() -> None:
    judged = verdict(
        "generic_decline", VISA, outcome_type="blocked", outcome_reason="low_probability_of_authorization"
    )
    assert (judged.cls, judged.max_retries) == (DeclineClass.SOFT, 1)
    assert judged.not_before == AT + timedelta(hours=72)


def test_an_empty_prepaid_card_that_cannot_be_refilled_needs_another_card() -> None:
    assert verdict("insufficient_funds", MASTERCARD, network_advice_code="40").cls is DeclineClass.NEW_METHOD
    assert verdict("do_not_honor", MASTERCARD, network_advice_code="40").cls is DeclineClass.SOFT


def test_a_renewal_that_needs_three_d_secure() -> None:
    for judged in (
        verdict("authentication_required", code="authentication_required"),
        verdict(code="invoice_payment_intent_requires_action"),
        verdict("generic_decline", VISA, network_decline_code="1A"),
    ):
        assert (judged.cls, judged.locked) == (DeclineClass.AUTHENTICATE, False)


def test_a_returned_bank_debit() -> None:
    debit = Method(id="pm_4", type="us_bank_account", fingerprint="fp_bank")
    assert verdict(method=debit, code="insufficient_funds").cls is DeclineClass.SOFT
    assert verdict(method=debit, code="account_closed").cls is DeclineClass.NEW_METHOD
    judged = verdict(method=debit, code="debit_not_authorized")
    assert (judged.cls, judged.locked) == (DeclineClass.REVOKED, True)


# --- what nobody explains -----------------------------------------------------------------------------


def test_there_is_no_payment_method_to_charge() -> None:
    assert classify(None, AT) == Verdict(
        cls=DeclineClass.NEW_METHOD,
        code="no_payment_method",
        at=AT,
        max_retries=0,
        words="there is no payment method to charge",
    )
    assert classify(None).at == NEVER
    assert is_known("no_payment_method")


def test_a_code_nobody_knows_is_tried_twice_and_shown_to_a_person() -> None:
    judged = verdict("brand_new_code", code="card_declined")
    assert (judged.cls, judged.code, judged.max_retries) == (DeclineClass.SOFT, "brand_new_code", 2)
    assert judged.words == "declined, no reason given; unknown code brand_new_code: a person should look"
    assert not is_known("brand_new_code")


def test_a_code_nobody_knows_does_not_hide_what_is_known() -> None:
    judged = verdict("brand_new_code", MASTERCARD, network_advice_code="03")
    assert (judged.cls, judged.locked) == (DeclineClass.NEW_METHOD, True)
    assert "brand_new_code" in judged.words
    judged = verdict("insufficient_funds", MASTERCARD, network_advice_code="99")
    assert (judged.cls, judged.max_retries, judged.code) == (DeclineClass.SOFT, 2, "insufficient_funds")
    assert judged.words == "insufficient funds; unknown Mastercard advice 99: a person should look"


def test_a_failure_without_any_code() -> None:
    judged = verdict()
    assert (judged.cls, judged.code, judged.max_retries) == (DeclineClass.SOFT, "unknown", 2)
    assert judged.words == "failed without any code: a person should look"


def test_only_card_declined_is_known() -> None:
    judged = verdict(code="card_declined")
    assert (judged.cls, judged.code, judged.max_retries) == (DeclineClass.SOFT, "card_declined", 3)


# --- properties ---------------------------------------------------------------------------------------

TEXTS = st.none() | st.sampled_from(sorted(rules().texts)) | st.text("abc_", min_size=1, max_size=8)
FAILURES = st.builds(
    Failure,
    at=st.integers(0, 40_000_000).map(lambda seconds: AT + timedelta(seconds=seconds)),
    code=TEXTS,
    decline_code=TEXTS,
    advice_code=st.none() | st.sampled_from(sorted(rules().advice)) | st.text("xyz", max_size=4),
    network_advice_code=st.none() | st.sampled_from([*MASTERCARD_ADVICE, "99"]),
    network_decline_code=st.none() | st.sampled_from([*sorted(rules().visa), "r1", "ZZ"]),
    outcome_type=st.none()
    | st.sampled_from(["issuer_declined", "blocked", "invalid", "manual_review", "odd"]),
    outcome_reason=TEXTS,
    method=st.none() | st.sampled_from([VISA, MASTERCARD, AMEX]),
)
FIELDS = (
    "code", "decline_code", "advice_code", "network_advice_code", "network_decline_code", "outcome_type",
    "outcome_reason",
)  # fmt: skip


def rank(judged: Verdict) -> int:
    return STRICTNESS.index(judged.cls)


def test_every_class_has_its_place_in_the_order() -> None:
    assert sorted(STRICTNESS) == sorted(DeclineClass)


@given(FAILURES, FAILURES, st.sampled_from(FIELDS))
def test_a_stricter_source_never_softens(failure: Failure, other: Failure, field: str) -> None:
    without = failure.model_copy(update={field: None})
    voice = Failure(at=failure.at, method=failure.method, **{field: getattr(other, field)})
    alone, before = classify(voice), classify(without)
    after = classify(without.model_copy(update={field: getattr(other, field)}))
    if rank(alone) >= rank(before):
        assert rank(after) >= rank(before)
    assert after.locked >= before.locked
    assert after.locked >= alone.locked


@given(FAILURES, FAILURES, st.sampled_from(FIELDS))
def test_another_source_never_brings_the_next_charge_forward(
    failure: Failure, other: Failure, field: str
) -> None:
    without = failure.model_copy(update={field: None})
    before, after = classify(without), classify(without.model_copy(update={field: getattr(other, field)}))
    if before.not_before is not None:
        assert after.not_before is not None
        assert after.not_before >= before.not_before


@given(FAILURES)
def test_a_verdict_is_whole(failure: Failure) -> None:
    judged = classify(failure)
    assert judged == classify(failure)
    assert judged == Verdict.model_validate_json(judged.model_dump_json())
    assert judged.not_before is None or judged.not_before >= failure.at
    assert judged.at == failure.at
    assert judged.code
    assert judged.words
    assert judged.identity == (failure.method.identity if failure.method else None)
    if judged.cls is DeclineClass.REVIEW:
        assert judged.hide_reason
    if judged.cls not in RETRYABLE:
        assert judged.max_retries == 0


@given(
    FAILURES,
    st.text("abc_", min_size=1, max_size=8),
    st.sampled_from(["code", "decline_code", "outcome_reason"]),
)
def test_a_code_nobody_knows_bounds_the_retries(failure: Failure, code: str, field: str) -> None:
    judged = classify(failure.model_copy(update={field: code}))
    assert judged.max_retries in (0, 1, 2)
    assert code in judged.words
