"""The connection to Temporal, made in one place: an encryption codec or a new namespace touches this file."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio.client import Client, GrpcCompression
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import DataConverter
from temporalio.envconfig import ClientConfig
from temporalio.runtime import LoggingConfig, PrometheusConfig, Runtime, TelemetryConfig, TelemetryFilter

from dunning.networks import is_this_machine
from starter.errors import EngineUnavailable, SettingsError
from starter.settings import Settings

DEFAULT_ADDRESS = "localhost:7233"


class _Payloads(PydanticPayloadConverter):
    """The SDK makes one for every task of a workflow; what it learned of our types is kept for the next."""

    _parts = PydanticPayloadConverter().converters

    def __init__(self) -> None:
        self.converters = self._parts


_CONVERTER = DataConverter(payload_converter_class=_Payloads)


def data_converter() -> DataConverter:
    """How values travel: pydantic models as JSON."""
    return _CONVERTER


def runtime(settings: Settings) -> Runtime:
    """The SDK's runtime, with its own Prometheus metrics when DUNNING_METRICS_ADDRESS says where.

    Make it once a process, before the first client.
    """
    address = settings.dunning_metrics_address
    metrics = PrometheusConfig(bind_address=address, durations_as_seconds=True) if address else None
    logging = LoggingConfig(filter=TelemetryFilter(core_level="WARN", other_level="ERROR"))
    try:
        return Runtime(telemetry=TelemetryConfig(metrics=metrics, logging=logging))
    except (RuntimeError, ValueError) as error:
        raise SettingsError(
            [f"DUNNING_METRICS_ADDRESS: nothing can be served at {address}: name a free host:port ({error})"]
        ) from error


def address(settings: Settings) -> str:
    """Where Temporal is said to be, for messages."""
    return settings.temporal_variables.get("TEMPORAL_ADDRESS", DEFAULT_ADDRESS)


async def connect(settings: Settings, runtime: Runtime | None = None, *, lazy: bool = False) -> Client:
    """Connect to Temporal as the environment says. A lazy client connects at its first call.

    Raises EngineUnavailable when nothing answers, SettingsError when the configuration cannot be used.
    """
    try:
        config = ClientConfig.load_client_connect_config(override_env_vars=settings.temporal_variables)
    except Exception as error:  # envconfig raises whatever its parser and its Rust core raise
        raise SettingsError([f"TEMPORAL_*: the configuration cannot be read: {error}"]) from error
    target = config.pop("target_host", DEFAULT_ADDRESS)
    try:
        return await client_at(target, **config, runtime=runtime, lazy=lazy)
    except (RuntimeError, ValueError, TimeoutError) as error:
        raise EngineUnavailable(
            f"Temporal does not answer at {target}: start it, or mend TEMPORAL_ADDRESS"
        ) from error


async def client_at(target: str, **options: Any) -> Client:
    """A client of the server at `target`, a host and port. `options` are those of `Client.connect`.

    Nothing is compressed on the way to this machine: there is no line to spare, and it takes a worker and its
    server a fifteenth of all their work.
    """
    here = is_this_machine(target.rpartition(":")[0].strip("[]"))
    compression = GrpcCompression.NONE if here else GrpcCompression.GZIP
    return await Client.connect(
        target, data_converter=data_converter(), grpc_compression=compression, **options
    )


async def is_serving(client: Client, timeout: timedelta) -> bool:
    """Whether Temporal answers a health check in time."""
    try:
        return await client.service_client.check_health(timeout=timeout)
    except Exception:  # a refused connection is a RuntimeError while lazy and an RPCError after
        return False
