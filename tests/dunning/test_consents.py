"""What providers' news mean for consent and address."""

from __future__ import annotations

import pytest

from activities.texter import _CODES
from dunning.consents import Effect, of_sendgrid, of_twilio, twilio_errors
from dunning.decision import Send
from tests.dunning.cases import Run, opened


@pytest.mark.parametrize(
    ("code", "effect"),
    [
        (21610, "revoked"), (30004, "revoked"), (63014, "revoked"),
        (30005, "dead"), (30006, "dead"), (21614, "dead"), (30003, "failing"), (30008, "failing"),
        (30007, None), (63016, None), (99999, None), (None, None),
    ],
)  # fmt: skip
def test_twilio(code: int | None, effect: Effect | None) -> None:
    assert of_twilio(code) == effect


def test_the_table_knows_what_the_sender_knows_of_numbers() -> None:
    for code, rule in _CODES.items():
        if rule.opted_out or rule.address_bad:
            assert twilio_errors()[code].effect == ("revoked" if rule.opted_out else "dead")


@pytest.mark.parametrize(
    ("event", "more", "effect"),
    [
        ("bounce", {"bounce": "bounce"}, "dead"),
        ("bounce", {"bounce": "blocked"}, None),
        ("dropped", {"reason": "Bounced Address"}, "dead"),
        ("dropped", {"reason": "Spam Reporting Address"}, "revoked"),
        ("dropped", {"reason": "Unsubscribed Address"}, "revoked"),
        ("dropped", {"reason": "Recipient List over Package Quota"}, None),
        ("spamreport", {}, "revoked"),
        ("unsubscribe", {}, "revoked"),
        ("group_unsubscribe", {}, "reminders_revoked"),
        ("group_resubscribe", {}, "reminders_granted"),
        ("delivered", {}, None),
        ("deferred", {}, None),
    ],
)
def test_sendgrid(event: str, more: dict[str, str], effect: Effect | None) -> None:
    assert of_sendgrid(event, **more) == effect


def test_the_standard_policy_lets_customers_leave_reminders_and_no_notice_of_the_end() -> None:
    run = Run(opened("stolen_card")).until(60)
    groups = {
        action.step.split(":")[0]: action.group for _, action in run.actions if isinstance(action, Send)
    }
    assert {step for step, group in groups.items() if group == "optional"} == {
        "grace_reminder",
        "written_off",
    }
    assert {"first_notice", "grace_started", "final_notice", "suspended"} <= set(groups)
