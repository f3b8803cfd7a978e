"""The `dunning` command, run against a real engine: what it prints, and with which status it ends."""

from __future__ import annotations

import getpass
import subprocess
import sys
from pathlib import Path

import pytest

from dunning.values import Channel
from ledger import Ledger
from tests.fixtures.command import Dunning
from tests.fixtures.temporal import eventually
from tests.starter.conftest import Engine


class TestCases:
    async def test_a_case_from_start_to_stop(self, dunning: Dunning, engine: Engine) -> None:
        renewal = await engine.failed()
        started = await dunning("start", renewal.invoice)
        assert started.status == 0
        assert f"dunning show {renewal.invoice}" in started.out
        await engine.opened(renewal.invoice)

        shown = await dunning("show", renewal.invoice)
        assert shown.status == 0
        assert "recovering" in shown.out
        assert "opened: " in shown.out

        extended = await dunning("extend", renewal.invoice, "--days", "7", "--reason", "salary on Friday")
        assert (extended.status, extended.out[:8]) == (0, "granted:")
        looked = (await dunning("show", f"invoice-dunning/{renewal.invoice}", "--json")).json
        assert looked["source"] == "case"
        assert looked["status"]["stage"] == "recovering"
        (granted,) = (entry for entry in looked["timeline"] if entry["what"].startswith("lever."))
        assert (granted["what"], granted["by"]) == ("lever.grant_extension", getpass.getuser())

        ahead = (await dunning("forecast", renewal.invoice, "--json")).json["steps"]
        assert ahead[-1]["what"] == "closed"

        stopped = await dunning(
            "stop", renewal.invoice, "--reason", "paid in cash", "--by", "maria", "--json"
        )
        assert stopped.json == {"accepted": True, "text": "closing as stopped"}
        await engine.client.result(renewal.invoice)
        again = await dunning("hold", renewal.invoice, "--reason", "late")
        assert (again.status, again.out) == (1, "")
        assert "closed" in again.err

    async def test_hold_release_deny_and_retry(self, dunning: Dunning, engine: Engine) -> None:
        renewal = await engine.case("insufficient_funds", "succeeded")
        assert "on hold until" in (await dunning("hold", renewal.invoice, "--reason", "on the phone")).out
        assert "released" in (await dunning("release", renewal.invoice)).out
        denied = await dunning("deny", renewal.invoice, "--reason", "no")
        assert denied.status == 1
        assert "nobody asked" in denied.err
        assert "charging" in (await dunning("retry", renewal.invoice)).out

    async def test_the_list_is_plain_in_a_pipe_and_json_when_asked(
        self, dunning: Dunning, engine: Engine
    ) -> None:
        renewal, _another = await engine.case(), await engine.case()
        header, line = (await dunning("cases", "--customer", renewal.customer)).out.splitlines()
        assert header.split("\t")[:2] == ["invoice", "stage"]
        assert line.split("\t")[:2] == [renewal.invoice, "recovering"]
        listed = (await dunning("cases", "--open", "--limit", "1", "--json")).json
        assert len(listed["cases"]) == 1
        assert listed["cursor"]

    async def test_a_case_under_an_id_of_its_own_is_found_through_the_ledger(
        self, dunning: Dunning, engine: Engine
    ) -> None:
        renewal = await engine.failed()
        await engine.temporal.start_workflow(
            "InvoiceDunning",
            {"invoice_id": renewal.invoice},
            id=f"x-{renewal.invoice}.",
            task_queue="dunning",
        )
        await engine.opened(renewal.invoice)
        assert (await dunning("show", renewal.invoice, "--json")).json["source"] == "case"
        assert (await dunning("release", renewal.invoice)).status == 1

    async def test_a_case_whose_history_is_away_is_shown_from_the_ledger(
        self, dunning: Dunning, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        renewal = await engine.case()
        monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
        said = await dunning("show", renewal.invoice, "--json")
        assert said.status == 0
        assert said.json["source"] == "ledger"
        assert said.json["status"]["stage"] == "recovering"
        assert said.json["timeline"][0]["what"] == "case.opened"
        assert "from the ledger" in said.err


class TestTheGlobalStop:
    async def test_is_thrown_once_and_lifted_with_waiting_cases_told(
        self, dunning: Dunning, engine: Engine
    ) -> None:
        workers = engine.ledger.switches
        assert await workers.halted() is None  # they believe so for a second
        thrown = await dunning("halt", "--reason", "wrong prices", "--by", "maria", "--json")
        try:
            assert (thrown.json["halted"], thrown.json["by"]) == (True, "maria")
            assert await workers.halted() is not None  # nothing leaves the house any more
            again = await dunning("halt", "--by", "ben")
            assert "halted already" in again.out
            assert "by maria" in again.out

            renewal = await engine.case("lost_card")  # its first message goes out at once

            async def held() -> bool:
                return any(case.invoice_id == renewal.invoice for case in await engine.ledger.cases.halted())

            await eventually(held, "the message is held")
            assert (await engine.client.status(renewal.invoice)).messages == 0
        finally:
            lifted = await dunning("halt", "--lift", "--json")
        assert lifted.json["lifted"] is True
        assert lifted.json["cases"] >= 1

        async def sent() -> bool:
            return (await engine.client.status(renewal.invoice)).messages > 0

        await eventually(sent, "the message is sent")
        assert (await dunning("halt", "--lift", "--json")).json["lifted"] is False


class TestErrors:
    @pytest.mark.parametrize(
        "args",
        [
            ("extend",),
            ("extend", "in_1", "--reason", "x", "--days", "seven"),
            ("extend", "in_1", "--reason", "x", "--days", "7", "--until", "2026-12-24"),
            ("start", "cus_1"),
            ("stop", "in_1", "--reason", "x", "--outcome", "recovered"),
            ("nonsense",),
            ("show", "in_1", "--nonsense"),
        ],
    )
    async def test_of_usage_end_with_2_and_one_sentence(
        self, dunning: Dunning, args: tuple[str, ...]
    ) -> None:
        said = await dunning(*args)
        assert (said.status, said.out) == (2, "")
        assert said.err.startswith("dunning: ")
        assert len(said.err.splitlines()) == 1

    async def test_of_an_unknown_invoice_end_with_1(self, dunning: Dunning) -> None:
        for args in (["show", "in_none"], ["release", "in_none"], ["forecast", "in_none"]):
            said = await dunning(*args)
            assert (said.status, said.out) == (1, "")
            assert "no case of in_none" in said.err

    async def test_when_nothing_runs_say_what_to_start(self, alone: Dunning) -> None:
        assert "Temporal does not answer at 127.0.0.1:1" in (await alone("show", "in_1")).err
        said = await alone("cases")
        assert said.status == 1
        assert "dunning db upgrade" in said.err

    async def test_of_settings_are_listed_all_at_once(
        self, alone: Dunning, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("STRIPE_API_KEY", "pk_test_wrong")
        said = await alone("up")
        assert said.status == 1
        assert "STRIPE_API_KEY is malformed" in said.err
        assert "SENDGRID_API_KEY is missing" in said.err
        assert "pk_test_wrong" not in said.err

    async def test_without_a_command_the_help_is_shown(self, alone: Dunning) -> None:
        said = await alone()
        assert (said.status, said.err) == (2, "")
        assert "forecast" in said.out


class TestSetUp:
    async def test_the_ledger_is_created_and_repeated_harmlessly(
        self, alone: Dunning, tmp_path: Path
    ) -> None:
        for _ in range(2):
            assert (await alone("db", "upgrade")).status == 0
        await (await Ledger.open(f"sqlite:///{tmp_path}/none.db")).close()
        assert (await alone("cases", "--json")).json == {"cases": [], "cursor": None}

    async def test_the_search_attributes_are_registered_once(self, dunning: Dunning) -> None:
        said = (await dunning("setup", "--json")).json
        assert (said["namespace"], said["added"], len(said["present"])) == ("starter", [], 12)

    async def test_an_unknown_namespace_is_named(
        self, dunning: Dunning, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TEMPORAL_NAMESPACE", "nowhere")
        said = await dunning("setup")
        assert said.status == 1
        assert "nowhere" in said.err


class TestPolicies:
    SHIPPED = Path(__file__).parents[2] / "dunning" / "policies" / "standard.yaml"

    async def test_the_shipped_ones_are_good(self, alone: Dunning) -> None:
        said = await alone("policy", "check")
        assert said.status == 0
        assert "standard.yaml: good" in said.out

    async def test_every_problem_is_told_with_its_line(self, alone: Dunning, tmp_path: Path) -> None:
        bad = tmp_path / "mine.yaml"
        text = self.SHIPPED.read_text().replace("name: standard", "name: mine")
        bad.write_text(text + "\nsurprise: 1\n")
        said = await alone("policy", "check", str(bad))
        assert said.status == 1
        assert f"{bad}:{len(text.splitlines()) + 2}: surprise" in said.err
        as_json = await alone("policy", "check", str(bad), "--json")
        assert as_json.status == 1
        assert len(as_json.json["problems"]) == 1

    async def test_a_file_must_bear_the_policy_s_name(self, alone: Dunning, tmp_path: Path) -> None:
        (tmp_path / "other.yaml").write_text(self.SHIPPED.read_text())
        said = await alone("policy", "check", str(tmp_path / "other.yaml"))
        assert said.status == 1
        assert "rename one" in said.err

    async def test_a_whole_folder_is_checked(
        self, alone: Dunning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DUNNING_POLICIES", str(tmp_path))
        (tmp_path / "standard.yaml").write_text(self.SHIPPED.read_text())
        (tmp_path / "business.yaml").write_text("name: Only a name\n")
        said = await alone("policy", "check")
        assert said.status == 1
        assert "business.yaml: postal_address" in said.err


def test_the_installed_command_ends_without_a_traceback(tmp_path: Path) -> None:
    said = subprocess.run(
        [Path(sys.executable).with_name("dunning"), "serve"],
        cwd=tmp_path,
        env={"DATABASE_URL": "mysql://nowhere"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert said.returncode == 1
    assert "STRIPE_WEBHOOK_SECRET is missing" in said.stderr
    assert "DATABASE_URL is malformed" in said.stderr
    assert "Traceback" not in said.stderr


class TestCorrespondence:
    async def test_consent_is_set_and_shown_and_open_cases_are_told(
        self, dunning: Dunning, engine: Engine
    ) -> None:
        renewal = await engine.case()
        why = ("--reason", "asked on the phone")
        said = await dunning("consent", "set", renewal.customer, "all", "revoked", *why)
        assert (said.status, said.out) == (0, f"{renewal.customer}: all revoked\n"), said.err

        shown = await dunning("consent", "show", renewal.customer)
        assert shown.out.splitlines()[:3] == ["email  revoked", "sms  revoked", "whatsapp  revoked"]
        assert "asked on the phone" in shown.out
        assert getpass.getuser() in shown.out
        told = [signal["channel"] for signal in await engine.signals(renewal.invoice)]
        assert told == ["email", "sms", "whatsapp"]

    async def test_a_reply_waits_until_somebody_answered_it(self, dunning: Dunning, engine: Engine) -> None:
        renewal = await engine.case()
        case = await engine.ledger.cases.by_invoice("", renewal.invoice)
        assert case is not None
        reply = {"channel": Channel.SMS, "address": "x", "kind": "other", "text": "call me"}
        whose = {"account": "", "customer": renewal.customer, "case_id": case.id}
        await engine.ledger.replies.receive("SM1", at=case.opened_at, **reply, **whose)  # type: ignore[arg-type]
        await engine.ledger.replies.settle("SM1", "waiting")

        assert "call me" in (await dunning("replies", "list")).out
        assert "call me" in (await dunning("show", renewal.invoice)).out
        assert (await dunning("replies", "answered", "SM1", "--by", "maria")).status == 0
        assert (await dunning("replies", "list", "--json")).json == {"replies": []}
        assert [signal["type"] for signal in await engine.signals(renewal.invoice)] == ["reply.answered"]
        assert (await dunning("replies", "answered", "SM2")).status == 2

    async def test_what_is_no_customer_is_refused(self, alone: Dunning) -> None:
        refused = await alone("consent", "set", "ada@example.com", "sms", "granted", "--reason", "x")
        assert refused.status == 2


class TestManyCases:
    async def test_an_outage_holds_all_that_a_filter_finds_and_gives_the_time_back(
        self, dunning: Dunning, engine: Engine
    ) -> None:
        one, two = await engine.case(), await engine.case()
        where = f"DunningCustomer IN ('{one.customer}', '{two.customer}')"

        async def both() -> bool:
            found = (await dunning("hold", "--where", where, "--reason", "x", "--dry-run", "--json")).json
            return len(found["cases"]) == 2

        await eventually(both, "both cases are listed")
        before = await engine.client.status(one.invoice)
        tried = await dunning("hold", "--where", where, "--reason", "outage", "--dry-run")
        assert tried.out.startswith("hold would reach 2 open cases; nothing was done")
        assert (await engine.client.status(one.invoice)).waiting_on == before.waiting_on
        held = await dunning("hold", "--where", where, "--reason", "outage")
        assert held.out.strip() == "hold: 2 of 2 cases accepted it"
        assert (await engine.client.status(two.invoice)).waiting_on == "hold"
        released = await dunning("release", "--where", where, "--json")
        assert (released.json["found"], released.json["accepted"]) == (2, 2)
        again = await dunning("release", "--where", where)
        assert again.out.strip() == "release: 0 of 2 cases accepted it"
        assert "not on hold" in again.err
        wrong = await dunning("hold", "--where", "Colour = 'red'", "--reason", "x")
        assert wrong.status == 2
        assert "Temporal cannot read the filter" in wrong.err
        assert (await dunning("hold", "--reason", "x")).status == 2

    async def test_the_inbox_says_what_waits_for_whom(self, dunning: Dunning, engine: Engine) -> None:
        renewal = await engine.case("expired_card")
        asked = await dunning(
            "request", renewal.invoice, "--days", "20", "--reason", "new job", "--by", "ann"
        )
        assert "a person answers by" in asked.out
        cases = (await dunning("inbox", "--whom", "support", "--json")).json["cases"]
        (mine,) = [case for case in cases if case["invoice_id"] == renewal.invoice]
        assert mine["asks"] == "20 days more for ann: new job; else the request expires"
        assert renewal.invoice in (await dunning("inbox")).out
        await dunning("deny", renewal.invoice, "--reason", "too long")
        assert renewal.invoice not in (await dunning("inbox")).out

    async def test_a_policy_is_tried_before_it_is_set(self, dunning: Dunning, engine: Engine) -> None:
        renewal = await engine.case("expired_card")
        same = await dunning("policy", "set", renewal.invoice, "standard", "--dry-run", "--json")
        assert (same.json["gone"], same.json["new"]) == ([], [])
        assert (
            "would change 0 steps"
            in (await dunning("policy", "set", renewal.invoice, "standard", "--dry-run")).out
        )
        assert "policy standard" in (await dunning("policy", "set", renewal.invoice, "standard")).out
        assert (await dunning("policy", "set", renewal.invoice, "gentle", "--dry-run")).status == 2
