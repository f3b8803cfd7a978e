"""Which cases an event of Stripe wakes: a table of situations, without Temporal and without a database."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
import stripe

from dunning.values import Outcome, Stage
from ledger.records import CaseRecord
from starter.webhooks.refusals import BadSignature, Malformed
from starter.webhooks.routing import SENT, Found, Query, Route, Wake, query_of, route
from starter.webhooks.stripe import StripeEvent, translate, verify

NOW = datetime(2026, 11, 1, 9, tzinfo=UTC)
START = Wake("invoice-dunning/in_1", start=True, input={"invoice_id": "in_1"})
INVOICE = {"id": "in_1", "billing_reason": "subscription_cycle", "collection_method": "charge_automatically"}


def event(type: str, object: dict[str, Any] | None = None, **more: Any) -> StripeEvent:
    return StripeEvent(**{"id": "evt_1", "type": type, "created": NOW, "object": object or INVOICE, **more})


def case(
    *,
    invoice: str = "in_1",
    outcome: Outcome | None = None,
    closed: timedelta | None = None,
    workflow_id: str | None = None,
) -> CaseRecord:
    """A case; `closed` is how long after the event it was closed."""
    return CaseRecord(
        id=f"acct/{invoice}/1",
        account="",
        invoice_id=invoice,
        episode=1,
        workflow_id=workflow_id or f"invoice-dunning/{invoice}",
        run_id="run",
        customer="cus_1",
        subscription="sub_1",
        currency="usd",
        amount=1900,
        amount_remaining=1900,
        policy_name="standard",
        policy_version="1",
        opened_at=NOW - timedelta(days=3),
        stage=Stage.RECOVERING if outcome is None else Stage.CLOSED,
        waiting_on=None,
        outcome=outcome,
        recovered_via=None,
        closed_at=None if closed is None else NOW + closed,
        closed_reason="",
        next_at=None,
        next_what="",
        next_action="",
        decline_code=None,
        decline_class=None,
        needs_human=False,
        halted=False,
        asks="",
        asks_whom=None,
        asks_until=None,
        access=None,
        grace_starts_at=None,
        last_day=None,
        zone=None,
        run_state="",
        remembered_at=NOW,
    )


class TestFailures:
    @pytest.mark.parametrize("type", ["invoice.payment_failed", "invoice.payment_action_required"])
    def test_of_an_unknown_invoice_opens_a_case(self, type: str) -> None:
        assert query_of(event(type)) == Query("", invoice="in_1")
        assert route(event(type), Found()) == Route((START,))

    def test_of_a_connected_account_passes_the_account_on(self) -> None:
        failed = event("invoice.payment_failed", account="acct_7")
        assert query_of(failed) == Query("acct_7", invoice="in_1")
        (wake,) = route(failed, Found()).wakes
        assert wake.input == {"invoice_id": "in_1", "account": "acct_7"}

    def test_of_an_open_case_signals_and_would_start_it_again_if_it_were_gone(self) -> None:
        assert route(event("invoice.payment_failed"), Found(case())) == Route((START,))

    def test_of_a_case_started_by_hand_under_another_id_signals_that_one(self) -> None:
        held = case(workflow_id="started-by-hand")
        assert route(event("invoice.payment_failed"), Found(held)) == Route((Wake("started-by-hand"),))

    def test_that_is_older_than_the_end_of_the_case_wakes_nobody(self) -> None:
        ended = case(outcome=Outcome.RECOVERED, closed=timedelta(seconds=1))
        assert route(event("invoice.payment_failed"), Found(ended)).wakes == ()

    def test_that_came_after_the_end_of_the_case_opens_a_new_episode(self) -> None:
        ended = case(outcome=Outcome.VOIDED, closed=timedelta(seconds=-1))
        assert route(event("invoice.payment_failed"), Found(ended)) == Route((START,))

    @pytest.mark.parametrize("outcome", [Outcome.STOPPED, Outcome.WRITTEN_OFF])
    def test_after_a_person_or_the_policy_gave_up_wakes_nobody(self, outcome: Outcome) -> None:
        ended = case(outcome=outcome, closed=timedelta(days=-1))
        answer = route(event("invoice.payment_failed"), Found(ended))
        assert answer.wakes == ()
        assert str(outcome) in answer.why
        assert "reopen" in answer.why

    def test_of_invoices_that_are_not_dunned_are_not_even_looked_up(self) -> None:
        first = INVOICE | {"billing_reason": "subscription_create"}
        answer = query_of(event("invoice.payment_failed", first))
        assert isinstance(answer, Route)
        assert answer.wakes == ()
        assert answer.why

    def test_without_an_invoice_id_wakes_nobody(self) -> None:
        assert isinstance(query_of(event("invoice.payment_failed", {"object": "invoice"})), Route)


class TestInvoicesThatAreSent:
    SENT_INVOICE = INVOICE | {"collection_method": "send_invoice", "status": "open"}

    @pytest.mark.parametrize("type", sorted(SENT))
    def test_open_a_case_although_nothing_failed(self, type: str) -> None:
        assert query_of(event(type, self.SENT_INVOICE)) == Query("", invoice="in_1")
        assert route(event(type, self.SENT_INVOICE), Found()) == Route((START,))

    def test_open_one_also_for_the_first_invoice_of_a_subscription(self) -> None:
        first = self.SENT_INVOICE | {"billing_reason": "subscription_create"}
        assert query_of(event("invoice.finalized", first)) == Query("", invoice="in_1")

    @pytest.mark.parametrize("change", [{"collection_method": "charge_automatically"}, {"status": "paid"}])
    def test_others_are_not_even_looked_up(self, change: dict[str, str]) -> None:
        answer = query_of(event("invoice.finalized", self.SENT_INVOICE | change))
        assert isinstance(answer, Route)
        assert answer.wakes == ()

    def test_of_a_case_that_ended_after_the_event_wake_nobody(self) -> None:
        ended = case(outcome=Outcome.RECOVERED, closed=timedelta(seconds=1))
        assert route(event("invoice.sent", self.SENT_INVOICE), Found(ended)).wakes == ()

    def test_a_payment_that_failed_on_the_invoice_s_page_is_a_reason_to_look(self) -> None:
        assert route(event("invoice.payment_failed", self.SENT_INVOICE), Found(case())) == Route((START,))


class TestPayments:
    def test_of_an_open_case_wakes_it(self) -> None:
        assert route(event("invoice.paid"), Found(case())) == Route((Wake("invoice-dunning/in_1"),))

    def test_of_an_invoice_without_a_case_wakes_nobody(self) -> None:
        assert route(event("invoice.paid"), Found()).wakes == ()

    @pytest.mark.parametrize("outcome", [Outcome.STOPPED, Outcome.WRITTEN_OFF, Outcome.CANCELED])
    def test_of_a_closed_case_that_still_suspends_opens_one_that_restores(self, outcome: Outcome) -> None:
        ended = case(outcome=outcome, closed=timedelta(days=-1))
        assert route(event("invoice.paid"), Found(ended, suspended=True)) == Route((START,))

    def test_of_a_written_off_case_opens_an_episode(self) -> None:
        ended = case(outcome=Outcome.WRITTEN_OFF, closed=timedelta(days=-1))
        assert route(event("invoice.paid"), Found(ended)) == Route((START,))

    def test_of_a_recovered_case_wakes_nobody(self) -> None:
        ended = case(outcome=Outcome.RECOVERED, closed=timedelta(seconds=5))
        assert route(event("invoice.paid"), Found(ended)).wakes == ()


class TestOtherEvents:
    @pytest.mark.parametrize(
        ("type", "object", "query"),
        [
            ("invoice.voided", {"id": "in_1"}, Query("", invoice="in_1")),
            ("invoice.deleted", {"id": "in_1"}, Query("", invoice="in_1")),
            ("customer.subscription.deleted", {"id": "sub_1"}, Query("", subscription="sub_1")),
            ("customer.updated", {"id": "cus_1"}, Query("", customer="cus_1")),
            ("payment_method.attached", {"id": "pm_1", "customer": "cus_1"}, Query("", customer="cus_1")),
            (
                "payment_method.automatically_updated",
                {"id": "pm_1", "customer": {"id": "cus_1"}},
                Query("", customer="cus_1"),
            ),
            ("setup_intent.succeeded", {"id": "seti_1", "customer": "cus_1"}, Query("", customer="cus_1")),
            ("refund.created", {"id": "re_1", "charge": "ch_1"}, Query("", charge="ch_1")),
            ("refund.failed", {"id": "re_1", "charge": {"id": "ch_1"}}, Query("", charge="ch_1")),
            ("charge.dispute.created", {"id": "dp_1", "charge": "ch_1"}, Query("", charge="ch_1")),
            (
                "radar.early_fraud_warning.created",
                {"id": "issfr_1", "charge": {"id": "ch_1", "customer": "cus_1"}},
                Query("", customer="cus_1", charge="ch_1"),
            ),
        ],
    )
    def test_are_looked_up_by_what_they_name(self, type: str, object: dict[str, Any], query: Query) -> None:
        assert query_of(event(type, object)) == query

    @pytest.mark.parametrize(
        ("type", "object"),
        [
            ("payment_method.attached", {"id": "pm_1", "customer": None}),
            ("charge.dispute.created", {"id": "dp_1", "charge": None}),
            ("charge.refunded", {"id": "ch_1", "customer": "cus_1"}),  # refund.created tells of each refund
            ("invoice.created", {"id": "in_1"}),
            ("v1.invoice.payment_failed", {}),
        ],
    )
    def test_that_name_nobody_or_are_not_needed_wake_nobody(self, type: str, object: dict[str, Any]) -> None:
        assert isinstance(query_of(event(type, object)), Route)

    def test_of_a_customer_wake_all_open_cases_the_oldest_first(self) -> None:
        newer = replace(case(invoice="in_2", workflow_id="by-hand"), opened_at=NOW)
        found = Found(open=(newer, case()))
        answer = route(event("payment_method.attached", {"id": "pm_1", "customer": "cus_1"}), found)
        assert answer.wakes == (Wake("invoice-dunning/in_1"), Wake("by-hand"))
        assert answer.in_turn == (case().id, newer.id)

    def test_of_a_customer_without_open_cases_wake_nobody(self) -> None:
        assert route(event("customer.updated", {"id": "cus_1"}), Found()).wakes == ()

    @pytest.mark.parametrize(
        ("type", "changed", "matters"),
        [
            ("invoice.updated", {"metadata"}, False),
            ("invoice.updated", {"metadata", "next_payment_attempt"}, True),
            ("customer.subscription.updated", {"latest_invoice"}, False),
            ("customer.subscription.updated", {"default_payment_method"}, True),
            ("customer.updated", {"delinquent"}, False),
            ("customer.updated", {"invoice_settings"}, True),
        ],
    )
    def test_updates_matter_only_when_something_that_matters_changed(
        self, type: str, changed: set[str], matters: bool
    ) -> None:
        answer = query_of(event(type, {"id": "x"}, changed=frozenset(changed)))
        assert isinstance(answer, Query) is matters

    def test_that_the_engine_caused_itself_wake_nobody(self) -> None:
        for type in ("invoice.payment_failed", "invoice.paid", "customer.subscription.updated"):
            answer = query_of(event(type, own=True))
            assert isinstance(answer, Route)
            assert "itself" in answer.why


class TestReports:
    DISPUTE: ClassVar[dict[str, Any]] = {
        "id": "dp_1",
        "charge": "ch_1",
        "amount": 1900,
        "currency": "usd",
        "status": "needs_response",
    }

    def test_of_a_dispute_tells_what_a_case_needs_to_know(self) -> None:
        told = event("charge.dispute.created", self.DISPUTE).hint
        assert {name: told[name] for name in ("report", "charge", "amount", "currency", "status")} == {
            "report": "dp_1",
            "charge": "ch_1",
            "amount": 1900,
            "currency": "usd",
            "status": "needs_response",
        }

    @pytest.mark.parametrize("type", ["charge.dispute.created", "radar.early_fraud_warning.created"])
    def test_of_disputes_and_warnings_wake_all_open_cases_of_the_customer(self, type: str) -> None:
        paid = case(outcome=Outcome.RECOVERED, closed=timedelta(days=-1))
        answer = route(event(type, self.DISPUTE), Found(paid, open=(case(invoice="in_2"),), card="fp_1"))
        assert answer.wakes == (Wake("invoice-dunning/in_2"),)
        assert answer.note == paid
        assert answer.about == {"invoice": "in_1", "card": "fp_1"}

    @pytest.mark.parametrize("type", ["refund.created", "refund.failed", "charge.dispute.closed"])
    def test_of_other_kinds_concern_the_invoice_only(self, type: str) -> None:
        others = (case(invoice="in_2"),)
        assert route(event(type, self.DISPUTE), Found(case(), open=others)).wakes == (
            Wake("invoice-dunning/in_1"),
        )
        paid = case(outcome=Outcome.RECOVERED, closed=timedelta(days=-1))
        answer = route(event(type, self.DISPUTE), Found(paid, open=others))
        assert (answer.wakes, answer.note) == ((), paid)

    def test_of_an_open_case_wake_it_once(self) -> None:
        answer = route(event("charge.dispute.created", self.DISPUTE), Found(case(), open=(case(),)))
        assert answer.wakes == (Wake("invoice-dunning/in_1"),)
        assert answer.note is None

    def test_of_a_payment_that_no_case_knows_wake_nobody(self) -> None:
        answer = route(event("refund.created", {"id": "re_1", "charge": "ch_1"}), Found())
        assert (answer.wakes, answer.note, answer.why) == ((), None, "the payment belongs to no case")


class TestReading:
    def test_an_event_is_reduced_to_what_routing_needs(self) -> None:
        raw = {
            "id": "evt_9",
            "object": "event",
            "type": "customer.updated",
            "account": "acct_1",
            "created": 1793523600,
            "request": {"id": "req_1", "idempotency_key": "dunning-acct_1-in_1-2"},
            "data": {"object": {"id": "cus_1"}, "previous_attributes": {"email": "old"}},
        }
        read = translate(json.dumps(raw).encode())
        assert read == StripeEvent(
            id="evt_9",
            type="customer.updated",
            created=datetime.fromtimestamp(1793523600, UTC),
            account="acct_1",
            own=True,
            object={"id": "cus_1"},
            previous={"email": "old"},
            changed=frozenset({"email"}),
        )
        assert read.hint == {"type": "customer.updated", "id": "evt_9", "created": read.created.isoformat()}

    def test_a_thin_event_is_read_and_not_needed(self) -> None:
        raw = {"id": "evt_1", "type": "v1.invoice.paid", "created": "2026-11-01T09:00:00Z"}
        assert isinstance(query_of(translate(json.dumps(raw).encode())), Route)

    @pytest.mark.parametrize(
        "body", [b"", b"[]", b"null", b"{}", b"\xff\xfe", b'{"id": "e", "type": "t", "created": true}',
                 b'{"id": "e", "type": "t", "created": 1e300}', b"[" * 50_000]
    )  # fmt: skip
    def test_what_is_not_an_event_is_malformed(self, body: bytes) -> None:
        with pytest.raises(Malformed):
            translate(body)


class TestSignatures:
    BODY = b'{"id": "evt_1", "name": "J\xc3\xbcrgen"}'

    def header(self, secret: str, at: float | None = None, body: bytes = BODY) -> str:
        made: str = stripe.WebhookSignature.generate_signature_header(  # type: ignore[no-untyped-call]
            body.decode(), secret, int(at or time.time())
        )
        return made

    def test_of_any_current_secret_is_good(self) -> None:
        for secret in ("whsec_old", "whsec_new"):
            verify(self.BODY, self.header(secret), ["whsec_old", "whsec_new"], time.time())

    def test_while_stripe_signs_with_two_secrets_one_match_is_enough(self) -> None:
        both = self.header("whsec_unknown") + "," + self.header("whsec_new").partition(",")[2] + ",v0=test"
        verify(self.BODY, both, ["whsec_new"], time.time())

    @pytest.mark.parametrize("skew", [-301, 301])
    def test_too_far_from_now_is_refused_in_both_directions(self, skew: int) -> None:
        at = int(time.time())
        with pytest.raises(BadSignature, match="clock"):
            verify(self.BODY, self.header("whsec_a", at), ["whsec_a"], at + skew)

    @pytest.mark.parametrize(
        "header",
        [None, "", "t=1", "v1=abc", "t=x,v1=y", "t=١,v1=y", "t=1,v1=é", "==,,=", f"t={'9' * 400},v1=a"],
    )
    def test_of_any_other_shape_is_refused(self, header: str | None) -> None:
        with pytest.raises(BadSignature):
            verify(self.BODY, header, ["whsec_a"], time.time())

    def test_of_another_body_is_refused(self) -> None:
        with pytest.raises(BadSignature, match="secret"):
            verify(self.BODY + b" ", self.header("whsec_a"), ["whsec_a"], time.time())

    def test_nothing_is_good_without_a_secret(self) -> None:
        with pytest.raises(BadSignature):
            verify(self.BODY, self.header("whsec_a"), [], time.time())


class TestARenewalToCome:
    UPCOMING: ClassVar[dict[str, Any]] = {
        "object": "invoice",
        "parent": {"type": "subscription_details", "subscription_details": {"subscription": "sub_1"}},
    }

    def test_opens_its_reminder(self) -> None:
        wake = Wake(
            "renewal-reminder/sub_1",
            start=True,
            input={"subscription_id": "sub_1", "account": "acct_9"},
            workflow="RenewalReminder",
        )
        assert query_of(event("invoice.upcoming", self.UPCOMING, account="acct_9")) == Route((wake,))

    def test_of_no_subscription_concerns_nobody(self) -> None:
        assert query_of(event("invoice.upcoming", {"object": "invoice"})) == Route(why="it names no renewal")
