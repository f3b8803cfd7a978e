"""The connection to Temporal."""

from __future__ import annotations

import pytest
from temporalio.client import GrpcCompression

from starter.temporal import client_at


@pytest.mark.parametrize("address", ["localhost:7233", "127.0.0.1:7233", "[::1]:7233"])
async def test_nothing_is_compressed_on_the_way_to_this_machine(address: str) -> None:
    client = await client_at(address, lazy=True)

    assert client.service_client.config.grpc_compression is GrpcCompression.NONE


@pytest.mark.parametrize("address", ["temporal.example:7233", "10.0.0.7:7233", "[2001:db8::1]:7233"])
async def test_a_line_is_spared(address: str) -> None:
    client = await client_at(address, lazy=True)

    assert client.service_client.config.grpc_compression is GrpcCompression.GZIP
