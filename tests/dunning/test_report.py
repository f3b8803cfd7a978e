"""The figures of a report: three shares, who brought the money, how long it took, what it cost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from dunning.report import DIMENSIONS, FailedInvoice, report
from dunning.reports import Reversal
from dunning.values import Outcome, RecoveredVia

DAY = timedelta(days=1)
BEGUN = datetime(2026, 7, 1, tzinfo=UTC)
NOW = BEGUN + 60 * DAY


def failed(id: str = "in_1", **given: object) -> FailedInvoice:
    told: dict[str, object] = {
        "invoice_id": id,
        "customer": f"cus_{id}",
        "currency": "eur",
        "failed": 1000,
        "failed_at": BEGUN,
        "policy": "standard",
    }
    return FailedInvoice.model_validate(told | given)


def recovered(id: str, after: float, **given: object) -> FailedInvoice:
    told: dict[str, object] = {
        "recovered": 1000,
        "closed_at": BEGUN + after * DAY,
        "outcome": Outcome.RECOVERED,
        "via": RecoveredVia.ENGINE,
        "attempts": 2,
    }
    return failed(id, **(told | given))


def test_the_three_shares_differ_by_their_denominators() -> None:
    (line,) = report(
        [
            recovered("in_1", 3),
            failed("in_2", outcome=Outcome.WRITTEN_OFF, closed_at=BEGUN + 51 * DAY, messages=5),
            failed("in_3", attempts=1),  # in progress
            failed("in_4"),  # in progress, and nothing was done yet
        ],
        None,
        NOW,
    )
    assert (line.invoices, line.in_progress, line.customers_lost) == (4, 2, 1)
    assert (line.of_all, line.of_attempted, line.of_closed) == (0.25, 0.3333, 0.5)


def test_refunds_and_lost_disputes_are_subtracted_and_never_below_nothing() -> None:
    (line,) = report(
        [recovered("in_1", 3, refunded=300), recovered("in_2", 3, refunded=1000, disputed=1000)], None, NOW
    )
    assert (line.recovered, line.refunded, line.disputed, line.net) == (2000, 1300, 1000, 700)
    assert line.of_all == 0.35


def test_which_disputes_count() -> None:
    def dispute(status: str) -> bool:
        return Reversal(id="dp_1", kind="dispute", amount=1, currency="eur", status=status).counts

    assert [dispute(s) for s in ("needs_response", "under_review", "lost")] == [True] * 3
    assert [dispute(s) for s in ("won", "warning_needs_response", "warning_closed")] == [False] * 3


def test_time_to_recover_is_the_median_and_the_nearest_rank() -> None:
    (line,) = report([recovered(f"in_{n}", n) for n in range(1, 11)], None, NOW)
    assert (line.days_median, line.days_p90) == (5.5, 9.0)


def test_service_is_unpaid_until_it_is_paid_suspended_or_closed() -> None:
    (line,) = report(
        [
            recovered("in_1", 3),
            failed("in_2", suspended_at=BEGUN + 21 * DAY, closed_at=BEGUN + 51 * DAY),
            failed("in_3"),
        ],
        None,
        NOW,
    )
    assert line.unpaid_days == 3 + 21 + 60


def test_currencies_are_never_added() -> None:
    lines = report([recovered("in_1", 1), recovered("in_2", 1, currency="usd", failed=500)], None, NOW)
    assert [(line.group, line.currency, line.failed) for line in lines] == [
        ("all", "eur", 1000),
        ("all", "usd", 500),
    ]


failures = st.builds(
    failed,
    id=st.uuids().map(str),
    currency=st.sampled_from(["eur", "usd", "jpy"]),
    failed=st.integers(1, 10**9),
    decline=st.sampled_from(["insufficient_funds", "expired_card"]),
    channel=st.sampled_from(["email", "sms", "none"]),
    failed_at=st.integers(-200, 30).map(lambda day: BEGUN + day * DAY),
)


@given(st.lists(failures, max_size=12), st.sampled_from(DIMENSIONS))
def test_every_cut_adds_up_to_the_whole(cohort: list[FailedInvoice], by: str) -> None:
    def sums(dimension: str | None) -> dict[str, int]:
        totals: dict[str, int] = {}
        for line in report(cohort, dimension, NOW):  # type: ignore[arg-type]
            totals[line.currency] = totals.get(line.currency, 0) + line.failed
        return totals

    assert sums(by) == sums(None)
