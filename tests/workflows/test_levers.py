"""What people pull by hand, through the real client and through the plain `temporal` command.

What comes by hand may be malformed. It must be refused where the sender and the operator can read it, and
must harm nothing, on workers configured as in production.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
from datetime import date, timedelta

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from dunning.values import Outcome, Stage
from starter.binaries import temporal_binary
from starter.client import CaseClosed, InvalidInput, LeverRefused
from tests.docs.markdown import TEXT
from tests.fixtures.case import Case
from tests.fixtures.engine import Engine
from tests.fixtures.temporal import eventually
from tests.workflows.histories import texts

GRANT = {"days": 7, "reason": "pays on Friday", "by": "mara"}


TEMPORAL = functools.cache(temporal_binary)


async def temporal(engine: Engine, *arguments: str) -> tuple[int, str]:
    """Run the plain `temporal` command; its status and all it printed."""
    process = await asyncio.create_subprocess_exec(
        TEMPORAL(), *arguments, "--address", engine.address, "--namespace", engine.temporal.namespace,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def signal(case: Case, name: str, *inputs: str) -> None:
    """Send a signal by the command, with any number of JSON inputs."""
    given = [part for text in inputs for part in ("--input", text)]
    status, said = await temporal(
        case.engine, "workflow", "signal", "--workflow-id", case.workflow_id, "--name", name, *given
    )
    assert status == 0, said
    await case.engine.settle()


async def refusals(case: Case) -> list[str]:
    """What was refused so far."""
    return [entry.text for entry in await case.timeline() if entry.what == "lever.refused"]


async def last_day(case: Case) -> date:
    """The last day of grace."""
    return date.fromisoformat((await case.status()).last_day)


# --- by the plain command ----------------------------------------------------------------------------------


async def test_a_case_started_by_the_command_runs(engine: Engine) -> None:
    case = await engine.unannounced("insufficient_funds", "succeeded")
    status, said = await temporal(
        engine, "workflow", "start", "--type", "InvoiceDunning", "--task-queue", "dunning",
        "--workflow-id", case.workflow_id, "--input", json.dumps({"invoice_id": case.invoice}),
    )  # fmt: skip
    assert status == 0, said
    await engine.settle()
    closed = await case.to_the_end()
    assert closed.outcome is Outcome.RECOVERED
    assert await case.calendar() == {1: ["charge succeeded", "email recovered"]}


async def test_a_signal_by_the_command_moves_the_suspension(engine: Engine) -> None:
    case = await engine.case("expired_card")
    await case.until(15)
    before = await last_day(case)
    await signal(case, "grant_extension", json.dumps(GRANT))
    assert await last_day(case) == before + timedelta(days=7)
    await case.until(27.5)
    assert (await case.status()).stage is Stage.GRACE
    await case.until(28.7)
    assert (await case.calendar())[28] == ["email suspended", "pause"]


BAD = {
    "a word for a number": ("grant_extension", ['{"days":"seven","reason":"r","by":"mara"}'], "days: "),
    "nothing": ("grant_extension", [], "nothing arrived"),
    "two inputs": ("grant_extension", [json.dumps(GRANT), json.dumps(GRANT)], "2 inputs arrived"),
    "a list": ("grant_extension", ["[7]"], "another shape arrived"),
    "null": ("grant_extension", ["null"], "another shape arrived"),
    "text": ("hold", ['"please"'], "another shape arrived"),
    "an unknown field": ("release", ['{"by":"mara","weeks":1}'], "weeks: is not a field of this lever"),
    "an unknown signal": ("grant_extention", [json.dumps(GRANT)], "there is no lever 'grant_extention'"),
    "an empty reason": ("stop", ['{"reason":" ","by":"mara"}'], "reason: "),
    "a lie about the outcome": ("stop", ['{"outcome":"recovered","reason":"r","by":"mara"}'], "outcome: "),
}


async def test_malformed_signals_are_refused_in_sight_of_the_operator_and_harm_nothing(
    engine: Engine,
) -> None:
    case = await engine.case("expired_card")
    before = await case.status()
    for number, (what, (name, inputs, reason)) in enumerate(BAD.items(), start=1):
        await signal(case, name, *inputs)
        told = await refusals(case)
        assert len(told) == number, what
        assert reason in told[-1], what
        assert told[-1] in await case.details(), what
    assert await case.status() == before
    await signal(
        case, "billing_event", "[1, null]", '"strange"'
    )  # a hint of any shape is only a reason to look
    await case.until(22)
    assert (await case.calendar())[21] == ["email suspended", "pause"]


BAD_STARTS = {
    "no-input": [],
    "null": ["null"],
    "text": ['"in_1"'],
    "a-number": ['{"invoice_id":7}'],
    "another-field": ['{"invoice":"in_1"}'],
    "two-inputs": ['{"invoice_id":"in_1"}'] * 2,
}


async def test_a_start_with_a_wrong_input_ends_at_once_with_a_sentence(engine: Engine) -> None:
    async def ends(name: str, inputs: list[str]) -> None:
        given = [part for text in inputs for part in ("--input", text)]
        status, said = await temporal(
            engine, "workflow", "start", "--type", "InvoiceDunning", "--task-queue", "dunning",
            "--workflow-id", name, *given,
        )  # fmt: skip
        assert status == 0, said
        with pytest.raises(WorkflowFailureError) as failed:
            await engine.temporal.get_workflow_handle(name).result(rpc_timeout=timedelta(seconds=10))
        cause = failed.value.cause
        assert isinstance(cause, ApplicationError)
        assert (cause.type, cause.non_retryable) == ("InvalidInput", True)
        assert ": " in cause.message

    await asyncio.gather(*(ends(name, inputs) for name, inputs in BAD_STARTS.items()))


async def test_a_policy_that_does_not_exist_ends_the_start_with_a_sentence(engine: Engine) -> None:
    case = await engine.unannounced()
    await engine.client.start(case.invoice, policy="gentle")
    with pytest.raises(WorkflowFailureError) as failed:
        await case.handle.result(rpc_timeout=timedelta(seconds=10))
    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.type == "InvalidInput"
    assert "There is no policy called 'gentle'" in failed.value.cause.message


#: The README's list filters, and which of the cases below each one finds.
FILTERS = {
    'DunningPolicy="standard"': {"suspended", "grace", "extended", "frozen", "held"},
    'DunningWaitingOn="hold"': {"held"},
    "DunningNeedsHuman = true": {"frozen"},
    'DunningCustomer = "cus_123"': {"held"},
    'DunningStage = "grace" AND DunningGraceEndsAt < "2026-12-31T00:00:00Z"': {"grace"},
    'DunningStage = "suspended" AND DunningCurrency = "usd" AND DunningAmountRemaining > 1000': {"suspended"},
    'DunningDeclineCode = "insufficient_funds" AND ExecutionStatus = "Running"': {"held"},
}


async def test_every_list_filter_of_the_readme_finds_the_right_cases(engine: Engine) -> None:
    assert FILTERS.keys() == set(re.findall(r"--(?:query|where) '([^']+)'", TEXT))
    cases = {name: await engine.case("expired_card") for name in ("suspended", "grace", "extended")}
    cases |= {"frozen": await engine.case("fraudulent"), "held": await engine.case("insufficient_funds")}
    await engine.client.hold(cases["held"].invoice, reason="outage", by="ops")
    await engine.client.grant_extension(cases["extended"].invoice, **GRANT)
    begun, ids = cases["suspended"].begun, [cases[n].workflow_id for n in ("suspended", "grace", "extended")]
    await engine.time.advance(begun + timedelta(days=15), ids)
    await engine.time.advance(begun + timedelta(days=23), ids[:1])

    async def finds(query: str, wanted: set[str]) -> bool:
        found = [each.id async for each in engine.temporal.list_workflows(query)]
        return {name for name, case in cases.items() if case.workflow_id in found} == wanted

    for written, wanted in FILTERS.items():
        query = written.replace("cus_123", cases["held"].customer)
        query = query.replace("2026-12-31T00:00:00Z", f"{begun + timedelta(days=23):%Y-%m-%dT%H:%M:%SZ}")
        await eventually(functools.partial(finds, query, wanted), f"{written} finds {wanted}")


# --- by updates --------------------------------------------------------------------------------------------


async def test_updates_answer_and_say_no_with_the_sentence(engine: Engine) -> None:
    case = await engine.case("expired_card")
    for what, (name, inputs, reason) in BAD.items():
        if name == "grant_extention":
            continue
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await case.handle.execute_update(name, args=[json.loads(text) for text in inputs])
        assert isinstance(refused.value.cause, ApplicationError)
        assert refused.value.cause.type == "Refused"
        assert reason in refused.value.cause.message, what
    answer = await case.handle.execute_update("grant_extension", GRANT)
    assert answer["text"].startswith("granted: the new last day is")
    assert (await case.status()).stage is Stage.RECOVERING


async def test_the_same_request_id_is_answered_twice_and_counted_once(engine: Engine) -> None:
    case = await engine.case("expired_card")
    before = await last_day(case)
    once = GRANT | {"request_id": "req-1"}
    await signal(case, "grant_extension", json.dumps(once))
    await signal(case, "grant_extension", json.dumps(once))
    answer = await case.handle.execute_update("grant_extension", once)
    assert "already answered" in answer["text"]
    assert await last_day(case) == before + timedelta(days=7)


async def test_every_lever_works_through_the_client(engine: Engine) -> None:
    case = await engine.case("insufficient_funds", "insufficient_funds", "succeeded")
    client, invoice = engine.client, case.invoice
    assert "on hold until" in await client.hold(invoice, reason="outage", by="ops")
    assert (await case.status()).waiting_on == "hold"
    await case.until(2)
    assert await case.calendar() == {}
    assert "released" in await client.release(invoice, by="ops")
    assert "granted" in await client.request_extension(invoice, days=7, reason="salary", by="customer")
    assert "a person answers by" in await client.request_extension(invoice, days=20, by="customer")
    assert (await case.status()).needs_human
    assert "denied" in await client.deny_extension(invoice, reason="too long", by="mara")
    assert "charging" in await client.retry_now(invoice, by="mara")
    await engine.settle()
    assert await case.calendar() == {
        2: [
            "charge insufficient_funds",
            "email extension_denied",
            "email extension_granted",
            "email extension_requested",
        ]
    }
    assert (await client.forecast(invoice))[0].what.startswith("charge/")
    with pytest.raises(LeverRefused, match="not on hold"):
        await client.release(invoice, by="mara")
    with pytest.raises(InvalidInput, match="days"):
        await client.grant_extension(invoice, days=0, reason="r", by="mara")
    assert "closing as stopped" in await client.stop(invoice, reason="settled by phone", by="mara")
    assert (await case.result()).outcome is Outcome.STOPPED
    with pytest.raises(CaseClosed):
        await client.stop(invoice, reason="again", by="mara")
    assert "mara" in {entry.by for entry in await case.timeline()}


async def test_the_levers_of_a_person_in_control_work_through_the_client(engine: Engine) -> None:
    case = await engine.case("expired_card")
    client, invoice = engine.client, case.invoice
    patient = engine.write_policy("patient", ("length: 7d", "length: 9d"))
    shown = await client.preview_policy(invoice, patient)
    assert "suspend" in {step.what for step in shown.gone} & {step.what for step in shown.new}
    assert (await case.status()).policy.startswith("standard ")
    before = await last_day(case)
    assert "policy patient" in await client.set_policy(invoice, name=patient, by="mara")
    assert (await case.status()).policy.startswith("patient ")
    assert await last_day(case) == before + timedelta(days=2)
    with pytest.raises(LeverRefused, match="no policy called"):
        await client.set_policy(invoice, name="gentle", by="mara")
    with pytest.raises(InvalidInput, match="no policy called"):
        await client.preview_policy(invoice, "gentle")

    assert await client.add_note(invoice, text="called back", by="mara") == "noted: called back"
    on = before - timedelta(days=10)
    assert "promised" in await client.promise_to_pay(invoice, on=on, by="customer")
    with pytest.raises(LeverRefused, match="as agreed"):
        await client.suspend_now(invoice, reason="impatient", by="mara")
    with pytest.raises(LeverRefused, match="not suspended"):
        await client.restore_now(invoice, reason="kind", by="mara")
    row = await engine.ledger.cases.by_invoice("", invoice)
    assert row is not None
    assert row.policy_name == "patient"
    await case.until(26)
    assert "restoring now" in await client.restore_now(invoice, reason="kind", by="mara")
    await engine.settle()
    calendar = await case.calendar()
    assert calendar[0][-1] == "email promise_made"
    assert [what for day in calendar.values() for what in day if what in ("pause", "resume")] == [
        "pause",
        "resume",
    ]
    assert (await case.status()).stage is Stage.GRACE


async def test_canceling_the_workflow_in_temporal_stops_the_case(engine: Engine) -> None:
    case = await engine.case("expired_card")
    await case.handle.cancel()
    closed = await case.result()
    assert closed.outcome is Outcome.STOPPED
    assert "canceled in Temporal" in closed.reason
    described = await case.handle.describe()
    assert described.status is WorkflowExecutionStatus.COMPLETED


# --- what a history tells of a person ----------------------------------------------------------------------


async def test_nothing_personal_stands_in_a_history(engine: Engine) -> None:
    phone, name = "+12025550199", "Wilhelmina Featherstone"
    case = await engine.case("insufficient_funds", phone=phone, consent=True, name=name)
    await case.until(8)
    told = await engine.stripe.invoices.retrieve_async(case.invoice)
    hosted = told.hosted_invoice_url or ""
    assert (await case.calendar())[7] == ["charge insufficient_funds", "email reminder", "sms reminder"]
    await case.customer_pays()
    await case.result()
    written = "\n".join(texts(json.loads((await case.handle.fetch_history()).to_json())))
    assert case.invoice in written
    secrets = [case.email, phone, name, "Featherstone", hosted, hosted.rsplit("/", 1)[-1], '"4242"', "last4"]
    assert [secret for secret in secrets if secret and secret in written] == []
    attributes = (await case.handle.describe()).typed_search_attributes
    assert not any(secret in str(attributes) for secret in (case.email, phone, name))
