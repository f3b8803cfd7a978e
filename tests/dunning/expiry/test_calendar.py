"""The calendar of a card that expires before, on and after its charge, in three zones, renewed on any day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from dunning.expiry.card import CardFacts, CardRef, Renewal
from dunning.expiry.decide import open_card
from dunning.expiry.timing import expired_from
from dunning.policy import Policy
from dunning.values import Channel
from tests.dunning.cases import STANDARD
from tests.dunning.expiry.cards import CHARGE, EXPIRY, HOUR, REF, CardRun, card, renewal

DAY = timedelta(days=1)
BEGIN = CHARGE - 30 * DAY
ZONES = ("Pacific/Auckland", "UTC", "America/Los_Angeles")
FIRST, LAST = CHARGE - 14 * DAY, CHARGE - 3 * DAY


def in_zone(zone: str) -> Policy:
    return STANDARD.model_copy(update={"timezone": zone})


class TestLastValidDay:
    @pytest.mark.parametrize(
        ("zone", "dead_from"),
        [
            ("Pacific/Auckland", datetime(2026, 8, 31, 12, tzinfo=UTC)),  # the month ends there first
            ("UTC", datetime(2026, 9, 1, tzinfo=UTC)),
            (
                "America/Los_Angeles",
                datetime(2026, 9, 1, tzinfo=UTC),
            ),  # UTC is earlier, and Stripe may mean it
        ],
    )
    def test_ends_where_the_month_ends_first(self, zone: str, dead_from: datetime) -> None:
        assert expired_from(EXPIRY, zone) == dead_from

    def test_december_is_followed_by_january(self) -> None:
        assert expired_from("2026-12", "UTC") == datetime(2027, 1, 1, tzinfo=UTC)

    @pytest.mark.parametrize("zone", ZONES)
    @pytest.mark.parametrize(
        ("from_expiry", "needed"),
        [(-DAY, False), (-timedelta(seconds=1), False), (timedelta(), True), (timedelta(hours=1), True)],
    )
    def test_a_charge_before_on_and_after_it(self, zone: str, from_expiry: timedelta, needed: bool) -> None:
        at = expired_from(EXPIRY, zone) + from_expiry
        facts = card(at - 10 * DAY, renewal(at), zone=zone)

        opened = open_card(REF, facts, in_zone("UTC"), facts.read_at)

        assert isinstance(opened, str) is not needed

    def test_a_customer_in_the_east_counts_by_the_own_calendar(self) -> None:
        at = datetime(2026, 8, 31, 13, tzinfo=UTC)  # already September in Auckland
        east = card(at - 10 * DAY, renewal(at), zone="Pacific/Auckland")

        assert not isinstance(open_card(REF, east, STANDARD, east.read_at), str)
        assert isinstance(open_card(REF, card(at - 10 * DAY, renewal(at)), STANDARD, east.read_at), str)


class TestSequence:
    @pytest.mark.parametrize("zone", ZONES)
    def test_two_messages_before_the_charge_and_the_end_with_it(self, zone: str) -> None:
        def world(at: datetime) -> CardFacts:
            return card(at, renewal(CHARGE if at < CHARGE else CHARGE + 30 * DAY), zone=zone)

        run = CardRun(world, BEGIN, in_zone(zone)).run(CHARGE + 5 * DAY)

        assert run.log == [
            (date(2026, 8, 27), "email card_expiring"),
            (date(2026, 9, 7), "email card_expiring_last"),
            (date(2026, 9, 10), "expired"),
        ]
        assert [at for at, _ in run.sends] == [FIRST, LAST]

    @pytest.mark.parametrize("zone", ZONES)
    @pytest.mark.parametrize("told", [True, False], ids=["webhook", "no webhook"])
    @pytest.mark.parametrize("day", range(31))
    def test_renewed_by_the_network_on_any_day(self, zone: str, told: bool, day: int) -> None:
        """Nothing is said from the moment on at which the card was renewed, announced or not."""
        renewed = BEGIN + day * DAY + HOUR

        def world(at: datetime) -> CardFacts:
            due = CHARGE if at < CHARGE else CHARGE + 30 * DAY
            return card(at, renewal(due), zone=zone, expiry=EXPIRY if at < renewed else "2030-08")

        run = CardRun(world, BEGIN, in_zone(zone), hints=[renewed] if told else []).run(CHARGE + 5 * DAY)

        said = [at for at, _ in run.sends]
        assert said == [moment for moment in (FIRST, LAST) if moment < renewed]
        assert run.log[-1][1] == "updated"
        if told:
            assert run.state.closed_at == renewed

    def test_a_yearly_card_is_left_alone_until_the_charge_is_near(self) -> None:
        at = datetime(2027, 6, 1, tzinfo=UTC)
        facts = card(CHARGE, renewal(at, yearly=True))

        refusal = open_card(REF, facts, STANDARD, CHARGE)

        assert isinstance(refusal, str)
        assert "too far away" in refusal

    def test_found_late_the_last_message_alone_goes_out(self) -> None:
        run = CardRun(card, CHARGE - 2 * DAY).run(CHARGE - HOUR)

        assert run.log == [(date(2026, 9, 8), "email card_expiring_last")]

    def test_text_messages_keep_to_the_hours_of_the_customer(self) -> None:
        expiry = STANDARD.card_expiry
        assert expiry is not None
        by_sms = [m.model_copy(update={"channels": (Channel.SMS,)}) for m in expiry.messages]
        policy = STANDARD.model_copy(
            update={"card_expiry": expiry.model_copy(update={"messages": tuple(by_sms)})}
        )

        def world(at: datetime) -> CardFacts:
            return card(at, channels=(Channel.SMS,), zone="America/Los_Angeles")

        run = CardRun(world, BEGIN, policy).run(CHARGE - HOUR)

        # 01:00 in Los Angeles both times: the first waits for nine o'clock, the last one for that of Monday.
        assert [at.hour for at, _ in run.sends] == [16, 16]

    def test_one_card_on_many_subscriptions_is_one_conversation_about_the_next_charge(self) -> None:
        facts = card(
            BEGIN, renewal(CHARGE + 5 * DAY), renewal(CHARGE, subscription="sub_2"), renewal(BEGIN + DAY)
        )

        run = CardRun(lambda at: facts.model_copy(update={"read_at": at}), BEGIN).run(CHARGE - HOUR)

        assert [action.charge.at for _, action in run.sends if action.charge] == [CHARGE, CHARGE]

    def test_a_trial_that_is_extended_moves_the_messages(self) -> None:
        later = CHARGE + 10 * DAY

        def world(at: datetime) -> CardFacts:
            return card(at, renewal(CHARGE if at < BEGIN + DAY else later))

        run = CardRun(world, BEGIN, hints=[BEGIN + 2 * DAY]).run(CHARGE + DAY)

        assert [at for at, _ in run.sends] == [later - 14 * DAY]


class TestEnd:
    @pytest.mark.parametrize(
        ("renewals", "expiry", "outcome"),
        [
            ((renewal(method="pm_2"),), EXPIRY, "replaced"),
            ((renewal(method="pm_2"),), None, "replaced"),
            ((renewal(backup="pm_2", backup_expiry="2031-01"),), EXPIRY, "replaced"),
            ((renewal(backup="pm_2", backup_expiry=None),), EXPIRY, "replaced"),
            ((renewal(backup="pm_2", backup_expiry="2026-07"),), EXPIRY, None),
            ((renewal(charges=False),), EXPIRY, "ended"),
            ((), EXPIRY, "ended"),
            ((renewal(method=None),), None, "ended"),
            ((renewal(),), "2030-08", "updated"),
            ((renewal(), renewal(method="pm_2", subscription="sub_2")), EXPIRY, None),
            ((renewal(datetime(2026, 8, 20, tzinfo=UTC)),), EXPIRY, "ended"),
        ],
    )
    def test_at_once_when_there_is_nothing_to_say_any_more(
        self, renewals: tuple[Renewal, ...], expiry: str | None, outcome: str | None
    ) -> None:
        hint = BEGIN + DAY

        def world(at: datetime) -> CardFacts:
            facts = card(at)
            return facts if at < hint else facts.model_copy(update={"renewals": renewals, "expiry": expiry})

        run = CardRun(world, BEGIN, hints=[hint]).run(hint + HOUR)

        assert run.log == ([(hint.date(), outcome)] if outcome else [])

    def test_a_person_stops_it(self) -> None:
        run = CardRun(card, BEGIN).run(BEGIN + DAY)
        run.lever("stop", {"reason": "talked to them", "by": "kim"})
        run.run(BEGIN + 2 * DAY)

        assert run.log == [((BEGIN + DAY).date(), "ended")]
        assert run.state.stopped
        assert run.answers == ["stopped: talked to them"]

    @pytest.mark.parametrize(
        ("name", "payload", "said"),
        [
            ("stop", {"by": "kim"}, "reason: Field required"),
            ("stop", "now", "give one JSON object"),
            ("extend", {}, "the lever is stop"),
        ],
    )
    def test_a_lever_that_cannot_be_pulled_changes_nothing(
        self, name: str, payload: object, said: str
    ) -> None:
        run = CardRun(card, BEGIN).run(BEGIN + DAY)
        run.lever(name, payload)
        run.run(BEGIN + 2 * DAY)

        assert run.log == []
        assert said in run.answers[0]


class TestSilence:
    def test_while_the_customer_hears_of_a_failed_invoice(self) -> None:
        paid = CHARGE - 2 * DAY - HOUR

        run = CardRun(lambda at: card(at, dunned=at < paid), BEGIN).run(CHARGE - HOUR)

        assert run.log == [(date(2026, 9, 8), "email card_expiring_last")]

    def test_without_an_address(self) -> None:
        run = CardRun(lambda at: card(at, channels=()), BEGIN).run(CHARGE - HOUR)

        assert run.log == []
        assert [s.fate for s in run.state.sent] == ["unreachable", "unreachable"]

    def test_without_the_section_in_the_policy(self) -> None:
        silent = STANDARD.model_copy(update={"card_expiry": None})

        assert "no section card_expiry" in str(open_card(REF, card(BEGIN), silent, BEGIN))

    @pytest.mark.parametrize("expiry", [None, "2031-01"])
    def test_of_what_does_not_expire_in_time(self, expiry: str | None) -> None:
        assert isinstance(open_card(REF, card(BEGIN, expiry=expiry), STANDARD, BEGIN), str)

    def test_a_case_is_opened_for_the_expiry_in_its_name(self) -> None:
        other = CardRef(case_id="x", method="pm_1", expiry="2025-01")

        assert "expires in 2026-08 now" in str(open_card(other, card(BEGIN), STANDARD, BEGIN))
