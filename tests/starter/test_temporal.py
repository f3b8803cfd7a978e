"""The connection to Temporal."""

from __future__ import annotations

import pytest
from temporalio.client import GrpcCompression
from temporalio.converter import WorkflowSerializationContext

from starter.temporal import client_at, data_converter


@pytest.mark.parametrize("address", ["localhost:7233", "127.0.0.1:7233", "[::1]:7233"])
async def test_nothing_is_compressed_on_the_way_to_this_machine(address: str) -> None:
    client = await client_at(address, lazy=True)

    assert client.service_client.config.grpc_compression is GrpcCompression.NONE


@pytest.mark.parametrize("address", ["temporal.example:7233", "10.0.0.7:7233", "[2001:db8::1]:7233"])
async def test_a_line_is_spared(address: str) -> None:
    client = await client_at(address, lazy=True)

    assert client.service_client.config.grpc_compression is GrpcCompression.GZIP


def test_values_travel_the_same_way_in_every_context() -> None:
    """The worker relies on it: with a codec that heeds its context, its runner must say which one it is."""
    converter = data_converter()

    assert converter.with_context(WorkflowSerializationContext("default", "dunning-in_1")) is converter
    assert converter.external_storage is None


def test_what_was_learned_of_a_type_is_kept() -> None:
    """The SDK makes a converter for every task of a workflow."""
    made = data_converter().payload_converter_class

    assert made().converters is made().converters  # type: ignore[attr-defined]
