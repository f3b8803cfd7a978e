"""The API keeps to its OpenAPI document, whatever is sent to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import jsonschema_rs
import pytest
import pytest_asyncio
import uvicorn
from hypothesis import HealthCheck, Phase, given, settings

from dunning.levers import LEVERS
from starter.api import LEVER_SCOPES
from starter.api_models import EXAMPLES
from starter.app import create_app
from tests.fixtures.temporal import eventually
from tests.starter.conftest import Engine

DOCUMENT = "/api/v1/openapi.json"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served(engine: Engine) -> AsyncIterator[str]:
    """The address of the app on a port of its own, with no limit on how often it is asked."""
    unlimited = engine.settings.model_copy(update={"dunning_api_requests_per_minute": 0})
    config = uvicorn.Config(create_app(unlimited, engine.temporal, engine.ledger), port=0, log_level="error")
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())

    async def started() -> bool:
        return server.started

    await eventually(started, "the app is served")
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    await running


async def test_the_document_is_of_openapi_3_1_with_an_example_for_every_body(served: str) -> None:
    async with httpx.AsyncClient() as http:
        document = (await http.get(f"{served}{DOCUMENT}")).json()
    assert document["openapi"].startswith("3.1")
    bodies = {
        f"{method} {path}": operation["requestBody"]["content"]["application/json"]
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if "requestBody" in operation
    }
    assert {path.rpartition("/levers/")[2] for path in bodies if "/levers/" in path} == set(LEVER_SCOPES)
    schemas = document["components"]["schemas"]
    for path, content in bodies.items():
        named = schemas.get(content["schema"].get("$ref", "").rpartition("/")[2], {})
        examples = [content["example"]] if "example" in content else named.get("examples")
        assert examples, path
        for example in examples:
            jsonschema_rs.validate(content["schema"] | {"components": document["components"]}, example)


@pytest.mark.parametrize("lever", LEVERS)
def test_the_example_of_a_lever_is_a_payload_that_it_takes(lever: str) -> None:
    LEVERS[lever][0].model_validate(EXAMPLES[lever])


@pytest.mark.parametrize("mode", ["positive", "negative"])
async def test_nothing_sent_breaks_it_and_no_answer_is_undocumented(served: str, mode: str) -> None:
    # Imported by the one process that needs it: it takes an eighth of what all imports take.
    import schemathesis
    from schemathesis.generation import GenerationMode
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    def storm() -> None:
        schema = schemathesis.openapi.from_url(f"{served}{DOCUMENT}").include(path_regex="^/api/")
        operations = [found.ok() for found in schema.get_all_operations()]
        assert len(operations) >= 5 + len(LEVER_SCOPES)
        for operation in operations:

            @settings(
                max_examples=5,
                deadline=None,
                derandomize=True,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=GenerationMode(mode)))
            def sent(case: schemathesis.Case) -> None:
                # A cursor and a lever may also be refused for what no schema can say.
                case.call_and_validate(excluded_checks=[positive_data_acceptance])

            sent()

    await asyncio.to_thread(storm)
