"""The endpoints of the business, from its file and from the settings."""

from __future__ import annotations

from collections.abc import Sequence

from activities.endpoints import Endpoints
from dunning.endpoints import Endpoint
from starter.settings import Settings


def endpoints_of(settings: Settings, listed: Sequence[Endpoint]) -> Endpoints:
    """The endpoints of `business.yaml` with their secrets. Raises PolicyError with one sentence a problem."""
    return Endpoints.of(listed, settings.endpoint_secrets, loopback=settings.dunning_allow_loopback_endpoints)
